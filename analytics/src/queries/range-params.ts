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

const matchingSeries = (metricName: string): string => `
  SELECT fingerprint, any(kind) AS kind, any(unit) AS unit, any(metric_series.attributes) AS attributes
  FROM metric_series
  WHERE metric_name = ${metricName}
    AND seen_at >= toStartOfDay(fromUnixTimestamp64Milli({from_unix_ms:Int64})) - INTERVAL 1 DAY
    AND seen_at < toStartOfDay(fromUnixTimestamp64Milli({to_unix_ms:Int64})) + INTERVAL 2 DAY
    AND if({host_name:String} = '', true, host_name = {host_name:String})
    AND if({service_name:String} = '', true, service_name = {service_name:String})
    AND if({fingerprint:String} = '', true, fingerprint = reinterpretAsUInt64(reverse(unhex({fingerprint:String}))))
    AND arrayAll((name, value) -> metric_series.attributes[name] = value, mapKeys({labels:Map(String, String)}), mapValues({labels:Map(String, String)}))
  GROUP BY fingerprint`;

/**
 * The series of SeriesParams that were told on the days around the range. A series is told at least every ten minutes, and the
 * newest telling of a day replaces the others: hence whole days, and one before.
 */
export const MATCHING_SERIES = matchingSeries("{metric_name:String}");

/** The same of another metric, whose name begins as the one that is asked for. */
export const matchingSeriesWith = (suffix: string): string => matchingSeries(`{metric_name:String} || '${suffix}'`);

const metricIdOf = (metricName: string): string => `reinterpretAsUInt64(substring(SHA256(${metricName}), 1, 8))`;

export const METRIC_ID = metricIdOf("{metric_name:String}");
export const metricIdWith = (suffix: string): string => metricIdOf(`{metric_name:String} || '${suffix}'`);

/** A range cut into steps, those of an answer bounded. */
const STEPS_MAX = 11_000;
export const StepMs = z.int().min(1000).max(86_400_000).default(60_000);

type Stepped = { readonly from_unix_ms: number; readonly to_unix_ms: number; readonly step_ms: number };

/** For a schema's superRefine. */
export const checkSteps = ({ from_unix_ms, to_unix_ms, step_ms }: Stepped, context: z.RefinementCtx): void => {
  const problem = (path: keyof Stepped, message: string) => context.addIssue({ code: "custom", path: [path], message });
  if (from_unix_ms >= to_unix_ms) problem("to_unix_ms", "want from < to");
  if ((to_unix_ms - from_unix_ms) / step_ms > STEPS_MAX) problem("step_ms", `want at most ${STEPS_MAX} steps`);
};

/** Names of labels; series that agree in them become one. Empty: every series for itself. */
export const GroupBy = z.array(z.string().min(1).max(100)).max(10).default([]);
