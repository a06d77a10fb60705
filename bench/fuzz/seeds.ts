import {
  encodeLokiPush,
  encodeOtlpLogs,
  encodeOtlpMetrics,
  encodeWriteV1,
  encodeWriteV2,
} from "../receivers/definitions.ts";

/* Valid requests, small and with every kind of content, for damage to begin from. */

/** The present of the whole fuzz: cases are the same whenever they run. */
export const NOW_UNIX_MS = 1_780_000_000_000;
const NOW_NANO = (BigInt(NOW_UNIX_MS) * 1_000_000n).toString();
const NOW_ISO = new Date(NOW_UNIX_MS).toISOString();

const text = (key: string, stringValue: string) => ({ key, value: { stringValue } });

const RESOURCE = { attributes: [text("service.name", "shop"), text("host.name", "web-1")] };

const ATTRIBUTES = [
  text("route", "/orders"),
  { key: "status", value: { intValue: "200" } },
  { key: "ratio", value: { doubleValue: 0.5 } },
  { key: "retried", value: { boolValue: true } },
  { key: "raw", value: { bytesValue: Buffer.from([0, 255, 7]).toString("base64") } },
  { key: "tags", value: { arrayValue: { values: [{ stringValue: "a" }, { intValue: "-1" }] } } },
  { key: "nested", value: { kvlistValue: { values: [text("inner", "é")] } } },
];

const LOGS = {
  resourceLogs: [
    {
      resource: RESOURCE,
      scopeLogs: [
        {
          scope: { name: "orders", version: "1", attributes: [text("library", "x")] },
          logRecords: [
            {
              timeUnixNano: NOW_NANO,
              observedTimeUnixNano: NOW_NANO,
              severityNumber: 17,
              severityText: "ERROR",
              body: { stringValue: "GET /orders 500 in 12 ms" },
              attributes: ATTRIBUTES,
              traceId: "0123456789abcdef0123456789abcdef",
              spanId: "0123456789abcdef",
              flags: 1,
              eventName: "order.failed",
            },
            { timeUnixNano: NOW_NANO, body: { kvlistValue: { values: [text("message", "ü")] } } },
          ],
        },
      ],
    },
  ],
};

const POINT = { timeUnixNano: NOW_NANO, startTimeUnixNano: NOW_NANO, attributes: [text("cpu", "0")] };

const METRICS = {
  resourceMetrics: [
    {
      resource: RESOURCE,
      scopeMetrics: [
        {
          scope: { name: "host" },
          metrics: [
            {
              name: "load",
              unit: "1",
              gauge: {
                dataPoints: [
                  { ...POINT, asDouble: 0.5 },
                  { ...POINT, flags: 1 },
                ],
              },
            },
            {
              name: "requests",
              sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: [{ ...POINT, asInt: "7" }] },
            },
            {
              name: "changes",
              sum: { aggregationTemporality: 1, dataPoints: [{ ...POINT, asDouble: -1 }] },
            },
            {
              name: "latency",
              unit: "s",
              histogram: {
                aggregationTemporality: 2,
                dataPoints: [
                  {
                    ...POINT,
                    count: "3",
                    sum: 2,
                    min: 0,
                    max: 1,
                    bucketCounts: ["1", "2", "0"],
                    explicitBounds: [0.1, 1],
                  },
                ],
              },
            },
            {
              name: "sizes",
              exponentialHistogram: {
                aggregationTemporality: 1,
                dataPoints: [
                  {
                    ...POINT,
                    count: "6",
                    sum: 9,
                    scale: 2,
                    zeroCount: "1",
                    zeroThreshold: 0.001,
                    positive: { offset: -1, bucketCounts: ["1", "2"] },
                    negative: { offset: 3, bucketCounts: ["2"] },
                  },
                ],
              },
            },
            {
              name: "summary",
              summary: {
                dataPoints: [{ ...POINT, count: "2", sum: 3, quantileValues: [{ quantile: 0.5, value: 1 }] }],
              },
            },
          ],
        },
      ],
    },
  ],
};

const LABELS = [
  { name: "__name__", value: "http_requests_total" },
  { name: "instance", value: "web-1:9100" },
  { name: "job", value: "node" },
];

const NATIVE = {
  countInt: 10,
  sum: 18.4,
  schema: 1,
  zeroThreshold: 0.001,
  zeroCountInt: 2,
  negativeSpans: [{ offset: 0, length: 1 }],
  negativeDeltas: [1],
  positiveSpans: [
    { offset: 0, length: 2 },
    { offset: 3, length: 1 },
  ],
  positiveDeltas: [2, 1, -1],
  resetHint: 1,
  timestamp: NOW_UNIX_MS,
};

const CUSTOM = {
  countFloat: 3,
  sum: 4,
  schema: -53,
  positiveSpans: [{ offset: 0, length: 3 }],
  positiveCounts: [1, 0.5, 1.5],
  customValues: [1, 2],
  timestamp: NOW_UNIX_MS,
};

const SAMPLES = [
  { value: 1, timestamp: NOW_UNIX_MS - 15_000 },
  { value: 2, timestamp: NOW_UNIX_MS },
];

const WRITE_V1 = {
  timeseries: [
    {
      labels: LABELS,
      samples: SAMPLES,
      exemplars: [{ labels: [{ name: "trace_id", value: "a" }], value: 1, timestamp: 5 }],
    },
    { labels: [{ name: "__name__", value: "up" }], samples: SAMPLES },
    { labels: [{ name: "__name__", value: "rpc" }], histograms: [NATIVE, CUSTOM] },
  ],
  metadata: [{ type: 1, metricFamilyName: "http_requests", help: "Requests.", unit: "1" }],
};

const WRITE_V2 = {
  symbols: ["", "__name__", "up", "instance", "web-1:9100", "job", "node", "rpc", "seconds", "Help."],
  timeseries: [
    {
      labelsRefs: [1, 2, 3, 4, 5, 6],
      samples: SAMPLES.map((sample) => ({ ...sample, startTimestamp: NOW_UNIX_MS - 60_000 })),
      metadata: { type: 1, helpRef: 9, unitRef: 8 },
      exemplars: [{ labelsRefs: [5, 6], value: 1, timestamp: NOW_UNIX_MS }],
    },
    { labelsRefs: [1, 7], histograms: [{ ...NATIVE, startTimestamp: NOW_UNIX_MS - 60_000 }], metadata: { type: 3 } },
    { labelsRefs: [1, 7, 5, 6], histograms: [CUSTOM], metadata: { type: 4 } },
  ],
};

const LOKI = {
  streams: [
    {
      labels: '{job="shop", host="web-1", level="warn", path="a\\"b\\\\c"}',
      entries: [
        {
          timestamp: { seconds: NOW_UNIX_MS / 1000, nanos: 5 },
          line: Buffer.from("GET /orders 200"),
          structuredMetadata: [{ name: "trace_id", value: "0123456789abcdef0123456789abcdef" }],
        },
        { timestamp: { seconds: NOW_UNIX_MS / 1000 }, line: Buffer.from("level=error é") },
      ],
    },
  ],
};

const LOKI_JSON = {
  streams: [
    {
      stream: { job: "shop", host: "web-1" },
      values: [
        [NOW_NANO, "GET /orders 200"],
        [NOW_NANO, "with metadata", { trace_id: "abc", status: "200" }],
      ],
    },
  ],
};

const bulk = (...lines: readonly object[]): string => `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`;

const ELASTICSEARCH = bulk(
  { create: { _index: "filebeat" } },
  {
    "@timestamp": NOW_ISO,
    message: "GET /orders 200",
    host: { name: "web-1" },
    service: { name: "shop" },
    log: { level: "warn" },
    trace: { id: "0123456789abcdef0123456789abcdef" },
    tags: ["a", { b: 1 }, null],
    http: { response: { status_code: 200, ratio: 0.5 } },
  },
  { index: { _index: "logs", _id: "7", pipeline: "p" } },
  { "@timestamp": NOW_UNIX_MS, message: "é", "kubernetes.pod.name": "shop-1" },
  { delete: { _index: "logs", _id: "7" } },
  { update: { _index: "logs", _id: "8" } },
  { doc: { message: "no" } },
);

const SYSLOG_RFC_5424 = `<165>1 ${NOW_ISO} web-1 orders 814 ID47 [origin@32473 ip="10.0.0.1" note="a \\"b\\" \\] c"][meta sequenceId="1"] \ufeffGET /orders 200`;
const SYSLOG_RFC_3164 = "<34>May 28 20:26:40 web-1 su[230]: 'su root' failed for lonvick on /dev/pts/8";

export const SEEDS = {
  otlp_logs: [encodeOtlpLogs(LOGS)],
  otlp_metrics: [encodeOtlpMetrics(METRICS)],
  otlp_logs_json: [Buffer.from(JSON.stringify(LOGS))],
  otlp_metrics_json: [Buffer.from(JSON.stringify(METRICS))],
  remote_write: [encodeWriteV1(WRITE_V1)],
  remote_write_2: [encodeWriteV2(WRITE_V2)],
  loki: [encodeLokiPush(LOKI)],
  loki_json: [Buffer.from(JSON.stringify(LOKI_JSON))],
  elasticsearch: [Buffer.from(ELASTICSEARCH)],
  syslog: [SYSLOG_RFC_5424, SYSLOG_RFC_3164, `${SYSLOG_RFC_5424.length} ${SYSLOG_RFC_5424}`].map((line) =>
    Buffer.from(line),
  ),
} as const;
