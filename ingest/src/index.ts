export type { ReportFinding } from "./health-finding.ts";
export {
  createIngest,
  type Ingest,
  type IngestOptions,
  type IngestStatus,
  PROJECTION_GROUP,
  TELEMETRY_GROUP,
} from "./ingest.ts";
export { IngestConfig } from "./ingest-config.ts";
export type { IngestCounts } from "./ingest-counts.ts";
export type { InsertPort, JsonInsert, NativeInsert, RecordTable } from "./insert-port.ts";
