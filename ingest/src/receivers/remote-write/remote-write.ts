import { randomInt } from "node:crypto";
import type { FastifyPluginAsync } from "fastify";
import type { Gateway, Submission } from "../../gateway/intake.ts";
import { type ReceiverPorts, receive } from "../../gateway/receive.ts";
import { type Answer, type IntakeRequest, RequestError } from "../../gateway/receiver-route.ts";
import { type DecodedHistogram, DecodedRequest } from "./decoded-request.ts";
import { loadDefinitions } from "./definitions.ts";
import { WriteV1 } from "./write-v1.ts";
import { WriteV2 } from "./write-v2.ts";

const MEDIA_TYPE = "application/x-protobuf";
const MESSAGE_V1 = "prometheus.WriteRequest";
const MESSAGE_V2 = "io.prometheus.write.v2.Request";

/** The message that the content type names; without one it is 1.0's, as it was before there were two. */
const messageOf = (header: string | string[] | undefined): string => {
  const told = typeof header === "string" ? header : (header?.[0] ?? MEDIA_TYPE);
  const [mediaType = "", ...parameters] = told.split(";").map((part) => part.trim());
  if (mediaType.toLowerCase() !== MEDIA_TYPE) {
    throw new RequestError(
      415,
      `the content type is ${JSON.stringify(mediaType.slice(0, 80))}, only ${MEDIA_TYPE} is taken`,
    );
  }
  const proto = parameters.find((parameter) => parameter.toLowerCase().startsWith("proto="));
  return proto === undefined ? MESSAGE_V1 : proto.slice("proto=".length).replaceAll('"', "");
};

/** What became of a request's records. */
class Written {
  samples = 0;
  histograms = 0;
  readonly refused = new Map<string, number>();

  count(refusal: string | null, kind: "samples" | "histograms"): void {
    if (refusal === null) this[kind]++;
    else this.refuse(refusal, 1);
  }

  refuse(reason: string, records: number): void {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + records);
  }
}

const append = (gateway: Gateway, submission: Submission, decoded: DecodedRequest): Written => {
  const written = new Written();
  const { series, timestamps, values, starts } = decoded;
  for (let place = 0; place < decoded.sampleCount; place++) {
    const ref = series[place]?.samplesRef(gateway);
    if (ref === undefined) throw new Error(`sample ${place} has no series`);
    written.count(
      submission.sample(ref, timestamps[place] ?? 0, values[place] ?? 0, positive(starts[place] ?? 0)),
      "samples",
    );
  }
  for (const histogram of decoded.histograms) {
    written.count(appendHistogram(gateway, submission, histogram), "histograms");
  }
  for (const [reason, records] of decoded.rejected) {
    submission.reject(reason, records);
    if (reason !== "exemplar") written.refuse(reason, records);
  }
  return written;
};

/** 0 is "not told"; before 1970 nothing began to count. */
const positive = (startUnixMs: number): number => Math.max(startUnixMs, 0);

const appendHistogram = (
  gateway: Gateway,
  submission: Submission,
  { series, point, timestampUnixMs, startUnixMs, isGauge }: DecodedHistogram,
): string | null => {
  const refs = series.histogramRefs(gateway, isGauge);
  const start = positive(startUnixMs);
  if (point !== null) {
    const refusal = submission.histogram(refs.distribution, point, start);
    if (refusal !== null) return refusal;
  }
  const refusal = submission.sample(refs.count, timestampUnixMs, point?.count ?? Number.NaN, start);
  return refusal ?? submission.sample(refs.sum, timestampUnixMs, point?.sum ?? Number.NaN, start);
};

const headersOf = ({ samples, histograms }: Written): Record<string, string> => ({
  "X-Prometheus-Remote-Write-Samples-Written": String(samples),
  "X-Prometheus-Remote-Write-Histograms-Written": String(histograms),
  "X-Prometheus-Remote-Write-Exemplars-Written": "0",
});

/** 204, or 400 for a partial write: what could be taken is taken, and a sender does not send the rest again. */
const answerOf = (written: Written, problem: string): Answer => {
  const headers = headersOf(written);
  if (written.refused.size === 0) return { status: 204, headers };
  const refused = [...written.refused].map(([reason, records]) => `${records} ${reason}`).join(", ");
  const taken = `${written.samples} samples and ${written.histograms} histograms were written`;
  const body = `${taken}; not written: ${refused}${problem === "" ? "" : ` (${problem})`}\n`;
  return { status: 400, headers: { ...headers, "content-type": "text/plain; charset=utf-8" }, body };
};

/** Decodes and appends requests of both versions; apart from the server, so that it can be measured and fuzzed by itself. */
export const createRemoteWrite = (gateway: Gateway): ((request: IntakeRequest, submission: Submission) => Answer) => {
  const definitions = loadDefinitions();
  // Nobody outside can seek series whose digests collide.
  const seed = randomInt(2 ** 31);
  const versions = new Map<string, WriteV1 | WriteV2>([
    [MESSAGE_V1, new WriteV1(definitions, seed)],
    [MESSAGE_V2, new WriteV2(definitions, seed)],
  ]);
  const decoded = new DecodedRequest();
  return (request, submission) => {
    const message = messageOf(request.headers["content-type"]);
    const version = versions.get(message);
    if (version === undefined) {
      throw new RequestError(
        415,
        `the message is ${JSON.stringify(message.slice(0, 80))}, ${MESSAGE_V1} and ${MESSAGE_V2} are taken`,
      );
    }
    decoded.reset();
    version.decode(request.body, decoded);
    return answerOf(append(gateway, submission, decoded), decoded.problem);
  };
};

/**
 * Prometheus remote write 1.0 and 2.0 at `/api/v1/write`, snappy-compressed (https://prometheus.io/docs/specs/prw/). The content type says
 * which. Samples become `metric_samples`, native histograms `metric_histograms` with the series X_count and X_sum. A series' kind comes from
 * its metadata (2.0; in 1.0 from metadata messages), else from its name: `_total`, `_count`, `_sum` and `_bucket` count, all others are
 * gauges. Labels stay as they came; `host.name`, `host` or `instance` names the host, `service.name`, `job` or `service` the service.
 * A series whose labels break the specification's rules is not written and makes the answer 400, with the rest written. Exemplars are
 * counted and not kept.
 */
export const remoteWriteReceiver =
  (ports: ReceiverPorts): FastifyPluginAsync =>
  async (server) => {
    receive(server, ports, {
      method: "POST",
      path: "/api/v1/write",
      receiver: "prometheus_remote_write",
      handle: createRemoteWrite(ports.gateway),
      refusal: (status, message) => ({
        status,
        headers: { "content-type": "text/plain; charset=utf-8" },
        body: `${message}\n`,
      }),
    });
  };
