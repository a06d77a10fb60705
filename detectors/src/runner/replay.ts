import type { Batch, Finding } from "@homeostat/schemas";
import type { History, Readiness } from "../detector.ts";
import type { HourlySeries } from "../hourly.ts";
import type { Selected } from "../series.ts";
import { DetectorsConfig as Config, type DetectorsConfig, type Rule } from "./config.ts";
import { type Announced, HOUR_MS, type HourlyRule, hourlyRules, isHeard, lookAtHours } from "./hourly-rule.ts";
import type { Intake } from "./intake.ts";
import { LogIntake } from "./log-intake.ts";
import { MetricIntake } from "./metric-intake.ts";
import { logWatches, metricWatches } from "./watch.ts";

/** One rule by itself, on telemetry of the past, with the time of the data for its clock: the very intake that live telemetry goes through. */
export interface StreamReplay {
  readonly telemetry: "metrics" | "logs";
  /** What to read for it; of logs everything. */
  readonly selects: readonly Selected[];
  /** Whether it wants to hear of every second in which a host has spoken: an empty batch, keyed by the host, whose header has the times. */
  readonly looksAtHosts: boolean;
  take(batch: Batch, from: { readonly key: string | null; readonly nowUnixMs: number }): readonly Finding[];
  tick(nowUnixMs: number, observingSinceUnixMs: number): readonly Finding[];
  /** Whether there are series that would learn from what the store remembers of the time before. */
  lacksHistory(): boolean;
  recall(histories: readonly History[]): void;
  readiness(nowUnixMs: number): Readiness | null;
  /** Series, hosts or streams that the rule watches, and those that were refused at a cap. */
  subjects(): { readonly watched: number; readonly refused: number };
}

/** A rule on hours: looks at what the hours until a moment were. */
export interface HourReplay {
  readonly telemetry: "hours";
  readonly selects: readonly Selected[];
  /** How many hours before a moment it looks at. */
  readonly hours: number;
  /** All rows begin at the same hour; they are cut at `toUnixMs`. */
  look(rows: readonly HourlySeries[], toUnixMs: number): readonly Finding[];
}

const streamReplay = (
  intake: Intake,
  { telemetry, selects, looksAtHosts }: Pick<StreamReplay, "telemetry" | "selects" | "looksAtHosts">,
): StreamReplay => ({
  telemetry,
  selects,
  looksAtHosts,
  take: (batch, from) => intake.take(batch, from),
  tick: (nowUnixMs, observingSinceUnixMs) => intake.tick({ nowUnixMs, observingSinceUnixMs }),
  lacksHistory: () => intake.lacking().size > 0,
  recall: (histories) => {
    const found = new Map(histories.map((history) => [history.fingerprint, history]));
    for (const [rule, asked] of intake.lacking()) intake.recall(rule, asked, found);
  },
  readiness: (nowUnixMs) => [...intake.readiness(nowUnixMs).values()][0] ?? null,
  subjects: () => ({ watched: intake.watched, refused: intake.refused }),
});

/** The hours of a series that end at a moment: what a look at that moment would have seen. */
const cut = ({ series, fromUnixMs, values }: HourlySeries, { hours }: HourlyRule, toUnixMs: number): HourlySeries => {
  const end = Math.floor((toUnixMs - fromUnixMs) / HOUR_MS);
  const begin = Math.max(0, end - hours);
  return { series, fromUnixMs: fromUnixMs + begin * HOUR_MS, values: values.subarray(begin, end) };
};

const hourReplay = (rule: HourlyRule): HourReplay => {
  let announced: Announced = {};
  return {
    telemetry: "hours",
    selects: [rule],
    hours: rule.hours,
    look: (rows, toUnixMs) => {
      const heard = rows.filter(({ series }) => rule.matches(series)).map((row) => cut(row, rule, toUnixMs));
      const watched = heard.filter(isHeard).slice(0, rule.seriesMax);
      const verdicts = new Map(watched.map((row) => [row.series, rule.judge(row)] as const));
      const looked = lookAtHours(rule, announced, verdicts, { toUnixMs, nowUnixMs: toUnixMs });
      announced = looked.announced;
      return looked.findings;
    },
  };
};

/** What a rule would have found: feed it the past in order. */
export const createReplay = (rule: Rule, config: DetectorsConfig = Config.parse({})): StreamReplay | HourReplay => {
  const [metricWatch] = metricWatches([rule]);
  if (metricWatch !== undefined) {
    const { selects, looksAtHosts } = metricWatch;
    return streamReplay(new MetricIntake([metricWatch], config), { telemetry: "metrics", selects, looksAtHosts });
  }
  const [logWatch] = logWatches([rule]);
  if (logWatch !== undefined)
    return streamReplay(new LogIntake([logWatch], config), { telemetry: "logs", selects: [], looksAtHosts: false });
  const [hourlyRule] = hourlyRules([rule]);
  if (hourlyRule === undefined) throw new Error(`no detector ${rule.detector} is registered`);
  return hourReplay(hourlyRule);
};
