import type { Type } from "protobufjs";
import type { Answer } from "../../gateway/receiver-route.ts";
import { Status } from "./definitions.ts";
import type { Refusals } from "./refusals.ts";

export const PROTOBUF = "application/x-protobuf";
export const JSON_TYPE = "application/json";

const answer = (status: number, contentType: string, body: Buffer): Answer => ({
  status,
  headers: { "content-type": contentType },
  body,
});

/** As bytes: to a string Fastify would add a charset, and the Collector compares the content type as a whole. */
const json = (status: number, body: unknown): Answer => answer(status, JSON_TYPE, Buffer.from(JSON.stringify(body)));

/**
 * https://opentelemetry.io/docs/specs/otlp/#full-success-1 and #partial-success-1: in the request's own encoding; `partial_success` only when
 * something was refused.
 */
export const success = (options: {
  readonly type: Type;
  readonly rejectedField: "rejectedLogRecords" | "rejectedDataPoints";
  readonly refusals: Refusals;
  readonly contentType: string;
}): Answer => {
  const { type, rejectedField, refusals, contentType } = options;
  const { count, message } = refusals;
  if (contentType === JSON_TYPE) {
    const partialSuccess = { [rejectedField]: String(count), errorMessage: message };
    return json(200, count === 0 ? {} : { partialSuccess });
  }
  const body = count === 0 ? {} : { partialSuccess: { [rejectedField]: count, errorMessage: message } };
  return answer(200, PROTOBUF, Buffer.from(type.encode(body).finish()));
};

/** https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto, by the HTTP status that stands for it. */
const RPC_CODES: Readonly<Record<number, number>> = {
  400: 3,
  401: 16,
  403: 7,
  404: 12,
  408: 4,
  413: 8,
  415: 3,
  429: 8,
  500: 13,
  503: 14,
};
const RPC_UNKNOWN = 2;

/** https://opentelemetry.io/docs/specs/otlp/#failures-1: a google.rpc.Status, in the request's encoding; protobuf when that is none of both. */
export const failure = (status: number, message: string, { contentType }: { readonly contentType: string }): Answer => {
  const code = RPC_CODES[status] ?? RPC_UNKNOWN;
  if (contentType === JSON_TYPE) return json(status, { code, message });
  return answer(status, PROTOBUF, Buffer.from(Status.encode({ code, message }).finish()));
};
