import { Finding, Severity } from "@homeostat/schemas";
import { z } from "zod";
import { growColumns } from "../columns.ts";
import type { Detector } from "../detector.ts";
import { announce, clip, FRESH_MS, findingId, isDue, NO_DATA_MS, resolve, tellNoData } from "../episode.ts";
import {
  entityOf,
  findingLabels,
  metricEvidence,
  Selector,
  type Series,
  titleFor,
  unitOf,
  valueText,
} from "../series.ts";
import { type SubjectState, subjectState } from "../subject-state.ts";
import type { MetricWindow } from "../window.ts";
import {
  type BandLevel,
  type BandOptions,
  bandFor,
  coverageHours,
  HOUR_MS,
  HOURS,
  summariseHour,
  VISIT_WIDTH,
  VISITS,
} from "./seasonal-band.ts";

const Seconds = z.number().min(60).max(604_800);

export const BaselineConfig = z.strictObject({
  detector: z.literal("baseline"),
  name: z.string().min(1).max(128),
  title: z.string().min(1).max(200),
  ...Selector,
  direction: z.enum(["above", "below", "both"]).default("above"),
  margin: z.number().min(1).max(100).default(3),
  /** In the metric's unit (of a counter: per second), and as a share of the usual value. */
  floor_absolute: z.number().min(0).default(0),
  floor_relative: z.number().min(0).max(10).default(0.05),
  warm_up_hours: z.int().min(1).max(168).default(24),
  for_s: Seconds.default(300),
  clear_for_s: Seconds.default(300),
  /** Out of the band for so long, the new level is the normal one: the baseline starts anew. */
  shift_after_s: Seconds.default(10_800),
  severity: Severity.default("info"),
  category: Finding.shape.category.default("symptom"),
  /** A baseline takes 17 kB a series; series beyond this many are not watched by the rule. */
  series_max: z.int().min(1).max(100_000).default(1000),
});
export type BaselineConfig = z.infer<typeof BaselineConfig>;

const MINUTE_MS = 60_000;
const MINUTES = HOUR_MS / MINUTE_MS;

/** An hour with fewer minutes of data is no visit. */
const VISIT_MINUTES_MIN = 30;

/** More missing minutes than this break a run of deviating or of normal ones. */
const GAP_MINUTES_MAX = 5;

/** No samples for so long, and the answer is `stale`. */
const STALE_MS = HOUR_MS;

/** `band` says which likeness the band of the hour rests on. */
const LEVELS: readonly (BandLevel | null)[] = [null, "global", "hour_of_day", "hour_of_week"];

const LAYOUT = {
  last: { fill: Number.NEGATIVE_INFINITY },
  arrived: { fill: 0 },
  counted: { fill: Number.NaN },
  /** The minute since 1970 that is being gathered. */
  minute: { fill: Number.NaN },
  sum: { fill: 0 },
  count: { fill: 0 },
  /** The last whole minute, and its mean. */
  judged: { fill: Number.NaN },
  mean: { fill: Number.NaN },
  hour: { fill: Number.NaN },
  hourMinutes: { fill: 0 },
  hourMeans: { fill: Number.NaN, width: MINUTES },
  band: { fill: 0 },
  low: { fill: Number.NaN },
  center: { fill: Number.NaN },
  high: { fill: Number.NaN },
  pending: { fill: Number.NaN },
  started: { fill: Number.NaN },
  clear: { fill: Number.NaN },
  visitHours: { fill: Number.NaN, width: HOURS * VISITS },
  visitQuantiles: { fill: Number.NaN, width: HOURS * VISITS * VISIT_WIDTH },
} as const;

export type BaselineState = SubjectState<typeof LAYOUT>;

export interface BaselineAnswer {
  readonly state: "warming_up" | "ready" | "stale";
  readonly level: BandLevel | null;
  /** Of the last week's 168 hours, how many have been seen. */
  readonly coverageHours: number;
  readonly low: number | null;
  readonly center: number | null;
  readonly high: number | null;
}

const visitsOf = ({ columns: { at } }: BaselineState, slot: number) => ({
  hours: at.visitHours.subarray(slot * HOURS * VISITS, (slot + 1) * HOURS * VISITS),
  quantiles: at.visitQuantiles.subarray(slot * HOURS * VISITS * VISIT_WIDTH, (slot + 1) * HOURS * VISITS * VISIT_WIDTH),
});

/** What the baseline of a series knows at a moment. */
export const baselineOf = (state: BaselineState, slot: number, nowUnixMs: number): BaselineAnswer => {
  const { at } = state.columns;
  const level = LEVELS[at.band[slot] ?? 0] ?? null;
  const isStale = !(nowUnixMs - (at.last[slot] ?? Number.NaN) <= STALE_MS);
  return {
    state: level === null ? "warming_up" : isStale ? "stale" : "ready",
    level,
    coverageHours: coverageHours(visitsOf(state, slot), Math.floor(nowUnixMs / HOUR_MS)),
    low: level === null ? null : (at.low[slot] as number),
    center: level === null ? null : (at.center[slot] as number),
    high: level === null ? null : (at.high[slot] as number),
  };
};

const bandOptions = (config: BaselineConfig): BandOptions => ({
  warmUpHours: config.warm_up_hours,
  margin: config.margin,
  floor: { absolute: config.floor_absolute, relative: config.floor_relative },
});

const closeHour = (state: BaselineState, slot: number): void => {
  const { at } = state.columns;
  const minutes = at.hourMinutes[slot] as number;
  if (minutes >= VISIT_MINUTES_MIN) {
    const hour = at.hour[slot] as number;
    const { hours, quantiles } = visitsOf(state, slot);
    const place = (hour % HOURS) * VISITS + (Math.floor(hour / HOURS) % VISITS);
    hours[place] = hour;
    quantiles.set(summariseHour(at.hourMeans.subarray(slot * MINUTES, slot * MINUTES + minutes)), place * VISIT_WIDTH);
  }
  at.hourMinutes[slot] = 0;
};

const openHour = (state: BaselineState, slot: number, hour: number, config: BaselineConfig): void => {
  const { at } = state.columns;
  const band = bandFor(visitsOf(state, slot), hour, bandOptions(config));
  at.hour[slot] = hour;
  at.band[slot] = LEVELS.indexOf(band?.level ?? null);
  at.low[slot] = band?.low ?? Number.NaN;
  at.center[slot] = band?.center ?? Number.NaN;
  at.high[slot] = band?.high ?? Number.NaN;
};

const isOutside = (mean: number, low: number, high: number, { direction }: BaselineConfig): boolean =>
  (direction !== "below" && mean > high) || (direction !== "above" && mean < low);

/** Forgets all that was before, and is warming up again. */
const startAnew = (state: BaselineState, slot: number): void => {
  const { at } = state.columns;
  visitsOf(state, slot).hours.fill(Number.NaN);
  for (const name of ["low", "center", "high", "pending", "started", "clear"] as const) at[name][slot] = Number.NaN;
  at.band[slot] = 0;
};

const findingOf = (
  state: BaselineState,
  slot: number,
  { series, nowUnixMs }: { readonly series: Series; readonly nowUnixMs: number },
  config: BaselineConfig,
): Finding => {
  const { at } = state.columns;
  const [low, high, mean] = [at.low[slot] as number, at.high[slot] as number, at.mean[slot] as number];
  const startedUnixMs = at.started[slot] as number;
  const toUnixMs = ((at.judged[slot] as number) + 1) * MINUTE_MS;
  const entity = entityOf(series);
  const level = LEVELS[at.band[slot] as number] ?? "global";
  const minutes = Math.round((toUnixMs - startedUnixMs) / MINUTE_MS);
  const summary = clip(
    `${titleFor(config.title, series)} on ${series.host}: ${series.metric} is ${valueText(mean, series)} for ${minutes} min, ` +
      `usually ${valueText(low, series)} to ${valueText(high, series)} (${level.replaceAll("_", " ")}).`,
    1000,
  );
  return {
    finding_id: findingId({ rule: config.name, entity, subject: series.fingerprint, startedUnixMs }),
    detector: "baseline",
    rule: config.name,
    state: "firing",
    severity: config.severity,
    category: config.category,
    entity,
    started_at_unix_ms: startedUnixMs,
    detected_at_unix_ms: nowUnixMs,
    value: mean,
    unit: unitOf(series),
    expected: { low, high },
    summary,
    labels: { ...findingLabels(series), baseline_level: level },
    evidence: [metricEvidence(series, { startedUnixMs, toUnixMs, summary: config.title })],
  };
};

const endEpisode = (state: BaselineState, slot: number, series: Series, what: string): readonly Finding[] => {
  const value = state.columns.at.mean[slot] as number;
  const summary = `${series.metric} on ${series.host} ${what}: ${valueText(value, series)}.`;
  return resolve(state.episodes, slot, { summary, value });
};

/** Judges a whole minute. */
const judge = (
  state: BaselineState,
  slot: number,
  window: MetricWindow,
  config: BaselineConfig,
): readonly Finding[] => {
  const { at } = state.columns;
  const series = window.series[slot] as Series;
  const { nowUnixMs } = window;
  const startUnixMs = (at.judged[slot] as number) * MINUTE_MS;
  const endUnixMs = startUnixMs + MINUTE_MS;
  if (at.band[slot] === 0) return [];
  const isOut = isOutside(at.mean[slot] as number, at.low[slot] as number, at.high[slot] as number, config);
  const [since, other] = isOut ? (["pending", "clear"] as const) : (["clear", "pending"] as const);
  at[other][slot] = Number.NaN;
  if (Number.isNaN(at[since][slot])) at[since][slot] = startUnixMs;
  const forMs = endUnixMs - (at[since][slot] as number);
  if (Number.isNaN(at.started[slot])) {
    if (!isOut || forMs < config.for_s * 1000) return [];
    at.started[slot] = at.pending[slot] as number;
  }
  if (!isOut) {
    if (forMs < config.clear_for_s * 1000) return [];
    at.started[slot] = Number.NaN;
    return endEpisode(state, slot, series, "is back in its band");
  }
  if (endUnixMs - (at.started[slot] as number) >= config.shift_after_s * 1000) {
    startAnew(state, slot);
    return endEpisode(state, slot, series, "has a new level, from which the baseline starts anew");
  }
  const isFresh = endUnixMs >= nowUnixMs - FRESH_MS;
  if (!isFresh || !isDue(state.episodes, slot, { severity: config.severity, nowUnixMs })) return [];
  return [announce(state.episodes, slot, findingOf(state, slot, { series, nowUnixMs }, config), nowUnixMs)];
};

/** Puts the gathered minute on the record, then judges it against the band that older hours gave. */
const closeMinute = (
  state: BaselineState,
  slot: number,
  window: MetricWindow,
  config: BaselineConfig,
): readonly Finding[] => {
  const { at } = state.columns;
  const minute = at.minute[slot] as number;
  const hour = Math.floor(minute / MINUTES);
  if (hour !== at.hour[slot]) {
    closeHour(state, slot);
    openHour(state, slot, hour, config);
  }
  if (!(minute - (at.judged[slot] as number) <= GAP_MINUTES_MAX)) {
    at.pending[slot] = Number.NaN;
    at.clear[slot] = Number.NaN;
  }
  const mean = (at.sum[slot] as number) / (at.count[slot] as number);
  at.mean[slot] = mean;
  at.judged[slot] = minute;
  const gathered = at.hourMinutes[slot] as number;
  at.hourMeans[slot * MINUTES + gathered] = mean;
  at.hourMinutes[slot] = gathered + 1;
  return judge(state, slot, window, config);
};

/**
 * A seasonal band for each series, robust against single bad hours, and findings when minute means leave it for long.
 * Every minute trains it: while a fault is short the quantiles do not mind, and when it stays it is the new normal.
 */
export const baseline: Detector<BaselineConfig, BaselineState, MetricWindow> = {
  name: "baseline",
  version: 1,
  config: BaselineConfig,
  ...subjectState(LAYOUT),

  step(state, window, config) {
    growColumns(state.columns, LAYOUT, Math.min(window.series.length, config.series_max));
    const findings: Finding[] = [];
    const { at, slots: slotCount } = state.columns;
    const { slots, times, values, count, nowUnixMs } = window;
    for (let row = 0; row < count; row++) {
      const slot = slots[row] as number;
      const time = times[row] as number;
      let value = values[row] as number;
      if (slot >= slotCount || !Number.isFinite(value)) continue;
      const elapsedMs = time - (at.last[slot] as number);
      if (!(elapsedMs > 0)) continue;
      at.last[slot] = time;
      at.arrived[slot] = nowUnixMs;
      if ((window.series[slot] as Series).isCounter) {
        const before = at.counted[slot] as number;
        at.counted[slot] = value;
        value = ((value - before) * 1000) / elapsedMs;
        if (!(value >= 0)) continue;
      }
      const minute = Math.floor(time / MINUTE_MS);
      if (minute !== at.minute[slot]) {
        if ((at.count[slot] as number) > 0) findings.push(...closeMinute(state, slot, window, config));
        at.minute[slot] = minute;
        at.sum[slot] = 0;
        at.count[slot] = 0;
      }
      at.sum[slot] = (at.sum[slot] as number) + value;
      at.count[slot] = (at.count[slot] as number) + 1;
    }
    if (window.isTick) {
      for (const slot of state.episodes.keys()) {
        const heardAt = Math.max(at.arrived[slot] as number, window.observingSinceUnixMs);
        if (nowUnixMs - heardAt >= NO_DATA_MS + MINUTE_MS)
          findings.push(...tellNoData(state.episodes, slot, nowUnixMs));
      }
    }
    return { state, findings };
  },
};
