import { UnixMs } from "@homeostat/schemas";
import { z } from "zod";

/** Half open: from ≤ time < to. */
export const RangeParams = z.strictObject({ from_unix_ms: UnixMs, to_unix_ms: UnixMs });

/** `service.name` → `nginx`; every one must be there and equal. */
export const LABELS_MAX = 20;
export const Labels = z
  .record(z.string().min(1).max(100), z.string().max(4096))
  .refine((labels) => Object.keys(labels).length <= LABELS_MAX, `at most ${LABELS_MAX} labels`);

export const labelsMap = (labels: Readonly<Record<string, string>>): Map<string, string> =>
  new Map(Object.entries(labels));

/** Which series: an empty string or map asks for nothing. */
export const SeriesParams = z.strictObject({
  metric_name: z.string().min(1).max(255),
  host_name: z.string().max(255).default(""),
  service_name: z.string().max(255).default(""),
  /** 16 hexadecimal digits. */
  fingerprint: z
    .string()
    .regex(/^([0-9a-f]{16})?$/, "want 16 hexadecimal digits")
    .default(""),
  labels: Labels.default({}),
});

/**
 * The series of SeriesParams that were told on the days around the range. A series is told at least every ten minutes, and the
 * newest telling of a day replaces the others: hence whole days, and one before.
 */
export const MATCHING_SERIES = `
  SELECT fingerprint, any(kind) AS kind, any(unit) AS unit, any(metric_series.attributes) AS attributes
  FROM metric_series
  WHERE metric_name = {metric_name:String}
    AND seen_at >= toStartOfDay(fromUnixTimestamp64Milli({from_unix_ms:Int64})) - INTERVAL 1 DAY
    AND seen_at < toStartOfDay(fromUnixTimestamp64Milli({to_unix_ms:Int64})) + INTERVAL 2 DAY
    AND if({host_name:String} = '', true, host_name = {host_name:String})
    AND if({service_name:String} = '', true, service_name = {service_name:String})
    AND if({fingerprint:String} = '', true, fingerprint = reinterpretAsUInt64(reverse(unhex({fingerprint:String}))))
    AND arrayAll((name, value) -> metric_series.attributes[name] = value, mapKeys({labels:Map(String, String)}), mapValues({labels:Map(String, String)}))
  GROUP BY fingerprint`;

export const METRIC_ID = "reinterpretAsUInt64(substring(SHA256({metric_name:String}), 1, 8))";
