import { BatchError, type TelemetryRow } from "@homeostat/schemas";
import type { ResourceEntry, SeriesEntry } from "./identities.ts";
import type { HistogramPoint, LogRecord, Refusal } from "./intake.ts";

const NS_PER_MS = 1_000_000n;

/** A log record with the times that stand for those that its sender did not tell, in nanoseconds. */
export interface TimedRecord {
  readonly record: LogRecord;
  readonly time: bigint;
  readonly observed: bigint;
}

export const timed = (record: LogRecord, arrivedUnixMs: number): TimedRecord => {
  const observed = record.observedUnixNano === 0n ? BigInt(arrivedUnixMs) * NS_PER_MS : record.observedUnixNano;
  return { record, observed, time: record.timeUnixNano === 0n ? observed : record.timeUnixNano };
};

export const resourceRow = (
  { resource, resourceId }: ResourceEntry,
  seenAt: number,
): TelemetryRow<"log_resources"> => ({
  resource_id: resourceId,
  seen_at: seenAt,
  host_name: resource.host,
  service_name: resource.service,
  attributes: resource.attributes,
});

export const logRow = (
  { resource, resourceId }: ResourceEntry,
  { record, time, observed }: TimedRecord,
): TelemetryRow<"logs"> => ({
  timestamp: time,
  severity_number: record.severityNumber,
  service_name: resource.service,
  host_name: resource.host,
  trace_id: record.traceId,
  span_id: record.spanId,
  body: record.body,
  attributes: record.attributes,
  observed_timestamp: observed,
  severity_text: record.severityText,
  event_name: record.eventName,
  scope_name: record.scopeName,
  trace_flags: record.traceFlags,
  resource_id: resourceId,
});

export const seriesRow = (
  { identity, metricId, fingerprint }: SeriesEntry,
  seenAt: number,
): TelemetryRow<"metric_series"> => ({
  metric_id: metricId,
  fingerprint,
  seen_at: seenAt,
  metric_name: identity.name,
  kind: identity.kind,
  unit: identity.unit,
  host_name: identity.host,
  service_name: identity.service,
  attributes: identity.attributes,
});

export const sampleRow = (
  { metricId, fingerprint }: SeriesEntry,
  timestamp: number,
  value: number,
): TelemetryRow<"metric_samples"> => ({ metric_id: metricId, fingerprint, timestamp, value });

export const histogramRow = (
  { metricId, fingerprint }: SeriesEntry,
  { timestampUnixMs: timestamp, count, sum, min, max, bounds, counts }: HistogramPoint,
): TelemetryRow<"metric_histograms"> => ({
  metric_id: metricId,
  fingerprint,
  timestamp,
  count,
  sum,
  min,
  max,
  bounds,
  counts,
});

/** Why a point is none, whatever its time. */
export const pointRefusal = ({ count, bounds, counts }: HistogramPoint): Refusal | null => {
  if (bounds.length !== counts.length) return "bad_value";
  return Number.isNaN(count) || counts.some(Number.isNaN) ? "not_a_number" : null;
};

/** What a cumulative histogram was when it began to count. */
export const nothingCounted = ({ bounds }: HistogramPoint, startUnixMs: number): HistogramPoint => ({
  timestampUnixMs: startUnixMs,
  count: 0,
  sum: 0,
  min: Number.NaN,
  max: Number.NaN,
  bounds,
  counts: bounds.map(() => 0),
});

/** Of what a batch's columns do not take; anything else is a defect. */
export const refusalOfRow = (error: unknown): Refusal => {
  if (!(error instanceof BatchError)) throw error;
  return error.code === "too_long" ? "too_large" : "bad_value";
};
