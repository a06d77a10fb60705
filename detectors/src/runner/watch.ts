import { createHash } from "node:crypto";
import { canonicalJson, type Finding } from "@homeostat/schemas";
import { absence } from "../absence/absence.ts";
import { silence } from "../absence/silence.ts";
import { baseline } from "../baseline/baseline.ts";
import { logTemplates } from "../clusters/log-templates.ts";
import type { Detector, Saved } from "../detector.ts";
import { matches, type Series } from "../series.ts";
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
  step(window: Window): readonly Finding[];
  forget(kept: Uint32Array, nowUnixMs: number): readonly Finding[];
  save(): Saved;
  load(saved: Saved): void;
}

const watchOf = <Config extends Rule, State, Window>(
  detector: Detector<Config, State, Window>,
  config: Config,
): Watch<Window> => {
  let state = detector.start(config);
  const digest = createHash("sha256").update(canonicalJson(config)).digest("hex").slice(0, 16);
  return {
    key: `${config.name}:${detector.name}:${detector.version}:${digest}`,
    rule: config.name,
    matchesSeries: "metric" in config ? (series) => matches(series, config) : null,
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
  };
};

export const metricWatches = (rules: readonly Rule[]): readonly Watch<MetricWindow>[] =>
  rules.flatMap((rule) => {
    if (rule.detector === "threshold") return [watchOf(threshold, rule)];
    if (rule.detector === "absence") return [watchOf(absence, rule)];
    if (rule.detector === "silence") return [watchOf(silence, rule)];
    return rule.detector === "baseline" ? [watchOf(baseline, rule)] : [];
  });

export const logWatches = (rules: readonly Rule[]): readonly Watch<LogWindow>[] =>
  rules.flatMap((rule) => (rule.detector === "log_templates" ? [watchOf(logTemplates, rule)] : []));
