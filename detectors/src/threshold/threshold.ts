import { Finding, type Severity, Severity as SeverityEnum } from "@homeostat/schemas";
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

const Seconds = z.number().min(0).max(604_800);

export const ThresholdConfig = z
  .strictObject({
    detector: z.literal("threshold"),
    name: z.string().min(1).max(128),
    /** Begins the summary; `{label}` stands for a label's value. */
    title: z.string().min(1).max(200),
    ...Selector,
    /** Breached when the value (of a counter: its rate per second) stands so to `value`. */
    op: z.enum([">", ">=", "<", "<="]),
    value: z.number(),
    /** Breached so far, the severity is critical. */
    critical_value: z.number().optional(),
    /** Over only when it is on the good side of this: hysteresis. */
    clear_value: z.number().optional(),
    for_s: Seconds.default(0),
    clear_for_s: Seconds.default(2),
    /** No episode begins so soon after a series appears, or comes back after a pause: services need time to start. */
    grace_s: Seconds.default(0),
    /** Samples further apart than this prove nothing about the time between them. */
    max_gap_s: Seconds.default(30),
    severity: SeverityEnum.default("warning"),
    category: Finding.shape.category.default("symptom"),
  })
  .superRefine((rule, context) => {
    const isUpper = rule.op.startsWith(">");
    const wrong = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (rule.clear_value !== undefined && (isUpper ? rule.clear_value > rule.value : rule.clear_value < rule.value))
      wrong("clear_value", `${rule.clear_value} is itself a breach of ${rule.op} ${rule.value}`);
    if (
      rule.critical_value !== undefined &&
      (isUpper ? rule.critical_value < rule.value : rule.critical_value > rule.value)
    )
      wrong("critical_value", `${rule.critical_value} is milder than ${rule.value}`);
  });
export type ThresholdConfig = z.infer<typeof ThresholdConfig>;

/** Times are event times in Unix milliseconds; NaN is "not". */
const LAYOUT = {
  last: { fill: Number.NEGATIVE_INFINITY },
  arrived: { fill: 0 },
  /** The last value of a counter. */
  counted: { fill: Number.NaN },
  value: { fill: Number.NaN },
  armed: { fill: Number.NaN },
  pending: { fill: Number.NaN },
  started: { fill: Number.NaN },
  clear: { fill: Number.NaN },
  isCritical: { fill: 0 },
} as const;

export type ThresholdState = SubjectState<typeof LAYOUT>;

const isBeyond = (value: number, op: ThresholdConfig["op"], limit: number): boolean => {
  if (op === ">") return value > limit;
  if (op === "<") return value < limit;
  return op === ">=" ? value >= limit : value <= limit;
};

/** Severity only rises within an episode. */
const severityOf = (state: ThresholdState, slot: number, config: ThresholdConfig): Severity =>
  state.columns.at.isCritical[slot] === 1 ? "critical" : config.severity;

const sentence = (state: ThresholdState, slot: number, series: Series, config: ThresholdConfig): string => {
  const { value, last, started } = state.columns.at;
  const words = { ">": "at most", ">=": "less than", "<": "at least", "<=": "more than" }[config.op];
  const seconds = Math.round(((last[slot] as number) - (started[slot] as number)) / 1000);
  return clip(
    `${titleFor(config.title, series)} on ${series.host}: ${series.metric} is ${valueText(value[slot] as number, series)}, ` +
      `expected ${words} ${valueText(config.value, series)}, for ${seconds} s.`,
    1000,
  );
};

const findingOf = (
  state: ThresholdState,
  slot: number,
  { series, nowUnixMs }: { readonly series: Series; readonly nowUnixMs: number },
  config: ThresholdConfig,
): Finding => {
  const startedUnixMs = state.columns.at.started[slot] as number;
  const entity = entityOf(series);
  const summary = sentence(state, slot, series, config);
  return {
    finding_id: findingId({ rule: config.name, entity, subject: series.fingerprint, startedUnixMs }),
    detector: "threshold",
    rule: config.name,
    state: "firing",
    severity: severityOf(state, slot, config),
    category: config.category,
    entity,
    started_at_unix_ms: startedUnixMs,
    detected_at_unix_ms: nowUnixMs,
    value: state.columns.at.value[slot] as number,
    unit: unitOf(series),
    expected: config.op.startsWith(">") ? { low: null, high: config.value } : { low: config.value, high: null },
    summary,
    labels: findingLabels(series),
    evidence: [
      metricEvidence(series, {
        startedUnixMs,
        toUnixMs: state.columns.at.last[slot] as number,
        summary: titleFor(config.title, series),
      }),
    ],
  };
};

/** A counter's rate since its last sample; NaN at the first, and after a reset. */
const rateOf = (counted: Float64Array, slot: number, value: number, elapsedMs: number): number => {
  const before = counted[slot] as number;
  counted[slot] = value;
  return value >= before && elapsedMs > 0 ? ((value - before) * 1000) / elapsedMs : Number.NaN;
};

/** Moves one series on by one sample; true when there may be something to tell. */
const observe = (
  state: ThresholdState,
  { slot, time, value }: { slot: number; time: number; value: number },
  config: ThresholdConfig,
): boolean => {
  const at = state.columns.at;
  const isBreach = isBeyond(value, config.op, config.value);
  if (Number.isNaN(at.started[slot])) {
    if (!isBreach) {
      at.pending[slot] = Number.NaN;
      return false;
    }
    if (Number.isNaN(at.pending[slot])) at.pending[slot] = time;
    const pending = at.pending[slot] as number;
    if (time - pending < config.for_s * 1000 || time - (at.armed[slot] as number) < config.grace_s * 1000) return false;
    at.started[slot] = pending;
    at.isCritical[slot] = 0;
    at.clear[slot] = Number.NaN;
  }
  if (config.critical_value !== undefined && isBeyond(value, config.op, config.critical_value)) at.isCritical[slot] = 1;
  if (isBreach || isBeyond(value, config.op, config.clear_value ?? config.value)) at.clear[slot] = Number.NaN;
  else if (Number.isNaN(at.clear[slot])) at.clear[slot] = time;
  return true;
};

const isOver = (state: ThresholdState, slot: number, config: ThresholdConfig): boolean => {
  const { clear, last } = state.columns.at;
  return (last[slot] as number) - (clear[slot] as number) >= config.clear_for_s * 1000;
};

const tell = (
  state: ThresholdState,
  slot: number,
  window: MetricWindow,
  config: ThresholdConfig,
): readonly Finding[] => {
  const at = state.columns.at;
  const series = window.series[slot] as Series;
  const { nowUnixMs } = window;
  if (isOver(state, slot, config)) {
    at.started[slot] = Number.NaN;
    at.pending[slot] = Number.NaN;
    const value = at.value[slot] as number;
    const summary = `${titleFor(config.title, series)} on ${series.host}: over; ${series.metric} is ${valueText(value, series)}.`;
    return resolve(state.episodes, slot, { summary, value });
  }
  const isFresh = (at.last[slot] as number) >= nowUnixMs - FRESH_MS;
  if (!isFresh || !isDue(state.episodes, slot, { severity: severityOf(state, slot, config), nowUnixMs })) return [];
  return [announce(state.episodes, slot, findingOf(state, slot, { series, nowUnixMs }, config), nowUnixMs)];
};

/** A pause arms the rule anew: what was pending or clearing before it no longer counts. */
const rearm = (state: ThresholdState, slot: number, time: number): void => {
  const at = state.columns.at;
  at.armed[slot] = time;
  at.pending[slot] = Number.NaN;
  at.clear[slot] = Number.NaN;
  at.counted[slot] = Number.NaN;
};

/** A metric beyond a limit for some time. Samples that are not newer than the series' last, and NaN, are passed over. */
export const threshold: Detector<ThresholdConfig, ThresholdState, MetricWindow> = {
  name: "threshold",
  version: 1,
  config: ThresholdConfig,
  ...subjectState(LAYOUT),

  step(state, window, config) {
    growColumns(state.columns, LAYOUT, window.series.length);
    const findings: Finding[] = [];
    const at = state.columns.at;
    const { slots, times, values, count, nowUnixMs } = window;
    const gapMs = config.max_gap_s * 1000;
    for (let row = 0; row < count; row++) {
      const slot = slots[row] as number;
      const time = times[row] as number;
      let value = values[row] as number;
      const elapsedMs = time - (at.last[slot] as number);
      if (!(elapsedMs > 0) || !Number.isFinite(value)) continue;
      at.last[slot] = time;
      at.arrived[slot] = nowUnixMs;
      if (elapsedMs > gapMs) rearm(state, slot, time);
      if ((window.series[slot] as Series).isCounter) {
        value = rateOf(at.counted, slot, value, elapsedMs);
        if (Number.isNaN(value)) continue;
      }
      at.value[slot] = value;
      if (observe(state, { slot, time, value }, config)) findings.push(...tell(state, slot, window, config));
    }
    if (window.isTick) {
      for (const slot of state.episodes.keys()) {
        const heardAt = Math.max(at.arrived[slot] as number, window.observingSinceUnixMs);
        if (nowUnixMs - heardAt >= NO_DATA_MS) findings.push(...tellNoData(state.episodes, slot, nowUnixMs));
      }
    }
    return { state, findings };
  },
};
