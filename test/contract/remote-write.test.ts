import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ReceiversConfig } from "@homeostat/ingest";
import {
  createGateway,
  createGatewayServer,
  type RunningGateway,
  remoteWriteReceiver,
} from "@homeostat/ingest/receivers";
import { type Batch, type Bus, decodeBatch, type Log, metricId, seriesFingerprint, topics } from "@homeostat/schemas";
import { compressSync } from "snappy";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createEmbeddedBus } from "../../app/src/embedded/bus/index.ts";
import { encodeWriteV1, encodeWriteV2 } from "../../bench/receivers/definitions.ts";

const ignore = () => undefined;
const log: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const TOKEN = "token-of-prometheus";
const NOW = Date.now();
const V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

let dir: string;
let bus: Bus;
let gateway: RunningGateway;
let server: ReturnType<typeof createGatewayServer>;
let url: string;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "remote-write-"));
  bus = await createEmbeddedBus({ dir, topics: topics(), now: Date.now, log });
  const config = ReceiversConfig.parse({
    senders: [{ name: "prometheus", token: TOKEN }],
    gateway: { linger_ms: 0, lanes: 1 },
  });
  const ports = { host: "gateway-1", now: Date.now, log };
  gateway = createGateway({
    ...ports,
    bus,
    config: config.gateway,
    reportFinding: () => Promise.resolve(),
    randomId: () => "test",
  });
  server = createGatewayServer({ gateway, config, receivers: [remoteWriteReceiver], log, now: Date.now });
  url = await server.listen({ host: "127.0.0.1", port: 0 });
});

afterEach(async () => {
  await server.close();
  await gateway.stop();
  await bus.stop();
  rmSync(dir, { recursive: true, force: true });
});

const send = (body: Buffer, contentType = "application/x-protobuf", token = TOKEN): Promise<Response> =>
  fetch(`${url}/api/v1/write`, {
    method: "POST",
    body: new Uint8Array(body),
    headers: { "content-type": contentType, "content-encoding": "snappy", authorization: `Bearer ${token}` },
  });

/** What the bus has when a sender has its answer. */
const onTheBus = async (): Promise<Batch[]> => {
  const batches: Batch[] = [];
  const expected = await bus.lag("test", "telemetry.metrics");
  let waiting = expected.reduce((sum, count) => sum + count, 0);
  if (waiting === 0) return batches;
  const done = Promise.withResolvers<void>();
  const consumer = await bus.consume({
    group: "test",
    topics: ["telemetry.metrics"],
    open: async (partition) => ({
      startOffset: partition.earliestOffset,
      receive: async (messages) => {
        for (const { value } of messages) batches.push(decodeBatch(value ?? Buffer.alloc(0)));
        waiting -= messages.length;
        if (waiting === 0) done.resolve();
      },
    }),
  });
  await done.promise;
  await consumer.stop();
  return batches;
};

const LABELS = [
  { name: "__name__", value: "http_requests_total" },
  { name: "instance", value: "web-1:9100" },
  { name: "job", value: "shop" },
];
const FINGERPRINT = seriesFingerprint("http_requests_total", { instance: "web-1:9100", job: "shop" });

const v1 = (samples: readonly object[]) => compressSync(encodeWriteV1({ timeseries: [{ labels: LABELS, samples }] }));

const samplesOf = (batches: readonly Batch[]) =>
  batches.flatMap((batch) =>
    batch.schema === "metric_samples"
      ? Array.from({ length: batch.rowCount }, (_, row) => ({
          fingerprint: batch.column("fingerprint").at(row),
          timestamp: Number(batch.column("timestamp").at(row)),
          value: batch.column("value").at(row),
        }))
      : [],
  );

describe("a sender of remote write that was told of success", () => {
  it("has its samples on the bus, behind their series, in either version", async () => {
    expect((await send(v1([{ value: 1, timestamp: NOW - 1000 }]))).status).toBe(204);
    const symbols = ["", "http_requests_total", "__name__", "shop", "job", "web-1:9100", "instance"];
    const samples = [{ value: 2, timestamp: NOW }];
    const body = encodeWriteV2({
      symbols,
      timeseries: [{ labelsRefs: [2, 1, 6, 5, 4, 3], samples, metadata: { type: 1 } }],
    });
    const answer = await send(compressSync(body), V2);
    expect(answer.status).toBe(204);
    expect(answer.headers.get("x-prometheus-remote-write-samples-written")).toBe("1");
    const batches = await onTheBus();
    const [series] = batches.filter((batch) => batch.schema === "metric_series");
    expect(series?.rowCount).toBe(1);
    expect(series?.column("metric_name").at(0)).toBe("http_requests_total");
    expect(series?.column("kind").at(0)).toBe("counter");
    expect(series?.column("host_name").at(0)).toBe("web-1");
    expect(series?.column("service_name").at(0)).toBe("shop");
    expect(series?.column("metric_id").at(0)).toBe(metricId("http_requests_total"));
    expect(batches.indexOf(series as Batch)).toBe(0);
    expect(samplesOf(batches)).toEqual([
      { fingerprint: FINGERPRINT, timestamp: NOW - 1000, value: 1 },
      { fingerprint: FINGERPRINT, timestamp: NOW, value: 2 },
    ]);
  });

  it("has its native histograms there, with their counts and sums", async () => {
    const histogram = {
      countInt: 3,
      sum: 5,
      positiveSpans: [{ offset: 1, length: 1 }],
      positiveDeltas: [3],
      timestamp: NOW,
    };
    const timeseries = [{ labels: [{ name: "__name__", value: "rpc_seconds" }], histograms: [histogram] }];
    expect((await send(compressSync(encodeWriteV1({ timeseries })))).status).toBe(204);
    const batches = await onTheBus();
    const [point] = batches.filter((batch) => batch.schema === "metric_histograms");
    expect([...(point?.column("bounds").at(0) ?? [])]).toEqual([1, 2]);
    expect([...(point?.column("counts").at(0) ?? [])]).toEqual([0, 3]);
    const told = samplesOf(batches).map(({ fingerprint, value }) => [fingerprint, value]);
    expect(told).toEqual([
      [seriesFingerprint("rpc_seconds_count", {}), 3],
      [seriesFingerprint("rpc_seconds_sum", {}), 5],
    ]);
  });

  it("has a staleness marker there as NaN", async () => {
    const body = encodeWriteV1({ timeseries: [{ labels: LABELS, samples: [{ value: Number.NaN, timestamp: NOW }] }] });
    expect((await send(compressSync(body))).status).toBe(204);
    expect(samplesOf(await onTheBus())).toEqual([{ fingerprint: FINGERPRINT, timestamp: NOW, value: Number.NaN }]);
  });
});

describe("a request of remote write that is refused", () => {
  it("leaves nothing behind when it is cut short, malformed, from a stranger or of an unknown message", async () => {
    const whole = v1([{ value: 1, timestamp: NOW }]);
    const message = encodeWriteV1({ timeseries: [{ labels: LABELS, samples: [{ value: 1, timestamp: NOW }] }] });
    const statuses = [
      await send(whole.subarray(0, whole.length - 3)),
      await send(compressSync(message.subarray(0, message.length - 3))),
      await send(compressSync(Buffer.from("not protobuf"))),
      await send(whole, "application/x-protobuf", "token-of-somebody-else"),
      await send(whole, "application/x-protobuf;proto=io.prometheus.write.v3.Request"),
    ].map(({ status }) => status);
    expect(statuses).toEqual([400, 400, 400, 401, 415]);
    expect(await onTheBus()).toEqual([]);
  });

  it("in part is answered with 400 and what was written, and counted by reason", async () => {
    const answer = await send(
      v1([
        { value: 1, timestamp: NOW - 365 * 86_400_000 },
        { value: 2, timestamp: NOW },
      ]),
    );
    expect(answer.status).toBe(400);
    expect(answer.headers.get("x-prometheus-remote-write-samples-written")).toBe("1");
    expect(await answer.text()).toContain("1 late");
    expect(samplesOf(await onTheBus())).toHaveLength(1);
    expect(gateway.status().receivers).toMatchObject([
      { receiver: "prometheus_remote_write", sender: "prometheus", accepted: 1, rejected: { late: 1 } },
    ]);
  });
});
