import { encodeLokiPush, encodeOtlpLogs, encodeOtlpMetrics, encodeWriteV1, encodeWriteV2 } from "./definitions.ts";
import {
  fixedNanoseconds,
  isoMilliseconds,
  MARK_UNIX_MS,
  Template,
  varintMilliseconds,
  varintSeconds,
} from "./template.ts";

/* What senders send, in sizes that are usual: bodies of some 120 bytes, half a dozen attributes, ten labels. */

/** A small generator with a seed (mulberry32), so that every run sees the same requests. */
const random = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
};

const range = (length: number): number[] => Array.from({ length }, (_, index) => index);

const text = (key: string, stringValue: string) => ({ key, value: { stringValue } });

const MARK_NANO = (BigInt(MARK_UNIX_MS) * 1_000_000n).toString();

const VERBS = ["GET", "PUT", "POST", "DELETE"] as const;

const line = (next: () => number, index: number): string =>
  `${VERBS[index % 4]} /api/orders/${Math.floor(next() * 1e9).toString(36)} ${next() < 0.05 ? 500 : 200} in ${(next() * 900).toFixed(2)} ms for user ${Math.floor(next() * 1e6)} from 10.${index % 7}.${Math.floor(next() * 255)}.9`;

const resource = (index: number) => ({
  attributes: [
    text("service.name", `service-${index}`),
    text("service.version", "1.42.0"),
    text("host.name", `web-${index}`),
    text("k8s.namespace.name", "shop"),
    text("k8s.pod.name", `service-${index}-7d9f6c-x2x4`),
    text("deployment.environment.name", "production"),
  ],
});

const LOG_RESOURCES = 10;

/** 1,000 records of ten resources, as a collector's batch processor gathers them. */
export const otlpLogs = (): Template => {
  const next = random(1);
  const resourceLogs = range(LOG_RESOURCES).map((index) => ({
    resource: resource(index),
    scopeLogs: [
      { scope: { name: "com.example.orders" }, logRecords: range(1000 / LOG_RESOURCES).map(() => record(next)) },
    ],
  }));
  return new Template(encodeOtlpLogs({ resourceLogs }), fixedNanoseconds);
};

const record = (next: () => number) => {
  const index = Math.floor(next() * 1e6);
  return {
    timeUnixNano: MARK_NANO,
    observedTimeUnixNano: MARK_NANO,
    severityNumber: 9,
    severityText: "INFO",
    body: { stringValue: line(next, index) },
    traceId: Buffer.from(range(16).map(() => next() * 256)),
    spanId: Buffer.from(range(8).map(() => next() * 256)),
    flags: 1,
    attributes: [
      text("http.request.method", VERBS[index % 4] ?? ""),
      text("http.route", "/api/orders/{id}"),
      { key: "http.response.status_code", value: { intValue: 200 } },
      text("thread.name", `worker-${index % 16}`),
      text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
    ],
  };
};

/** 2,000 points: ten resources with ten metrics of twenty series each, half gauges and half sums. */
export const otlpMetrics = (): Template => {
  const next = random(2);
  const points = (metric: number) =>
    range(20).map((series) => ({
      startTimeUnixNano: MARK_NANO,
      timeUnixNano: MARK_NANO,
      asDouble: Math.round(next() * 1e6) / 1000,
      attributes: [
        text("cpu", String(series)),
        text("state", ["user", "system", "idle", "iowait"][series % 4] ?? ""),
        text("device", `nvme${metric}n1`),
      ],
    }));
  const metric = (index: number) => ({
    name: `system.metric_${index}.time`,
    unit: "s",
    ...(index % 2 === 0
      ? { gauge: { dataPoints: points(index) } }
      : { sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: points(index) } }),
  });
  const resourceMetrics = range(10).map((index) => ({
    resource: resource(index),
    scopeMetrics: [{ scope: { name: "hostmetrics" }, metrics: range(10).map(metric) }],
  }));
  return new Template(encodeOtlpMetrics({ resourceMetrics }), fixedNanoseconds);
};

const MODES = ["idle", "user", "system", "iowait"] as const;

/** Ten labels, sorted; fifty metrics to an instance. */
const labelsOf = (index: number) => [
  { name: "__name__", value: `node_metric_${index % 50}_seconds_total` },
  { name: "cluster", value: "production-eu-west-1" },
  { name: "container", value: "checkout" },
  { name: "cpu", value: String(index % 16) },
  { name: "datacenter", value: "fra1" },
  { name: "instance", value: `web-${Math.floor(index / 50)}.example.internal:9100` },
  { name: "job", value: "node-exporter" },
  { name: "mode", value: MODES[index % 4] ?? "" },
  { name: "namespace", value: "monitoring" },
  { name: "pod", value: `node-exporter-${(index * 7919) % 99_991}` },
];

/** 2,000 series with one sample each: Prometheus's own default (max_samples_per_send). */
export const remoteWriteV1 = (): Template => {
  const next = random(3);
  const timeseries = range(2000).map((index) => ({
    labels: labelsOf(index),
    samples: [{ value: Math.round(next() * 1e6) / 1000, timestamp: MARK_UNIX_MS }],
  }));
  return new Template(encodeWriteV1({ timeseries }), varintMilliseconds);
};

const V2_SAMPLES = 10;
const V2_STEP_MS = 10;

/** 500 series with ten samples each. */
export const remoteWriteV2 = (): Template => {
  const next = random(4);
  const symbols = [""];
  const refs = new Map([["", 0]]);
  const refOf = (symbol: string): number => {
    const known = refs.get(symbol);
    if (known !== undefined) return known;
    refs.set(symbol, symbols.length);
    return symbols.push(symbol) - 1;
  };
  const timeseries = range(500).map((index) => ({
    labelsRefs: labelsOf(index).flatMap(({ name, value }) => [refOf(name), refOf(value)]),
    metadata: { type: 1, helpRef: refOf("Seconds that the processors spent in each mode."), unitRef: refOf("seconds") },
    samples: range(V2_SAMPLES).map((sample) => ({
      value: Math.round(next() * 1e6) / 1000,
      timestamp: MARK_UNIX_MS + sample * V2_STEP_MS,
    })),
  }));
  const offsets = range(V2_SAMPLES).map((sample) => sample * V2_STEP_MS);
  return new Template(encodeWriteV2({ symbols, timeseries }), varintMilliseconds, offsets);
};

/** 1,000 entries of ten streams, with two pieces of structured metadata. */
export const lokiPush = (): Template => {
  const next = random(5);
  const streams = range(10).map((index) => ({
    labels: `{job="shop", service_name="service-${index}", host="web-${index}", namespace="shop", level="info"}`,
    entries: range(100).map((entry) => ({
      timestamp: { seconds: MARK_UNIX_MS / 1000, nanos: entry * 1000 },
      line: Buffer.from(line(next, entry)),
      structuredMetadata: [
        {
          name: "trace_id",
          value: range(4)
            .map(() =>
              Math.floor(next() * 2 ** 32)
                .toString(16)
                .padStart(8, "0"),
            )
            .join(""),
        },
        { name: "pod", value: `service-${index}-7d9f6c-x2x4` },
      ],
    })),
  }));
  return new Template(encodeLokiPush({ streams }), varintSeconds);
};

const MARK_ISO = new Date(MARK_UNIX_MS).toISOString();

/** 1,000 documents, as Filebeat writes them. */
export const elasticsearchBulk = (): Template => {
  const next = random(6);
  const documents = range(1000).map((index) => ({
    "@timestamp": MARK_ISO,
    message: line(next, index),
    host: { name: `web-${index % 10}` },
    service: { name: `service-${index % 10}` },
    log: { level: "info", file: { path: "/var/log/shop/orders.log" }, offset: index * 120 },
    agent: { type: "filebeat", version: "8.15.0" },
    ecs: { version: "8.0.0" },
  }));
  const lines = documents.flatMap((document) => ['{"create":{"_index":"filebeat"}}', JSON.stringify(document)]);
  return new Template(Buffer.from(`${lines.join("\n")}\n`), isoMilliseconds);
};

/** 1,000 messages of RFC 5424 in frames that tell their length (RFC 6587, section 3.4.1). */
export const syslogLines = (): Template => {
  const next = random(7);
  const frames = range(1000).map((index) => {
    const message = `<134>1 ${MARK_ISO} web-${index % 10} orders ${1000 + (index % 9)} - [origin@32473 ip="10.0.0.1" pod="orders-7d9f6c"] ${line(next, index)}`;
    return `${Buffer.byteLength(message)} ${message}`;
  });
  return new Template(Buffer.from(frames.join("")), isoMilliseconds);
};
