import { RequestError } from "../../gateway/receiver-route.ts";

/** JSON becomes some ten times its size in memory. Shippers send a few MiB at most. */
export const JSON_BYTES_MAX = 16 * 1_048_576;
/** An empty object of three bytes becomes one of some hundred. */
export const JSON_OBJECTS_MAX = 1_000_000;

/** Half of a surrogate pair, which a sender that cuts its texts leaves over; ProtoJSON would refuse the whole request for it. */
const SURROGATE = /\\u[dD][89a-fA-F]/;

/** @throws RequestError 413 for a body that would take too much memory; SyntaxError when it is no JSON. */
export const parseJsonBody = (body: Buffer): unknown => {
  if (body.length > JSON_BYTES_MAX) {
    throw new RequestError(413, `a JSON body of ${body.length} bytes, at most ${JSON_BYTES_MAX} are taken`);
  }
  if (hasTooManyObjects(body)) {
    throw new RequestError(413, `a JSON body of more than ${JSON_OBJECTS_MAX} objects and arrays: send smaller ones`);
  }
  const text = body.toString("utf8");
  return SURROGATE.test(text) ? JSON.parse(text, (_key, value) => wellFormed(value)) : JSON.parse(text);
};

const wellFormed = (value: unknown): unknown => (typeof value === "string" ? value.toWellFormed() : value);

const OPENING_BRACE = 0x7b;
const OPENING_BRACKET = 0x5b;

/** Those within strings are counted too: it is a cap. */
const hasTooManyObjects = (body: Buffer): boolean => {
  let openings = 0;
  // By index: an iterator over the bytes took an eighth of all reading.
  for (let at = 0; at < body.length; at++) {
    const byte = body[at];
    if (byte === OPENING_BRACE || byte === OPENING_BRACKET) openings++;
  }
  return openings > JSON_OBJECTS_MAX;
};
