import type { Type } from "protobufjs";
import { RequestError } from "../../gateway/receiver-route.ts";
import { JSON_TYPE, PROTOBUF } from "./answers.ts";
import { ExportLogsServiceRequest, ExportMetricsServiceRequest } from "./definitions.ts";
import { type ResourceLogs, readLogsRequest } from "./logs-request.ts";
import { type MetricsRequest, readMetricsRequest } from "./metrics-request.ts";
import { protobufOfJson } from "./otlp-json.ts";
import { SeriesMemo } from "./series-memo.ts";
import { type Wire, wireOf } from "./wire.ts";

/** Messages of the library can quote the whole value. */
const MESSAGE_LENGTH_MAX = 300;

/**
 * The body of a POST to /v1/logs.
 * @throws RequestError 400 when it is malformed, 413 when it holds too much, 415 for another content type.
 */
export const decodeOtlpLogs = (body: Buffer, contentType: string): ResourceLogs[] =>
  decode(ExportLogsServiceRequest, body, contentType, readLogsRequest);

/**
 * The body of a POST to /v1/metrics. `memo` may be kept for the next one.
 * @throws RequestError as above.
 */
export const decodeOtlpMetrics = (body: Buffer, contentType: string, memo = new SeriesMemo()): MetricsRequest =>
  decode(ExportMetricsServiceRequest, body, contentType, (wire) => readMetricsRequest(wire, memo));

const decode = <T>(type: Type, body: Buffer, contentType: string, read: (wire: Wire) => T): T => {
  if (contentType !== PROTOBUF && contentType !== JSON_TYPE) {
    throw new RequestError(415, `content type ${JSON.stringify(contentType)}: expected ${PROTOBUF} or ${JSON_TYPE}`);
  }
  try {
    return read(wireOf(contentType === JSON_TYPE ? protobufOfJson(type, body) : body));
  } catch (error) {
    // What is malformed surfaces as Error, RangeError or SyntaxError of the reader; a TypeError would be a defect of ours.
    if (!(error instanceof Error) || error instanceof TypeError || error instanceof RequestError) throw error;
    const encoding = contentType === JSON_TYPE ? "OTLP/JSON" : "protobuf";
    const detail = error.message.slice(0, MESSAGE_LENGTH_MAX);
    throw new RequestError(400, `not a valid ${type.name} in ${encoding}: ${detail}`, { cause: error });
  }
};
