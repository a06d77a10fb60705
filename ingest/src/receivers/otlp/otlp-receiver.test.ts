import { gzipSync, zstdCompressSync } from "node:zlib";
import { resourceId, seriesFingerprint } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { NOW } from "../../gateway/gateway.fixture.ts";
import { JSON_TYPE, PROTOBUF } from "./answers.ts";
import {
  ExportLogsServiceRequest,
  ExportLogsServiceResponse,
  ExportMetricsServiceRequest,
  ExportMetricsServiceResponse,
  Status,
} from "./definitions.ts";
import { otlpReceiver } from "./otlp-receiver.ts";
import { rowsOf, startReceiver } from "./receiver.fixture.ts";

const nano = (offsetMs: number): string => `${NOW + offsetMs}000001`;
const resource = { attributes: [{ key: "host.name", value: { stringValue: "web-1" } }] };
const logs = (...times: readonly (string | undefined)[]) => ({
  resourceLogs: [
    {
      resource,
      scopeLogs: [
        {
          scope: { name: "lib" },
          logRecords: times.map((timeUnixNano, index) => ({
            ...(timeUnixNano === undefined ? {} : { timeUnixNano }),
            severityNumber: 9,
            body: { stringValue: `line ${index}` },
            attributes: [{ key: "n", value: { intValue: index } }],
          })),
        },
      ],
    },
  ],
});
const gauge = (...times: readonly string[]) => ({
  resourceMetrics: [
    {
      resource,
      scopeMetrics: [
        {
          metrics: [
            { name: "load", gauge: { dataPoints: times.map((timeUnixNano) => ({ timeUnixNano, asDouble: 0.5 })) } },
          ],
        },
      ],
    },
  ],
});
const logsBody = (request: object): Buffer =>
  Buffer.from(ExportLogsServiceRequest.encode(ExportLogsServiceRequest.fromObject(request)).finish());
const metricsBody = (request: object): Buffer =>
  Buffer.from(ExportMetricsServiceRequest.encode(ExportMetricsServiceRequest.fromObject(request)).finish());
const encoded = (contentType: string, encoding?: string) => ({
  "content-type": contentType,
  ...(encoding === undefined ? {} : { "content-encoding": encoding }),
});

const DAY_MS = 86_400_000;

describe("POST /v1/logs", () => {
  const bodies: readonly [string, Buffer, Record<string, string>][] = [
    ["protobuf", logsBody(logs(nano(0))), encoded(PROTOBUF)],
    ["protobuf in gzip", gzipSync(logsBody(logs(nano(0)))), encoded(PROTOBUF, "gzip")],
    ["protobuf in zstd", zstdCompressSync(logsBody(logs(nano(0)))), encoded(PROTOBUF, "zstd")],
    ["JSON", Buffer.from(JSON.stringify(logs(nano(0)))), encoded(`${JSON_TYPE}; charset=utf-8`)],
  ];
  it.each(bodies)(
    "of %s brings its records and their resource onto the bus, and is answered in its encoding",
    async (_name, body, headers) => {
      const run = startReceiver(otlpReceiver);
      const answer = await run.send({ path: "/v1/logs", body, headers });
      const isJson = headers["content-type"]?.startsWith(JSON_TYPE) === true;
      expect([answer.status, answer.headers["content-type"]]).toEqual([200, isJson ? JSON_TYPE : PROTOBUF]);
      expect(answer.body.toString()).toBe(isJson ? "{}" : "");
      const attributes = { "host.name": "web-1" };
      expect(rowsOf(run.bus, "logs")).toMatchObject([
        {
          timestamp: BigInt(nano(0)),
          host_name: "web-1",
          body: "line 0",
          attributes: { n: "0" },
          scope_name: "lib",
          resource_id: resourceId(attributes),
        },
      ]);
      expect(rowsOf(run.bus, "log_resources")).toMatchObject([{ host_name: "web-1", attributes }]);
    },
  );

  it("takes the time of arrival for records that tell none", async () => {
    const run = startReceiver(otlpReceiver);
    await run.send({ path: "/v1/logs", body: logsBody(logs(undefined)), headers: encoded(PROTOBUF) });
    expect(rowsOf(run.bus, "logs")).toMatchObject([{ timestamp: BigInt(NOW) * 1_000_000n }]);
  });

  const absurd = [nano(0), nano(-30 * DAY_MS), nano(DAY_MS), "18446744073709551615", "1"];
  it("says how many records it refused and why, and keeps the others", async () => {
    const run = startReceiver(otlpReceiver);
    const inProtobuf = await run.send({
      path: "/v1/logs",
      body: logsBody(logs(...absurd)),
      headers: encoded(PROTOBUF),
    });
    expect(inProtobuf.status).toBe(200);
    const message = ExportLogsServiceResponse.toObject(ExportLogsServiceResponse.decode(inProtobuf.body), {
      longs: Number,
    });
    expect(message).toEqual({
      partialSuccess: { rejectedLogRecords: 4, errorMessage: "refused: 2 late, 2 future" },
    });
    const inJson = await run.send({
      path: "/v1/logs",
      body: JSON.stringify(logs(...absurd)),
      headers: encoded(JSON_TYPE),
    });
    expect(JSON.parse(inJson.body.toString())).toEqual({
      partialSuccess: { rejectedLogRecords: "4", errorMessage: "refused: 2 late, 2 future" },
    });
    expect(rowsOf(run.bus, "logs").map(({ body }) => body)).toEqual(["line 0", "line 0"]);
    expect(run.gateway.status().receivers).toMatchObject([
      { receiver: "otlp", sender: "shipper", requests: 2, accepted: 2, rejected: { late: 4, future: 4 } },
    ]);
  });

  it("of something else is a google.rpc.Status in the encoding that it came in, and nothing of it is taken", async () => {
    const run = startReceiver(otlpReceiver);
    const whole = logsBody(logs(nano(0), nano(1)));
    const cut = await run.send({ path: "/v1/logs", body: whole.subarray(0, -3), headers: encoded(PROTOBUF) });
    expect([cut.status, cut.headers["content-type"]]).toEqual([400, PROTOBUF]);
    expect(Status.toObject(Status.decode(cut.body))).toEqual({ code: 3, message: expect.stringMatching(/cut short/) });
    const text = await run.send({ path: "/v1/logs", body: '{"resourceLogs":1}', headers: encoded(JSON_TYPE) });
    expect([text.status, text.headers["content-type"]]).toEqual([400, JSON_TYPE]);
    expect(JSON.parse(text.body.toString())).toEqual({ code: 3, message: expect.stringMatching(/expected array/) });
    const other = await run.send({ path: "/v1/logs", body: "x", headers: encoded("text/plain") });
    expect(other.status).toBe(415);
    expect(run.bus.messages).toEqual([]);
  });
});

describe("POST /v1/metrics", () => {
  it("brings samples and their series onto the bus, in both encodings the same", async () => {
    const run = startReceiver(otlpReceiver);
    const answers = [
      await run.send({ path: "/v1/metrics", body: metricsBody(gauge(nano(0))), headers: encoded(PROTOBUF) }),
      await run.send({ path: "/v1/metrics", body: JSON.stringify(gauge(nano(0))), headers: encoded(JSON_TYPE) }),
    ];
    expect(answers.map(({ status, body }) => [status, body.toString()])).toEqual([
      [200, ""],
      [200, "{}"],
    ]);
    const fingerprint = seriesFingerprint("load", { "host.name": "web-1" });
    const sample = { fingerprint, timestamp: BigInt(NOW), value: 0.5 };
    expect(rowsOf(run.bus, "metric_samples")).toMatchObject([sample, sample]);
    expect(rowsOf(run.bus, "metric_series")).toMatchObject([{ fingerprint, metric_name: "load", kind: "gauge" }]);
  });

  it("puts a zero where a counter began, when it tells its start", async () => {
    const run = startReceiver(otlpReceiver);
    const sum = (timeMs: number, value: number) => ({
      resourceMetrics: [
        {
          resource,
          scopeMetrics: [
            {
              metrics: [
                {
                  name: "requests",
                  sum: {
                    aggregationTemporality: 2,
                    isMonotonic: true,
                    dataPoints: [{ startTimeUnixNano: nano(-60_000), timeUnixNano: nano(timeMs), asInt: value }],
                  },
                },
              ],
            },
          ],
        },
      ],
    });
    for (const [index, value] of [5, 9].entries()) {
      await run.send({ path: "/v1/metrics", body: metricsBody(sum(index * 1000, value)), headers: encoded(PROTOBUF) });
    }
    expect(run.bus.samples.map(({ timestamp, value }) => [timestamp - NOW, value])).toEqual([
      [-60_000, 0],
      [0, 5],
      [1000, 9],
    ]);
  });

  it("says how many data points it refused", async () => {
    const run = startReceiver(otlpReceiver);
    const answer = await run.send({
      path: "/v1/metrics",
      body: metricsBody(gauge(nano(0), "0", nano(-30 * DAY_MS))),
      headers: encoded(PROTOBUF),
    });
    const message = ExportMetricsServiceResponse.decode(answer.body);
    expect(ExportMetricsServiceResponse.toObject(message, { longs: Number })).toEqual({
      partialSuccess: { rejectedDataPoints: 2, errorMessage: "refused: 2 late" },
    });
  });
});

describe("POST /v1/traces", () => {
  it("says 404, which senders do not try again", async () => {
    const run = startReceiver(otlpReceiver);
    const answer = await run.send({ path: "/v1/traces", body: "{}", headers: encoded(JSON_TYPE) });
    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ code: 12, message: expect.stringMatching(/traces/) });
  });
});
