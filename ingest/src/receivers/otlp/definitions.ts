import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const PROTO_DIR = fileURLToPath(new URL("../../../proto/", import.meta.url));

/** The published definitions in ingest/proto, where version and license stand. */
const load = (...files: readonly string[]): protobuf.Root => {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => `${PROTO_DIR}${target}`;
  root.loadSync([...files]);
  root.resolveAll();
  return root;
};

const root = load("opentelemetry/logs-service.proto", "opentelemetry/metrics-service.proto", "google/rpc/status.proto");

export const ExportLogsServiceRequest = root.lookupType(
  "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest",
);
export const ExportLogsServiceResponse = root.lookupType(
  "opentelemetry.proto.collector.logs.v1.ExportLogsServiceResponse",
);
export const ExportMetricsServiceRequest = root.lookupType(
  "opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest",
);
export const ExportMetricsServiceResponse = root.lookupType(
  "opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceResponse",
);
/** The body of an answer that is not 200 (https://opentelemetry.io/docs/specs/otlp/#failures). */
export const Status = root.lookupType("google.rpc.Status");
