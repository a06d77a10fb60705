import type { FastifyPluginAsync } from "fastify";
import { type ReceiverPorts, receive } from "../../gateway/receive.ts";
import { type ReceiverRoute, RequestError } from "../../gateway/receiver-route.ts";
import { failure, success } from "./answers.ts";
import { appendLogs } from "./append-logs.ts";
import { appendMetrics } from "./append-metrics.ts";
import { decodeOtlpLogs, decodeOtlpMetrics } from "./decode.ts";
import { ExportLogsServiceResponse, ExportMetricsServiceResponse } from "./definitions.ts";
import { SeriesMemo } from "./series-memo.ts";

const RECEIVER = "otlp";

/**
 * OTLP/HTTP, binary and JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp): POST /v1/logs and /v1/metrics. Traces are not kept:
 * /v1/traces says 404, which senders do not try again.
 */
export const otlpReceiver =
  (ports: ReceiverPorts): FastifyPluginAsync =>
  async (server) => {
    for (const route of [logs(ports), metrics(ports), TRACES]) receive(server, ports, route);
  };

const logs = ({ gateway }: ReceiverPorts): ReceiverRoute => ({
  method: "POST",
  path: "/v1/logs",
  receiver: RECEIVER,
  handle: ({ body, contentType }, submission) => {
    const refusals = appendLogs(gateway, submission, decodeOtlpLogs(body, contentType));
    return success({
      type: ExportLogsServiceResponse,
      rejectedField: "rejectedLogRecords",
      refusals,
      contentType,
    });
  },
  refusal: failure,
});

const metrics = ({ gateway }: ReceiverPorts): ReceiverRoute => {
  const memo = new SeriesMemo();
  return {
    method: "POST",
    path: "/v1/metrics",
    receiver: RECEIVER,
    handle: ({ body, contentType }, submission) => {
      const refusals = appendMetrics(gateway, submission, decodeOtlpMetrics(body, contentType, memo));
      return success({
        type: ExportMetricsServiceResponse,
        rejectedField: "rejectedDataPoints",
        refusals,
        contentType,
      });
    },
    refusal: failure,
  };
};

const TRACES: ReceiverRoute = {
  method: "POST",
  path: "/v1/traces",
  receiver: RECEIVER,
  handle: () => {
    throw new RequestError(404, "traces are not kept here: send logs to /v1/logs and metrics to /v1/metrics");
  },
  refusal: failure,
};
