import { Finding, Severity } from "@homeostat/schemas";
import { median } from "simple-statistics";
import { z } from "zod";
import { growColumns } from "../columns.ts";
import type { Detector, History, Readiness } from "../detector.ts";
import { announce, clip, FRESH_MS, findingId, isDue, resolve } from "../episode.ts";
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
import { gatherSteps, STEP_LAYOUT, stepMean, tellUnheard } from "../step-means.ts";
import { type SubjectState, subjectState } from "../subject-state.ts";
import type { MetricWindow } from "../window.ts";
import {
  type BandLevel,
  type BandOptions,
  bandFor,
  coverageHours,
  HOUR_MS,
  HOURS,
  levelOffset,
  NO_SHIFT,
  placeOf,
  type Shift,
  settleShift,
  summariseHour,
  VISIT_WIDTH,
  VISITS,
  type Visits,
  visitsBefore,
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
  /** Out of the band for so long, the new level is the normal one: the band moves there, and back when the series goes back within a week. */
  shift_after_s: Seconds.default(10_800),
  severity: Severity.default("info"),
  category: Finding.shape.category.default("symptom"),
  /** A baseline takes 17 kB a series; series of a partition beyond this many are not watched by the rule, and a finding says so. */
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

/** For so long a level that was left may come back, as after a holiday; then what lay between was the exception. */
const RETURN_HOURS = HOURS;

/** `band` says which likeness the band of the hour rests on. */
const LEVELS: readonly (BandLevel | null)[] = [null, "global", "hour_of_day", "hour_of_week"];

const LAYOUT = {
  ...STEP_LAYOUT,
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
  /** The hour of the last shift of level and how far it went, while the old level may come back; and the old level's band. */
  shiftHour: { fill: Number.NaN },
  offset: { fill: 0 },
  oldLow: { fill: Number.NaN },
  oldHigh: { fill: Number.NaN },
  /** Since when the series is back at its old level. */
  back: { fill: Number.NaN },
  /** 1 once the store has been asked for the series' history. */
  recalled: { fill: 0 },
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

const visitsOf = ({ columns: { at } }: BaselineState, slot: number): Visits => ({
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
    const place = placeOf(hour);
    hours[place] = hour;
    quantiles.set(summariseHour(at.hourMeans.subarray(slot * MINUTES, slot * MINUTES + minutes)), place * VISIT_WIDTH);
  }
  at.hourMinutes[slot] = 0;
};

const shiftOf = ({ columns: { at } }: BaselineState, slot: number): Shift => {
  const sinceHour = at.shiftHour[slot] as number;
  return Number.isNaN(sinceHour) ? NO_SHIFT : { sinceHour, offset: at.offset[slot] as number };
};

/** A shift that has lasted is no longer told apart from what was before it. */
const settle = (state: BaselineState, slot: number): void => {
  const { at } = state.columns;
  settleShift(visitsOf(state, slot), shiftOf(state, slot));
  at.shiftHour[slot] = Number.NaN;
  at.back[slot] = Number.NaN;
};

const openHour = (state: BaselineState, slot: number, hour: number, config: BaselineConfig): void => {
  const { at } = state.columns;
  if (hour - (at.shiftHour[slot] as number) > RETURN_HOURS) settle(state, slot);
  const visits = visitsOf(state, slot);
  const shift = shiftOf(state, slot);
  const band = bandFor(visits, hour, bandOptions(config), shift);
  const old = shift === NO_SHIFT ? null : bandFor(visitsBefore(visits, shift.sinceHour), hour, bandOptions(config));
  at.hour[slot] = hour;
  at.band[slot] = LEVELS.indexOf(band?.level ?? null);
  at.low[slot] = band?.low ?? Number.NaN;
  at.center[slot] = band?.center ?? Number.NaN;
  at.high[slot] = band?.high ?? Number.NaN;
  at.oldLow[slot] = old?.low ?? Number.NaN;
  at.oldHigh[slot] = old?.high ?? Number.NaN;
};

const isOutside = (mean: number, low: number, high: number, { direction }: BaselineConfig): boolean =>
  (direction !== "below" && mean > high) || (direction !== "above" && mean < low);

/** Forgets all that was before, and is warming up again. */
const startAnew = (state: BaselineState, slot: number): void => {
  const { at } = state.columns;
  visitsOf(state, slot).hours.fill(Number.NaN);
  at.shiftHour[slot] = Number.NaN;
  at.band[slot] = 0;
};

/** The new level is the normal one; the shape of the week stays what it was. */
const adoptLevel = (state: BaselineState, slot: number, config: BaselineConfig): void => {
  const { at } = state.columns;
  const hour = at.hour[slot] as number;
  const started = at.started[slot] as number;
  const sinceHour = Number.isNaN(at.shiftHour[slot]) ? Math.floor(started / HOUR_MS) : (at.shiftHour[slot] as number);
  const gathered = at.hourMinutes[slot] as number;
  // The hour's newest minutes: those before the shift tell of the old level.
  const since = Math.min(gathered, (at.judged[slot] as number) - Math.floor(started / MINUTE_MS) + 1);
  const end = slot * MINUTES + gathered;
  const newest = median([...at.hourMeans.subarray(end - since, end)]);
  const visits = visitsOf(state, slot);
  const offset = levelOffset(visits, { sinceHour, hour, median: newest }, bandOptions(config));
  if (offset === null) startAnew(state, slot);
  else {
    // The hour in which the level moved is of neither.
    if (visits.hours[placeOf(sinceHour)] === sinceHour) visits.hours[placeOf(sinceHour)] = Number.NaN;
    at.shiftHour[slot] = sinceHour;
    at.offset[slot] = offset;
    openHour(state, slot, hour, config);
  }
  for (const name of ["pending", "started", "clear", "back"] as const) at[name][slot] = Number.NaN;
};

/** Whether the series has been back at the level that it left for long enough to say that what lay between was the exception. */
const hasReturned = (state: BaselineState, slot: number, startUnixMs: number, config: BaselineConfig): boolean => {
  const { at } = state.columns;
  const mean = at.mean[slot] as number;
  const isHere = mean >= (at.low[slot] as number) && mean <= (at.high[slot] as number);
  const isBack = !isHere && mean >= (at.oldLow[slot] as number) && mean <= (at.oldHigh[slot] as number);
  if (!isBack) {
    at.back[slot] = Number.NaN;
    return false;
  }
  if (Number.isNaN(at.back[slot])) at.back[slot] = startUnixMs;
  return startUnixMs + MINUTE_MS - (at.back[slot] as number) >= config.for_s * 1000;
};

const returnToLevel = (state: BaselineState, slot: number, config: BaselineConfig): void => {
  const { at } = state.columns;
  at.shiftHour[slot] = Number.NaN;
  for (const name of ["pending", "started", "clear", "back"] as const) at[name][slot] = Number.NaN;
  openHour(state, slot, at.hour[slot] as number, config);
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
    labels: {
      ...findingLabels(series),
      baseline_level: level,
      baseline_coverage_hours: String(coverageHours(visitsOf(state, slot), at.hour[slot] as number)),
    },
    evidence: [metricEvidence(series, { startedUnixMs, toUnixMs, summary: titleFor(config.title, series) })],
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
  if (!Number.isNaN(at.shiftHour[slot]) && hasReturned(state, slot, startUnixMs, config)) {
    returnToLevel(state, slot, config);
    return endEpisode(state, slot, series, "is back at the level that it had before");
  }
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
    adoptLevel(state, slot, config);
    return endEpisode(state, slot, series, "has a new level, which is the normal one from now on");
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
  const minute = at.step[slot] as number;
  const hour = Math.floor(minute / MINUTES);
  if (hour !== at.hour[slot]) {
    closeHour(state, slot);
    openHour(state, slot, hour, config);
  }
  if (!(minute - (at.judged[slot] as number) <= GAP_MINUTES_MAX)) {
    for (const name of ["pending", "clear", "back"] as const) at[name][slot] = Number.NaN;
  }
  const mean = stepMean(at, slot);
  at.mean[slot] = mean;
  at.judged[slot] = minute;
  const gathered = at.hourMinutes[slot] as number;
  at.hourMeans[slot * MINUTES + gathered] = mean;
  at.hourMinutes[slot] = gathered + 1;
  return judge(state, slot, window, config);
};

/** Takes up what the store remembers; what the stream itself has taught stays. */
const recall = (state: BaselineState, slot: number, history: History | null, config: BaselineConfig): void => {
  growColumns(state.columns, LAYOUT, slot + 1);
  const { at } = state.columns;
  at.recalled[slot] = 1;
  if (history === null || !Number.isNaN(at.shiftHour[slot])) return;
  const { hours, quantiles } = visitsOf(state, slot);
  history.hours.forEach((hour, index) => {
    const place = placeOf(hour);
    if ((hours[place] as number) >= hour || hour >= (at.hour[slot] as number)) return;
    hours[place] = hour;
    quantiles.set(history.quantiles.subarray(index * VISIT_WIDTH, (index + 1) * VISIT_WIDTH), place * VISIT_WIDTH);
  });
  if (Number.isFinite(at.hour[slot])) openHour(state, slot, at.hour[slot] as number, config);
};

const lacking = ({ columns }: BaselineState, slots: number): readonly number[] => {
  const found: number[] = [];
  for (let slot = 0; slot < slots; slot++)
    if (slot >= columns.slots || columns.at.recalled[slot] === 0) found.push(slot);
  return found;
};

const readiness = ({ columns: { slots, at } }: BaselineState, nowUnixMs: number): Readiness => {
  const counts = { ready: 0, warming_up: 0, stale: 0 };
  for (let slot = 0; slot < slots; slot++) {
    const isStale = !(nowUnixMs - (at.last[slot] as number) <= STALE_MS);
    counts[at.band[slot] === 0 ? "warming_up" : isStale ? "stale" : "ready"]++;
  }
  return counts;
};

/**
 * A seasonal band for each series, robust against single bad hours, and findings when minute means leave it for long.
 * Every minute trains it: while a fault is short the quantiles do not mind, and when it stays it is the new normal, at once and with the
 * week's shape as it was; when the old level comes back within a week (a holiday), it is known.
 */
export const baseline: Detector<BaselineConfig, BaselineState, MetricWindow> = {
  name: "baseline",
  version: 3,
  config: BaselineConfig,
  ...subjectState(LAYOUT),
  readiness,
  memory: { lacking, recall },

  step(state, window, config) {
    growColumns(state.columns, LAYOUT, window.series.length);
    const findings: Finding[] = [];
    const { at, slots: slotsMax } = state.columns;
    gatherSteps(at, window, { stepMs: MINUTE_MS, slotsMax }, (slot) => {
      findings.push(...closeMinute(state, slot, window, config));
    });
    if (window.isTick) findings.push(...tellUnheard({ at, episodes: state.episodes }, window, MINUTE_MS));
    return { state, findings };
  },
};
