/**
 * The columns of telemetry, once: the batch codec writes them, ingest inserts them by name, the detectors read them,
 * and a test holds the migrations to them. Types are ClickHouse's, as they stand in a Native block
 * (a table may store `String` as `LowCardinality(String)`: the engine casts).
 */
export const COLUMN_TYPES = [
  "UInt8",
  "UInt64",
  "Float64",
  "DateTime64(3)",
  "DateTime64(9)",
  "String",
  "Map(String, String)",
] as const;
export type ColumnType = (typeof COLUMN_TYPES)[number];

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
}

/** Log records in OpenTelemetry's data model (https://opentelemetry.io/docs/specs/otel/logs/data-model/). */
export const LOGS = [
  { name: "timestamp", type: "DateTime64(9)" },
  { name: "severity_number", type: "UInt8" },
  { name: "service_name", type: "String" },
  { name: "host_name", type: "String" },
  { name: "trace_id", type: "String" },
  { name: "span_id", type: "String" },
  { name: "body", type: "String" },
  { name: "attributes", type: "Map(String, String)" },
] as const satisfies readonly Column[];

/** A series, told now and then (at start, when new, and every ten minutes), always before its samples. */
export const METRIC_SERIES = [
  { name: "metric_id", type: "UInt64" },
  { name: "fingerprint", type: "UInt64" },
  { name: "seen_at", type: "DateTime64(3)" },
  { name: "metric_name", type: "String" },
  /** `gauge` or `counter` (monotonic cumulative sum). */
  { name: "kind", type: "String" },
  /** UCUM, as OpenTelemetry has it: `By`, `s`, `1`. */
  { name: "unit", type: "String" },
  { name: "host_name", type: "String" },
  { name: "service_name", type: "String" },
  /** Every label of the series, host_name and service_name among them when set. */
  { name: "attributes", type: "Map(String, String)" },
] as const satisfies readonly Column[];

export const METRIC_SAMPLES = [
  { name: "metric_id", type: "UInt64" },
  { name: "fingerprint", type: "UInt64" },
  { name: "timestamp", type: "DateTime64(3)" },
  { name: "value", type: "Float64" },
] as const satisfies readonly Column[];

/** What a batch can hold: the name is the batch header's schema and the ClickHouse table. */
export const TELEMETRY = { logs: LOGS, metric_series: METRIC_SERIES, metric_samples: METRIC_SAMPLES } as const;
export type TelemetrySchema = keyof typeof TELEMETRY;

/** A batch has at most this many rows; the column that its header's time range speaks of comes by name. */
export const BATCH_ROWS_MAX = 10_000;
export const TIME_COLUMN = { logs: "timestamp", metric_series: "seen_at", metric_samples: "timestamp" } as const;
