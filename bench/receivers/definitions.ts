import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const PROTO_DIR = new URL("../../ingest/proto/", import.meta.url);

/** The published definitions that the receivers read by, for the other direction. */
const load = (...files: readonly string[]): protobuf.Root => {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => fileURLToPath(new URL(target, PROTO_DIR));
  root.loadSync([...files]);
  root.resolveAll();
  return root;
};

/** Without what they import: that only steers the generation of Go code. */
const loadPrometheus = (...files: readonly string[]): protobuf.Root => {
  const root = new protobuf.Root();
  for (const file of files) protobuf.parse(readFileSync(new URL(`prometheus/${file}`, PROTO_DIR), "utf8"), root);
  root.resolveAll();
  return root;
};

const otlp = load("opentelemetry/logs-service.proto", "opentelemetry/metrics-service.proto");
const loki = load("logproto/push.proto");
const prometheus = loadPrometheus("types.proto", "remote.proto", "io/prometheus/write/v2/types.proto");

const encoder =
  (type: protobuf.Type) =>
  (message: object): Buffer =>
    Buffer.from(type.encode(type.fromObject(message)).finish());

export const encodeOtlpLogs = encoder(
  otlp.lookupType("opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest"),
);
export const encodeOtlpMetrics = encoder(
  otlp.lookupType("opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest"),
);
export const encodeLokiPush = encoder(loki.lookupType("logproto.PushRequest"));
export const encodeWriteV1 = encoder(prometheus.lookupType("prometheus.WriteRequest"));
export const encodeWriteV2 = encoder(prometheus.lookupType("io.prometheus.write.v2.Request"));
