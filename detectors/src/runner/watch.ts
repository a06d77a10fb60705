import { createHash } from "node:crypto";
import { canonicalJson, type Finding } from "@homeostat/schemas";
import { absence } from "../absence/absence.ts";
import { silence } from "../absence/silence.ts";
import { hostAnomaly } from "../anomaly/host/host-anomaly.ts";
import { seriesAnomaly } from "../anomaly/series-anomaly.ts";
import { baseline } from "../baseline/baseline.ts";
import { logTemplates } from "../clusters/log-templates.ts";
import type { Detector, History, Readiness, Saved } from "../detector.ts";
import { matches, type Selected, type Series } from "../series.ts";
import { threshold } from "../threshold/threshold.ts";
import type { LogWindow, MetricWindow } from "../window.ts";
import type { Rule } from "./config.ts";

/** A rule at work: its detector, its configuration and its state. */
export interface Watch<Window> {
  /** Rule, configuration and version of the saved form: a state is loaded only into the same. */
  readonly key: string;
  readonly rule: string;
  /** What its slots are: the series that it matches, or all hosts, or all streams. */
  readonly matchesSeries: ((series: Series) => boolean) | null;
  readonly selects: readonly Selected[];
  readonly looksAtHosts: boolean;
  /** The most series that the rule wants to watch on one partition. */
  readonly seriesMax: number;
  step(window: Window): readonly Finding[];
  forget(kept: Uint32Array, nowUnixMs: number): readonly Finding[];
  save(): Saved;
  load(saved: Saved): void;
  /** null where there is nothing to wait for. */
  readiness(nowUnixMs: number): Readiness | null;
  /** Slots below `slots` that would learn from history. */
  lacking(slots: number): readonly number[];
  recall(slot: number, history: History | null): void;
}

type AnyConfig = { readonly detector: string; readonly name: string };

type AnySelector = Parameters<typeof matches>[1];

/**
 * What a configuration watches: `metric`, or each of `metrics`, with `labels` and `not_labels`. Without them it watches hosts, or logs.
 * Every configuration with these keys spreads Selector or its members.
 */
const selectorsOf = (config: AnyConfig): readonly AnySelector[] => {
  if ("metric" in config) return [config as never];
  if (!("metrics" in config && Array.isArray(config.metrics))) return [];
  return config.metrics.map((metric: string) => ({ ...config, metric }) as never);
};

const watchOf = <Config extends AnyConfig, State, Window>(
  detector: Detector<Config, State, Window>,
  config: Config,
): Watch<Window> => {
  let state = detector.start(config);
  const selectors = selectorsOf(config);
  const digest = createHash("sha256").update(canonicalJson(config)).digest("hex").slice(0, 16);
  return {
    key: `${config.name}:${detector.name}:${detector.version}:${digest}`,
    rule: config.name,
    matchesSeries: selectors.length === 0 ? null : (series) => selectors.some((selector) => matches(series, selector)),
    selects: selectors,
    looksAtHosts: detector.looksAtHosts === true,
    seriesMax: "series_max" in config ? Number(config.series_max) : Number.POSITIVE_INFINITY,
    step: (window) => {
      const stepped = detector.step(state, window, config);
      state = stepped.state;
      return stepped.findings;
    },
    forget: (kept, nowUnixMs) => {
      const stepped = detector.forget(state, kept, nowUnixMs);
      state = stepped.state;
      return stepped.findings;
    },
    save: () => detector.save(state),
    load: (saved) => {
      state = detector.load(saved, config);
    },
    readiness: (nowUnixMs) => detector.readiness?.(state, nowUnixMs) ?? null,
    lacking: (slots) => detector.memory?.lacking(state, slots) ?? [],
    recall: (slot, history) => detector.memory?.recall(state, slot, history, config),
  };
};

/** Makes the watch of a rule that names this detector. */
interface Maker<Window> {
  readonly detector: string;
  readonly watch: (rule: Rule) => Watch<Window>;
}

const maker = <Config extends AnyConfig, State, Window>(detector: Detector<Config, State, Window>): Maker<Window> => ({
  detector: detector.name,
  // The rule has been parsed by this very schema; doing it again costs nothing and gives its type back.
  watch: (rule) => watchOf(detector, detector.config.parse(rule)),
});

/** Detectors on metrics: one line each. */
const METRIC_MAKERS: readonly Maker<MetricWindow>[] = [
  maker(threshold),
  maker(absence),
  maker(silence),
  maker(baseline),
  maker(seriesAnomaly),
  maker(hostAnomaly),
];

/** Detectors on logs: one line each. */
const LOG_MAKERS: readonly Maker<LogWindow>[] = [maker(logTemplates)];

const watchesBy = <Window>(makers: readonly Maker<Window>[], rules: readonly Rule[]): readonly Watch<Window>[] =>
  rules.flatMap((rule) => {
    const found = makers.find(({ detector }) => detector === rule.detector);
    return found === undefined ? [] : [found.watch(rule)];
  });

export const metricWatches = (rules: readonly Rule[]): readonly Watch<MetricWindow>[] =>
  watchesBy(METRIC_MAKERS, rules);

export const logWatches = (rules: readonly Rule[]): readonly Watch<LogWindow>[] => watchesBy(LOG_MAKERS, rules);

export const readinessOf = (watches: readonly Watch<never>[], nowUnixMs: number): ReadonlyMap<string, Readiness> =>
  new Map(
    watches.flatMap((watch) => {
      const readiness = watch.readiness(nowUnixMs);
      return readiness === null ? [] : [[watch.rule, readiness] as const];
    }),
  );
