import { Finding, Severity } from "@homeostat/schemas";
import { z } from "zod";
import { growColumns } from "../columns.ts";
import type { Detector } from "../detector.ts";
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
import { stepSeriesAnomaly } from "./ensemble.ts";
import { ALERT_SURPRISE } from "./news.ts";
import { memberName, reasonOf } from "./reason.ts";
import {
  growSeriesAnomaly,
  loadSeriesAnomaly,
  pickSeriesAnomaly,
  type SeriesAnomalies,
  saveSeriesAnomaly,
  startSeriesAnomaly,
  VARIABILITY,
} from "./state.ts";

export const SeriesAnomalyConfig = z.strictObject({
  detector: z.literal("series_anomaly"),
  name: z.string().min(1).max(128),
  title: z.string().min(1).max(200),
  ...Selector,
  direction: z.enum(["above", "below", "both"]).default("both"),
  /** A series is judged by means over so many seconds. */
  step_s: z.int().min(10).max(3600).default(60),
  /** A tenth of −log10 of how rare a moment must be: 0.4 is one in ten thousand. */
  score_min: z
    .number()
    .min(ALERT_SURPRISE / 10)
    .max(1)
    .default(0.4),
  /** In the metric's unit (of a counter: per second): values nearer to what was expected are not told. */
  floor_absolute: z.number().min(0).default(0),
  warm_up_hours: z.int().min(1).max(168).default(24),
  severity: Severity.default("info"),
  category: Finding.shape.category.default("symptom"),
  /** A series takes 6 kB; series beyond this many are not watched by the rule. */
  series_max: z.int().min(1).max(100_000).default(2000),
});
export type SeriesAnomalyConfig = z.infer<typeof SeriesAnomalyConfig>;

const HOUR_MS = 3_600_000;

const LAYOUT = {
  ...STEP_LAYOUT,
  /** When the first step began. */
  first: { fill: Number.NaN },
  /** When what fires began. */
  started: { fill: Number.NaN },
} as const;

export interface SeriesAnomalyState extends SubjectState<typeof LAYOUT> {
  readonly anomalies: SeriesAnomalies;
}

const parts = subjectState(LAYOUT);

interface Judged {
  readonly slot: number;
  readonly mean: number;
  readonly startUnixMs: number;
  readonly endUnixMs: number;
}

/** What was expected of the loudest member's quantity, and what it was. */
const contrastOf = (
  { anomalies: { verdict } }: SeriesAnomalyState,
  mean: number,
): { expected: number; actual: number } =>
  memberName(verdict.member) === "level" || Number.isNaN(verdict.expected)
    ? { expected: verdict.levelBefore, actual: verdict.levelRecent }
    : { expected: verdict.expected, actual: mean };

const isWorthTelling = (state: SeriesAnomalyState, mean: number, config: SeriesAnomalyConfig): boolean => {
  const { verdict } = state.anomalies;
  if (verdict.surprise < config.score_min * 10) return false;
  const isOnSide =
    config.direction === "both" ||
    (verdict.member !== VARIABILITY && (config.direction === "above" ? verdict.deviation > 0 : verdict.deviation < 0));
  const { expected, actual } = contrastOf(state, mean);
  return isOnSide && (config.floor_absolute === 0 || Math.abs(actual - expected) >= config.floor_absolute);
};

const findingOf = (
  state: SeriesAnomalyState,
  judged: Judged,
  { series, nowUnixMs }: { readonly series: Series; readonly nowUnixMs: number },
  config: SeriesAnomalyConfig,
): Finding => {
  const { slot, mean, endUnixMs } = judged;
  const { verdict } = state.anomalies;
  const startedUnixMs = state.columns.at.started[slot] as number;
  const entity = entityOf(series);
  const reason = reasonOf(verdict, mean, (value) => valueText(value, series));
  const { expected } = contrastOf(state, mean);
  return {
    finding_id: findingId({ rule: config.name, entity, subject: series.fingerprint, startedUnixMs }),
    detector: "series_anomaly",
    rule: config.name,
    state: "firing",
    severity: config.severity,
    category: config.category,
    entity,
    started_at_unix_ms: startedUnixMs,
    detected_at_unix_ms: nowUnixMs,
    value: mean,
    unit: unitOf(series),
    expected: { low: expected, high: expected },
    summary: clip(`${titleFor(config.title, series)} on ${series.host}: ${series.metric} ${reason}.`, 1000),
    labels: { ...findingLabels(series), anomaly_member: memberName(verdict.member) },
    evidence: [metricEvidence(series, { startedUnixMs, toUnixMs: endUnixMs, summary: reason })],
  };
};

const endEpisode = (state: SeriesAnomalyState, judged: Judged, series: Series): readonly Finding[] => {
  state.columns.at.started[judged.slot] = Number.NaN;
  const what = state.anomalies.verdict.isShift
    ? "has a new level, which is the normal one from now on"
    : "is as usual again";
  const summary = `${series.metric} on ${series.host} ${what}: ${valueText(judged.mean, series)}.`;
  return resolve(state.episodes, judged.slot, { summary, value: judged.mean });
};

/** Gives a whole step to the ensemble, and tells what follows. */
const judge = (
  state: SeriesAnomalyState,
  judged: Judged,
  window: MetricWindow,
  config: SeriesAnomalyConfig,
): readonly Finding[] => {
  const { at } = state.columns;
  const { slot, mean, startUnixMs, endUnixMs } = judged;
  const { nowUnixMs } = window;
  const series = window.series[slot] as Series;
  const score = stepSeriesAnomaly(state.anomalies, slot, startUnixMs, mean);
  const { verdict } = state.anomalies;
  if (!Number.isNaN(at.started[slot]) && (!verdict.isAlert || verdict.isShift))
    return endEpisode(state, judged, series);
  const isTold = score > 0 && isWorthTelling(state, mean, config);
  if (Number.isNaN(at.started[slot])) {
    if (!isTold || endUnixMs - (at.first[slot] as number) < config.warm_up_hours * HOUR_MS) return [];
    at.started[slot] = startUnixMs;
  }
  const isFresh = endUnixMs >= nowUnixMs - FRESH_MS - config.step_s * 1000;
  if (!isFresh || !isDue(state.episodes, slot, { severity: config.severity, nowUnixMs })) return [];
  const known = state.episodes.get(slot)?.finding;
  const finding = findingOf(state, judged, { series, nowUnixMs }, config);
  // The reason is that of the moment which was told, not of one that is calmer by now.
  const told = known === undefined || isTold ? finding : { ...known, state: finding.state, value: mean };
  return [announce(state.episodes, slot, told, nowUnixMs)];
};

const closeStep = (
  state: SeriesAnomalyState,
  slot: number,
  window: MetricWindow,
  config: SeriesAnomalyConfig,
): readonly Finding[] => {
  const { at } = state.columns;
  const stepMs = config.step_s * 1000;
  const startUnixMs = (at.step[slot] as number) * stepMs;
  if (Number.isNaN(at.first[slot])) at.first[slot] = startUnixMs;
  const mean = stepMean(at, slot);
  return judge(state, { slot, mean, startUnixMs, endUnixMs: startUnixMs + stepMs }, window, config);
};

/** Each series by itself: moments that are rare by its own past, in whatever way, told once with a reason. */
export const seriesAnomaly: Detector<SeriesAnomalyConfig, SeriesAnomalyState, MetricWindow> = {
  name: "series_anomaly",
  version: 1,
  config: SeriesAnomalyConfig,

  start: () => ({ ...parts.start(), anomalies: startSeriesAnomaly() }),

  step(state, window, config) {
    growColumns(state.columns, LAYOUT, Math.min(window.series.length, config.series_max));
    growSeriesAnomaly(state.anomalies, state.columns.slots);
    const findings: Finding[] = [];
    const { at, slots: slotsMax } = state.columns;
    const stepMs = config.step_s * 1000;
    gatherSteps(at, window, { stepMs, slotsMax }, (slot) => {
      findings.push(...closeStep(state, slot, window, config));
    });
    if (window.isTick) findings.push(...tellUnheard({ at, episodes: state.episodes }, window, stepMs));
    return { state, findings };
  },

  forget(state, kept) {
    const known = kept.filter((slot) => slot < state.columns.slots);
    const { state: left, findings } = parts.forget(state, kept);
    pickSeriesAnomaly(state.anomalies, known);
    return { state: { ...left, anomalies: state.anomalies }, findings };
  },

  save(state) {
    const saved = parts.save(state);
    return { ...saved, columns: { ...saved.columns, ...saveSeriesAnomaly(state.anomalies) } };
  },

  load: (saved) => ({ ...parts.load(saved), anomalies: loadSeriesAnomaly(saved.columns) }),
};
