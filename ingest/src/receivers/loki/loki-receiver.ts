import type { FastifyPluginAsync } from "fastify";
import type { Gateway, LogRecord, Submission } from "../../gateway/intake.ts";
import { type ReceiverPorts, receive } from "../../gateway/receive.ts";
import type { Answer, IntakeRequest } from "../../gateway/receiver-route.ts";
import { severityNumberOf } from "./log-level.ts";
import { decodeLokiPush, type Entry, type Stream } from "./push-request.ts";
import { resourceOfStream } from "./stream-resource.ts";

/**
 * Loki's push API, POST /loki/api/v1/push, JSON and protobuf. A stream's labels are its resource, structured metadata are a record's
 * attributes. 204, or 400 in plain text when some entries were refused; the others are taken, as Loki has it.
 */
export const lokiReceiver =
  (ports: ReceiverPorts): FastifyPluginAsync =>
  async (server) => {
    receive(server, ports, {
      method: "POST",
      path: "/loki/api/v1/push",
      receiver: "loki",
      handle: (request, submission) => push(ports.gateway, request, submission),
      refusal: plainText,
    });
  };

const plainText = (status: number, message: string): Answer => ({
  status,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body: `${message}\n`,
});

/** Snappy as a content encoding is undone before; clients that leave the header away send the block as it is. */
const isUnpacked = ({ headers }: IntakeRequest): boolean =>
  String(headers["content-encoding"] ?? "")
    .trim()
    .toLowerCase() === "snappy";

const push = (gateway: Gateway, request: IntakeRequest, submission: Submission): Answer => {
  const streams = decodeLokiPush(request.body, request.contentType, isUnpacked(request));
  const refusals = new Map<string, number>();
  let entries = 0;
  for (const stream of streams) {
    entries += stream.entries.length;
    appendStream(gateway, submission, stream, refusals);
  }
  if (refusals.size === 0) return { status: 204 };
  const reasons = [...refusals].map(([reason, count]) => `${count} ${reason}`).join(", ");
  return plainText(400, `of ${entries} entries these were refused: ${reasons}`);
};

const appendStream = (
  gateway: Gateway,
  submission: Submission,
  { labels, entries }: Stream,
  refusals: Map<string, number>,
): void => {
  if (entries.length === 0) return;
  const resource = gateway.resource(resourceOfStream(labels));
  const level = levelIn(labels);
  for (const entry of entries) {
    const refusal = submission.log(resource, recordOf(entry, level));
    if (refusal !== null) refusals.set(refusal, (refusals.get(refusal) ?? 0) + 1);
  }
};

const levelIn = (texts: Readonly<Record<string, string>>): string =>
  texts.detected_level ?? texts.level ?? texts.severity ?? "";

/** `trace_id` and `span_id` where Loki's own clients put them; anything that is no such id stays an attribute. */
const TRACE_ID = /^[0-9a-fA-F]{32}$/;
const SPAN_ID = /^[0-9a-fA-F]{16}$/;

export const recordOf = ({ timeUnixNano, line, metadata }: Entry, levelOfStream: string): LogRecord => {
  const { trace_id: traceId = "", span_id: spanId = "", ...others } = metadata;
  const hasTrace = TRACE_ID.test(traceId);
  const hasSpan = SPAN_ID.test(spanId);
  const severityText = levelIn(metadata) || levelOfStream;
  return {
    timeUnixNano,
    observedUnixNano: 0n,
    severityNumber: severityNumberOf(severityText),
    severityText,
    eventName: "",
    scopeName: "",
    traceId: hasTrace ? traceId.toLowerCase() : "",
    spanId: hasSpan ? spanId.toLowerCase() : "",
    traceFlags: 0,
    body: line,
    attributes: {
      ...others,
      ...(hasTrace || traceId === "" ? {} : { trace_id: traceId }),
      ...(hasSpan || spanId === "" ? {} : { span_id: spanId }),
    },
  };
};
