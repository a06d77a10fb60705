import { createHash } from "node:crypto";
import { canonicalJson, Finding } from "@homeostat/schemas";
import { z } from "zod";
import { clip, findingId, resolved } from "../episode.ts";
import { capacity } from "../forecast/capacity.ts";
import type { HourlyAlarm, HourlyDetector, HourlySeries, HourlyVerdict } from "../hourly.ts";
import { entityOf, findingLabels, matches, metricEvidence, type Series } from "../series.ts";
import type { Rule } from "./config.ts";

export const HOUR_MS = 3_600_000;

/** A series that has been away for so many looks is gone: what was said of it is taken back. */
const MISSED_LOOKS_MAX = 24;

/** A rule that looks at hours. */
export interface HourlyRule {
  /** Rule and configuration: what was announced under another key is taken back. */
  readonly key: string;
  readonly rule: string;
  readonly detector: string;
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly hours: number;
  /** Series beyond this many are not looked at, and a finding says so. */
  readonly seriesMax: number;
  matches(series: Series): boolean;
  judge(row: HourlySeries): HourlyVerdict;
}

/** What the configurations of such detectors have in common. */
interface HourlyConfig {
  readonly name: string;
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly not_labels: Readonly<Record<string, readonly string[]>>;
  readonly series_max: number;
}

interface Maker {
  readonly detector: string;
  readonly make: (rule: Rule) => HourlyRule;
}

export const hourlyMaker = <Config extends HourlyConfig>(detector: HourlyDetector<Config>): Maker => ({
  detector: detector.name,
  make: (rule) => {
    const config = detector.config.parse(rule);
    const digest = createHash("sha256").update(canonicalJson(config)).digest("hex").slice(0, 16);
    return {
      key: `${config.name}:${detector.name}:${digest}`,
      rule: config.name,
      detector: detector.name,
      metric: config.metric,
      labels: config.labels,
      hours: detector.hours(config),
      seriesMax: config.series_max,
      matches: (series) => matches(series, config),
      judge: (row) => detector.judge(row, config),
    };
  },
});

/** Detectors on hours: one line each. */
const HOURLY_MAKERS: readonly Maker[] = [hourlyMaker(capacity)];

export const hourlyRules = (rules: readonly Rule[], makers = HOURLY_MAKERS): readonly HourlyRule[] =>
  rules.flatMap((rule) => {
    const found = makers.find(({ detector }) => detector === rule.detector);
    return found === undefined ? [] : [found.make(rule)];
  });

/** What a rule has announced and not taken back, by fingerprint; `missed` counts the looks since the series was seen. */
export const Announced = z.record(z.string(), z.strictObject({ finding: Finding, missed: z.int().min(0) }));
export type Announced = z.infer<typeof Announced>;

export interface Look {
  /** The end of the last hour that is looked at. */
  readonly toUnixMs: number;
  readonly nowUnixMs: number;
}

const findingOf = (
  { rule, detector, hours }: HourlyRule,
  { series, alarm, known }: { series: Series; alarm: HourlyAlarm; known: Finding | undefined },
  { toUnixMs, nowUnixMs }: Look,
): Finding => {
  const entity = entityOf(series);
  const startedUnixMs = known?.started_at_unix_ms ?? toUnixMs;
  const summary = clip(alarm.summary, 1000);
  const evidence = metricEvidence(series, { startedUnixMs: toUnixMs - hours * HOUR_MS, toUnixMs, summary });
  return {
    finding_id: findingId({ rule, entity, subject: series.fingerprint, startedUnixMs }),
    detector,
    rule,
    state: "firing",
    severity: alarm.severity,
    category: alarm.category,
    entity,
    started_at_unix_ms: startedUnixMs,
    detected_at_unix_ms: known?.detected_at_unix_ms ?? nowUnixMs,
    value: alarm.value,
    unit: alarm.unit,
    expected: alarm.expected,
    summary,
    labels: { ...findingLabels(series), ...alarm.labels },
    evidence: [evidence],
  };
};

/** A series that has had no value for more hours than this is as good as missing, though the store still knows older ones. */
const SILENT_HOURS_MAX = 6;

/** Whether there is anything new to judge. */
export const isHeard = ({ values }: HourlySeries): boolean =>
  values.length - 1 - values.findLastIndex(Number.isFinite) <= SILENT_HOURS_MAX;

const GONE = "No data any more; last known: ";

/** What is said of a series that was not among the rows. */
const missed = ({ finding, missed: before }: Announced[string]): Announced[string] | Finding => {
  if (before + 1 > MISSED_LOOKS_MAX)
    return resolved(finding, { summary: `Gone for a day; last known: ${finding.summary}` });
  if (finding.state === "no_data") return { finding, missed: before + 1 };
  return { finding: { ...finding, state: "no_data", summary: clip(`${GONE}${finding.summary}`, 1000) }, missed: 1 };
};

/**
 * One look at the hours: the findings to publish, and what is announced after it. A firing finding is told at each look. The same rows at the
 * same hour give the same findings under the same ids, however often they are looked at.
 */
export const lookAtHours = (
  rule: HourlyRule,
  before: Announced,
  verdicts: ReadonlyMap<Series, HourlyVerdict>,
  look: Look,
): { readonly announced: Announced; readonly findings: readonly Finding[] } => {
  const announced: Announced = {};
  const findings: Finding[] = [];
  const seen = new Set<string>();
  for (const [series, verdict] of verdicts) {
    const known = before[series.fingerprint]?.finding;
    seen.add(series.fingerprint);
    if (verdict === "fine") {
      if (known !== undefined) findings.push(resolved(known, { summary: `Over: ${known.summary}` }));
      continue;
    }
    const finding = verdict === "unknown" ? known : findingOf(rule, { series, alarm: verdict, known }, look);
    if (finding === undefined) continue;
    announced[series.fingerprint] = { finding, missed: 0 };
    findings.push(finding);
  }
  for (const [fingerprint, entry] of Object.entries(before)) {
    if (seen.has(fingerprint)) continue;
    const next = missed(entry);
    if ("finding_id" in next) findings.push(next);
    else {
      announced[fingerprint] = next;
      if (entry.finding.state === "firing") findings.push(next.finding);
    }
  }
  return { announced, findings };
};
