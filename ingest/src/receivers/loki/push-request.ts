import { RequestError } from "../../gateway/receiver-route.ts";
import { parseJsonBody } from "../otlp/json-body.ts";
import { wireOf } from "../otlp/wire.ts";
import { readPushRequest } from "./push-protobuf.ts";
import { unpackSnappy } from "./unpack-snappy.ts";

export interface Stream {
  readonly labels: Readonly<Record<string, string>>;
  readonly entries: readonly Entry[];
}

export interface Entry {
  readonly timeUnixNano: bigint;
  readonly line: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export const JSON_TYPE = "application/json";
export const PROTOBUF = "application/x-protobuf";

/** Messages of libraries can quote the whole value. */
const MESSAGE_LENGTH_MAX = 300;

/**
 * The body of a POST to /loki/api/v1/push (https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs): JSON, or protobuf in a
 * snappy block unless `isUnpacked`.
 * @throws RequestError 400 when it is malformed, 413 when it holds too much, 415 for another content type.
 */
export const decodeLokiPush = (body: Buffer, contentType: string, isUnpacked = false): Stream[] => {
  if (contentType !== JSON_TYPE && contentType !== PROTOBUF) {
    throw new RequestError(415, `content type ${JSON.stringify(contentType)}: expected ${JSON_TYPE} or ${PROTOBUF}`);
  }
  try {
    if (contentType === JSON_TYPE) return streamsOfJson(parseJsonBody(body));
    return readPushRequest(wireOf(isUnpacked ? body : unpackSnappy(body)));
  } catch (error) {
    if (error instanceof RequestError || !(error instanceof Error)) throw error;
    const detail = error.message.slice(0, MESSAGE_LENGTH_MAX);
    throw new RequestError(400, `couldn't parse push request: ${detail}`, { cause: error });
  }
};

const wrong = (place: string, expected: string, value: unknown): SyntaxError =>
  new SyntaxError(`${place}: expected ${expected}, got ${shown(value)}`);

const shown = (value: unknown): string =>
  typeof value === "object" && value !== null
    ? Array.isArray(value)
      ? "an array"
      : "an object"
    : (JSON.stringify(value) ?? "nothing").slice(0, 60);

const objectAt = (place: string, value: unknown): Readonly<Record<string, unknown>> => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(place, "an object", value);
  return value as Readonly<Record<string, unknown>>;
};

const listAt = (place: string, value: unknown): readonly unknown[] => {
  if (!Array.isArray(value)) throw wrong(place, "an array", value);
  return value;
};

const textsAt = (place: string, value: unknown): Record<string, string> => {
  const texts = Object.entries(objectAt(place, value)).map(([key, text]) => {
    if (typeof text !== "string") throw wrong(`${place}.${key.slice(0, 60)}`, "a string", text);
    return [key, text] as const;
  });
  return Object.fromEntries(texts);
};

const streamsOfJson = (json: unknown): Stream[] =>
  listAt("streams", objectAt("the body", json).streams).map((given, index) => {
    const place = `streams[${index}]`;
    const stream = objectAt(place, given);
    const labels = textsAt(`${place}.stream`, stream.stream);
    const values = listAt(`${place}.values`, stream.values);
    return { labels, entries: values.map((value, at) => entryOfJson(`${place}.values[${at}]`, value)) };
  });

const NANOSECONDS = /^-?\d{1,20}$/;

const entryOfJson = (place: string, value: unknown): Entry => {
  const [time, line, metadata = {}] = listAt(place, value);
  if (typeof time !== "string" || !NANOSECONDS.test(time)) {
    throw wrong(`${place}[0]`, "nanoseconds since 1970 as a string of digits", time);
  }
  if (typeof line !== "string") throw wrong(`${place}[1]`, "a string", line);
  return { timeUnixNano: BigInt(time), line, metadata: textsAt(`${place}[2]`, metadata) };
};
