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
  "Array(Float64)",
] as const;
export type ColumnType = (typeof COLUMN_TYPES)[number];

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  /** Younger than the first batches: where a batch ends before it, rows have the type's zero. Only columns of the same kind follow it. */
  readonly optional?: true;
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
  /** The record's own; the resource's are told in LOG_RESOURCES. */
  { name: "attributes", type: "Map(String, String)" },
  { name: "observed_timestamp", type: "DateTime64(9)", optional: true },
  { name: "severity_text", type: "String", optional: true },
  { name: "event_name", type: "String", optional: true },
  { name: "scope_name", type: "String", optional: true },
  { name: "trace_flags", type: "UInt8", optional: true },
  /** 0: none was told. */
  { name: "resource_id", type: "UInt64", optional: true },
] as const satisfies readonly Column[];

/** What a log record is about, told now and then (when new, and every ten minutes), always before its records. */
export const LOG_RESOURCES = [
  { name: "resource_id", type: "UInt64" },
  { name: "seen_at", type: "DateTime64(3)" },
  { name: "host_name", type: "String" },
  { name: "service_name", type: "String" },
  { name: "attributes", type: "Map(String, String)" },
] as const satisfies readonly Column[];

/** A series, told now and then (at start, when new, and every ten minutes), always before its samples. */
export const METRIC_SERIES = [
  { name: "metric_id", type: "UInt64" },
  { name: "fingerprint", type: "UInt64" },
  { name: "seen_at", type: "DateTime64(3)" },
  { name: "metric_name", type: "String" },
  /** One of SERIES_KINDS. */
  { name: "kind", type: "String" },
  /** UCUM, as OpenTelemetry has it: `By`, `s`, `1`. */
  { name: "unit", type: "String" },
  { name: "host_name", type: "String" },
  { name: "service_name", type: "String" },
  /** Every label of the series, host_name and service_name among them when set. */
  { name: "attributes", type: "Map(String, String)" },
] as const satisfies readonly Column[];

/**
 * `counter` is a monotonic cumulative sum, `delta` a sum since the point before. Of a `histogram` X (cumulative) or `delta_histogram` the points
 * stand in METRIC_HISTOGRAMS, and the series X_count and X_sum beside them.
 */
export const SERIES_KINDS = ["gauge", "counter", "delta", "histogram", "delta_histogram"] as const;
export type SeriesKind = (typeof SERIES_KINDS)[number];

/** NaN is a staleness marker: the series has no value from here on. */
export const METRIC_SAMPLES = [
  { name: "metric_id", type: "UInt64" },
  { name: "fingerprint", type: "UInt64" },
  { name: "timestamp", type: "DateTime64(3)" },
  { name: "value", type: "Float64" },
] as const satisfies readonly Column[];

export const METRIC_HISTOGRAMS = [
  { name: "metric_id", type: "UInt64" },
  { name: "fingerprint", type: "UInt64" },
  { name: "timestamp", type: "DateTime64(3)" },
  { name: "count", type: "Float64" },
  { name: "sum", type: "Float64" },
  /** NaN: unknown. */
  { name: "min", type: "Float64" },
  { name: "max", type: "Float64" },
  /**
   * Inclusive upper bounds, ascending; the last may be +Infinity. A bucket begins where the one before it ends; the first at 0 when its bound
   * is above 0, else at -Infinity (as Prometheus reads them). Buckets far apart have an empty one between them.
   */
  { name: "bounds", type: "Array(Float64)" },
  /** As many as bounds, each of its bucket alone. */
  { name: "counts", type: "Array(Float64)" },
] as const satisfies readonly Column[];

/** What a batch can hold: the name is the batch header's schema and the ClickHouse table. */
export const TELEMETRY = {
  logs: LOGS,
  log_resources: LOG_RESOURCES,
  metric_series: METRIC_SERIES,
  metric_samples: METRIC_SAMPLES,
  metric_histograms: METRIC_HISTOGRAMS,
} as const;
export type TelemetrySchema = keyof typeof TELEMETRY;

export type TelemetryTopic = "telemetry.logs" | "telemetry.metrics";

/** In the order of insertion: what rows refer to is told before them. */
export const SCHEMAS_OF_TOPIC: Readonly<Record<TelemetryTopic, readonly TelemetrySchema[]>> = {
  "telemetry.logs": ["log_resources", "logs"],
  "telemetry.metrics": ["metric_series", "metric_samples", "metric_histograms"],
};

export const TOPIC_OF: Readonly<Record<TelemetrySchema, TelemetryTopic>> = {
  log_resources: "telemetry.logs",
  logs: "telemetry.logs",
  metric_series: "telemetry.metrics",
  metric_samples: "telemetry.metrics",
  metric_histograms: "telemetry.metrics",
};

/** A batch has at most this many rows; the column that its header's time range speaks of comes by name. */
export const BATCH_ROWS_MAX = 10_000;
export const TIME_COLUMN = {
  logs: "timestamp",
  log_resources: "seen_at",
  metric_series: "seen_at",
  metric_samples: "timestamp",
  metric_histograms: "timestamp",
} as const;
