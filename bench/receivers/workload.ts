import { gzipSync } from "node:zlib";
import { compressSync } from "snappy";
import {
  elasticsearchBulk,
  lokiPush,
  otlpLogs,
  otlpMetrics,
  remoteWriteV1,
  remoteWriteV2,
  syslogLines,
} from "./loads.ts";
import type { Template } from "./template.ts";

type Encoding = "gzip" | "snappy" | "identity";

export interface Workload {
  readonly name: string;
  /** What is counted: log records, points or samples. */
  readonly unit: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly encoding: Encoding;
  readonly recordsPerRequest: number;
  readonly make: () => Template;
  /** How far apart the times of requests are, so that each series grows newer. */
  readonly stepMs: number;
}

const REMOTE_WRITE = { unit: "samples", path: "/api/v1/write", encoding: "snappy" } as const;

/** Encodings and sizes as the usual senders have them by default. */
export const WORKLOADS: readonly Workload[] = [
  {
    name: "otlp_logs",
    unit: "records",
    path: "/v1/logs",
    headers: { "content-type": "application/x-protobuf" },
    encoding: "gzip",
    recordsPerRequest: 1000,
    make: otlpLogs,
    stepMs: 10,
  },
  {
    name: "otlp_metrics",
    unit: "points",
    path: "/v1/metrics",
    headers: { "content-type": "application/x-protobuf" },
    encoding: "gzip",
    recordsPerRequest: 2000,
    make: otlpMetrics,
    stepMs: 10,
  },
  {
    ...REMOTE_WRITE,
    name: "remote_write",
    headers: { "content-type": "application/x-protobuf", "x-prometheus-remote-write-version": "0.1.0" },
    recordsPerRequest: 2000,
    make: remoteWriteV1,
    stepMs: 10,
  },
  {
    ...REMOTE_WRITE,
    name: "remote_write_2",
    headers: {
      "content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
      "x-prometheus-remote-write-version": "2.0.0",
    },
    recordsPerRequest: 5000,
    make: remoteWriteV2,
    stepMs: 100,
  },
  {
    name: "loki",
    unit: "records",
    path: "/loki/api/v1/push",
    headers: { "content-type": "application/x-protobuf" },
    encoding: "snappy",
    recordsPerRequest: 1000,
    make: lokiPush,
    stepMs: 1000,
  },
  {
    name: "elasticsearch",
    unit: "records",
    path: "/_bulk",
    headers: { "content-type": "application/x-ndjson" },
    encoding: "identity",
    recordsPerRequest: 1000,
    make: elasticsearchBulk,
    stepMs: 10,
  },
];

export const SYSLOG = {
  name: "syslog_tcp",
  unit: "records",
  recordsPerRequest: 1000,
  make: syslogLines,
  stepMs: 10,
} as const;

const COMPRESS: Readonly<Record<Encoding, (body: Buffer) => Buffer>> = {
  gzip: (body) => gzipSync(body, { level: 1 }),
  snappy: (body) => compressSync(body),
  identity: (body) => body,
};

export const compress = ({ encoding }: Pick<Workload, "encoding">, body: Buffer): Buffer => COMPRESS[encoding](body);

/** Bodies of one run, each at a time of its own, the last at `endUnixMs`. */
export const bodiesOf = (
  { make, stepMs }: Pick<Workload, "make" | "stepMs">,
  { requests, endUnixMs }: { requests: number; endUnixMs: number },
): Buffer[] => {
  const template = make();
  return Array.from({ length: requests }, (_, index) => template.at(endUnixMs - (requests - 1 - index) * stepMs));
};
