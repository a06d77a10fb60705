import { Finding, Severity } from "@homeostat/schemas";
import { z } from "zod";
import type { HourlyAlarm, HourlyDetector, HourlySeries, HourlyVerdict } from "../hourly.ts";
import { Selector, type Series, titleFor, unitOf, valueText } from "../series.ts";
import type { Crossing } from "./crossing.ts";
import { type Forecast, forecast, type ReadyForecast, ROWS_MAX } from "./forecast.ts";

/**
 * The level that maximises F1 is half of the F1 that it gives (Lipton, Elkan & Narayanaswamy 2014), here about a third; F1 is flat from
 * 0.3 to 0.45, and of equals the level with fewer false warnings is the better.
 */
export const CROSSING_PROBABILITY_WARN = 0.4;

/** Half of the rows must be left to learn from, and some to check on. */
const HORIZON_HOURS_MAX = 336;

export const CapacityConfig = z
  .strictObject({
    detector: z.literal("capacity"),
    name: z.string().min(1).max(128),
    /** Begins the summary; `{label}` stands for a label's value. */
    title: z.string().min(1).max(200),
    ...Selector,
    /** In the metric's unit (of a counter: per second). Reached when an hour's mean is at or above it. */
    limit: z.number(),
    /** How far ahead it looks. */
    horizon_h: z.int().min(6).max(HORIZON_HOURS_MAX).default(168),
    /** Candidates; those that a series does not show are not used. */
    seasons_h: z.array(z.int().min(2).max(336)).max(4).default([24, 168]),
    /** Warns when the limit is reached within the horizon with at least this probability. */
    warn_probability: z.number().min(0).max(1).default(CROSSING_PROBABILITY_WARN),
    /** Takes the warning back below this probability: hysteresis. */
    clear_probability: z.number().min(0).max(1).default(0.2),
    /** Critical when the limit is more likely than not reached within so many hours. */
    critical_within_h: z.int().min(0).max(HORIZON_HOURS_MAX).default(24),
    series_max: z.int().min(1).max(1_000_000).default(5000),
    severity: Severity.default("warning"),
    category: Finding.shape.category.default("capacity"),
  })
  .superRefine((rule, context) => {
    if (rule.clear_probability > rule.warn_probability)
      context.addIssue({
        code: "custom",
        path: ["clear_probability"],
        message: `${rule.clear_probability} is itself a warning of ${rule.warn_probability}`,
      });
  });
export type CapacityConfig = z.infer<typeof CapacityConfig>;

/** A series that has been silent for longer is a matter of other rules. */
const SILENT_HOURS_MAX = 6;

/** More likely than not. */
const LIKELY = 0.5;

const isUtilization = ({ metric, unit }: Series): boolean => unit === "1" && metric.endsWith("utilization");

/** By the hour; step 0 is the hour after the row's last. */
export const forecastCapacity = ({ series, values }: HourlySeries, config: CapacityConfig): Forecast =>
  forecast(values, {
    seasons: config.seasons_h,
    horizon: config.horizon_h,
    limit: config.limit,
    ...(isUtilization(series) && { bounds: { low: 0, high: 1 } }),
  });

const lastFinite = (values: Float64Array): number => values.findLastIndex(Number.isFinite);

const daysText = (hours: number): string => (hours < 48 ? `${hours} h` : `${Number((hours / 24).toFixed(1))} days`);

const sentence = (
  { series }: HourlySeries,
  level: number,
  { probability, step, stepLow, stepHigh }: Crossing,
  config: CapacityConfig,
): string => {
  const subject = `${titleFor(config.title, series)} on ${series.host}: ${series.metric} is ${valueText(level, series)}`;
  const limit = valueText(config.limit, series);
  if (level >= config.limit) return `${subject}, its limit is ${limit}.`;
  const percent = Math.round(probability * 100);
  const when = `in ${daysText((step ?? 0) + 1)} (${daysText((stepLow ?? 0) + 1)} to ${daysText((stepHigh ?? 0) + 1)})`;
  return `${subject} and reaches its limit of ${limit} ${when}, with a probability of ${percent} % within ${daysText(config.horizon_h)}.`;
};

const labelsOf = (
  { probability, step, stepLow, stepHigh }: Crossing,
  { backtest }: ReadyForecast,
): Record<string, string> => {
  const days = (steps: number | null): string => (steps === null ? "" : String(Number(((steps + 1) / 24).toFixed(2))));
  return {
    crossing_probability: probability.toFixed(2),
    days_to_limit: days(step),
    days_to_limit_low: days(stepLow),
    days_to_limit_high: days(stepHigh),
    backtest_smape: backtest.smape.toFixed(2),
    backtest_mase: backtest.mase?.toFixed(2) ?? "",
  };
};

const alarmOf = (row: HourlySeries, ready: ReadyForecast, crossing: Crossing, config: CapacityConfig): HourlyAlarm => {
  const level = row.values[lastFinite(row.values)] as number;
  const isOver = level >= config.limit;
  const isSoon = crossing.probability >= LIKELY && crossing.step !== null && crossing.step < config.critical_within_h;
  return {
    severity: isOver || isSoon ? "critical" : config.severity,
    category: config.category,
    value: level,
    unit: unitOf(row.series),
    expected: { low: null, high: config.limit },
    summary: sentence(row, level, crossing, config),
    labels: labelsOf(crossing, ready),
  };
};

/**
 * Warns when a series is likely to reach its limit. Takes up to 720 hourly means of a series, oldest first, NaN for an hour without
 * one; `unknown` is too little data, or a probability between the two levels.
 */
export const capacity: HourlyDetector<CapacityConfig> = {
  name: "capacity",
  config: CapacityConfig,
  hours: () => ROWS_MAX,
  judge: (row, config): HourlyVerdict => {
    if (row.values.length - 1 - lastFinite(row.values) > SILENT_HOURS_MAX) return "unknown";
    const told = forecastCapacity(row, config);
    if (told.state === "insufficient_data" || told.crossing === null) return "unknown";
    const { probability } = told.crossing;
    const isOver = (row.values[lastFinite(row.values)] as number) >= config.limit;
    if (isOver || probability >= config.warn_probability) return alarmOf(row, told, told.crossing, config);
    return probability < config.clear_probability ? "fine" : "unknown";
  },
};
