import { seriesFingerprint } from "@homeostat/schemas";
import { DistinctCount } from "./distinct-count.ts";
import { Generations } from "./generations.ts";
import type { HealthEpisodes } from "./health-episodes.ts";
import { SeriesEntry } from "./identities.ts";
import { SENDER } from "./trouble-entity.ts";

/** The OpenTelemetry SDK's name for the series that stands for those over the limit (specification, Metrics SDK, "Cardinality limits"). */
export const OVERFLOW_ATTRIBUTES: Readonly<Record<string, string>> = { "otel.metric.overflow": "true" };

/** The window rolls on in sixths. */
const SLOTS = 6;
/** Metrics whose budgets are remembered, about 250 bytes each; those without new series the longest give way, and begin anew when they come again. */
const METRICS_MAX = 20_000;
/** Metrics over their budget at a time, at most about 20 KB each; the oldest gives way. */
const OVERFLOWING_MAX = 1000;
const LABELS_MAX = 32;
const EXAMPLE_LENGTH_MAX = 100;

interface Budget {
  slot: number;
  readonly news: number[];
}

interface LabelStatistics {
  readonly values: DistinctCount;
  readonly example: string;
}

interface Overflowing {
  readonly metric: string;
  readonly startedAtUnixMs: number;
  lastAtUnixMs: number;
  samples: number;
  sender: string;
  /** One series for each lane. */
  readonly entries: Map<number, SeriesEntry>;
  readonly labels: Map<string, LabelStatistics>;
}

/**
 * How many new series each metric may bring within a rolling window. Beyond it, samples are only counted: the value of the overflow series is how many
 * were folded into it since its sample before. Their own values are not kept: to add up gauges of different series would be a lie.
 */
export class Cardinality {
  readonly #options: { seriesMax: number; windowMs: number; now: () => number; episodes: HealthEpisodes };
  readonly #budgets = new Generations<Budget>(METRICS_MAX, () => 1);
  readonly #overflowing = new Map<bigint, Overflowing>();

  constructor(options: {
    seriesMax: number;
    windowMs: number;
    now: () => number;
    episodes: HealthEpisodes;
  }) {
    this.#options = options;
  }

  /** It changes when what was refused may be tried again. */
  slot(nowUnixMs: number): number {
    return Math.floor((nowUnixMs * SLOTS) / this.#options.windowMs);
  }

  /** Whether the metric may have one more new series. If not, `entry` knows from now on where its samples are counted. */
  admit(entry: SeriesEntry, nowUnixMs: number): boolean {
    const slot = this.slot(nowUnixMs);
    const budget = this.#budgetOf(entry.metricId, slot);
    const news = budget.news.reduce((sum, count) => sum + count, 0);
    if (news < this.#options.seriesMax) {
      budget.news[slot % SLOTS] = (budget.news[slot % SLOTS] ?? 0) + 1;
      entry.overflow = null;
      return true;
    }
    entry.refusedInSlot = slot;
    entry.overflow = this.#overflowOf(entry, nowUnixMs);
    return false;
  }

  /** A sample of a refused series came from this sender. */
  folded(entry: SeriesEntry, sender: string): void {
    const overflowing = this.#overflowing.get(entry.metricId);
    if (overflowing === undefined) return;
    overflowing.samples++;
    overflowing.sender = sender;
  }

  /** Once a second: tells of metrics over their budget, and of those that have been within it for a whole window. */
  check(): void {
    const { windowMs, now } = this.#options;
    for (const [metricId, overflowing] of this.#overflowing) {
      if (now() - overflowing.lastAtUnixMs < windowMs) this.#fire(overflowing);
      else this.#forget(metricId, overflowing, `${overflowing.metric} is within its budget of new series again.`);
    }
  }

  #budgetOf(metricId: bigint, slot: number): Budget {
    const known = this.#budgets.get(metricId);
    if (known === undefined) {
      const budget = { slot, news: new Array<number>(SLOTS).fill(0) };
      this.#budgets.put(metricId, budget);
      return budget;
    }
    for (let past = Math.max(known.slot + 1, slot - SLOTS + 1); past <= slot; past++) known.news[past % SLOTS] = 0;
    known.slot = Math.max(known.slot, slot);
    return known;
  }

  #overflowOf(refused: SeriesEntry, nowUnixMs: number): SeriesEntry {
    const { name, attributes } = refused.identity;
    const overflowing = this.#overflowing.get(refused.metricId) ?? this.#begin(refused, nowUnixMs);
    overflowing.lastAtUnixMs = nowUnixMs;
    noteLabels(overflowing.labels, attributes);
    const known = overflowing.entries.get(refused.lane);
    if (known !== undefined) return known;
    const identity = {
      name,
      kind: "delta",
      unit: "{sample}",
      host: "",
      service: "",
      attributes: OVERFLOW_ATTRIBUTES,
    } as const;
    const ids = { metricId: refused.metricId, fingerprint: seriesFingerprint(name, OVERFLOW_ATTRIBUTES) };
    const entry = new SeriesEntry(identity, ids, refused.lane);
    overflowing.entries.set(refused.lane, entry);
    return entry;
  }

  #begin({ identity, metricId }: SeriesEntry, nowUnixMs: number): Overflowing {
    const [oldest] = this.#overflowing;
    if (this.#overflowing.size >= OVERFLOWING_MAX && oldest !== undefined)
      this.#forget(...oldest, `${oldest[1].metric} is not followed any more: too many metrics are over their budget.`);
    const overflowing: Overflowing = {
      metric: identity.name,
      startedAtUnixMs: nowUnixMs,
      lastAtUnixMs: nowUnixMs,
      samples: 0,
      sender: "",
      entries: new Map(),
      labels: new Map(),
    };
    this.#overflowing.set(metricId, overflowing);
    return overflowing;
  }

  #forget(metricId: bigint, { metric }: Overflowing, summary: string): void {
    this.#overflowing.delete(metricId);
    this.#options.episodes.resolve("metric_cardinality", metric, summary);
  }

  #fire({ metric, labels, sender, samples, startedAtUnixMs }: Overflowing): void {
    // A series was asked for, but nothing was appended to it yet.
    if (samples === 0) return;
    const { seriesMax, windowMs, episodes } = this.#options;
    let [worst] = labels;
    for (const label of labels) if (label[1].values.estimate > (worst?.[1].values.estimate ?? 0)) worst = label;
    const [label, statistics] = worst ?? ["", null];
    const values = statistics?.values.estimate ?? 0;
    const example = statistics?.example ?? "";
    const summary =
      `${metric} brought more than ${seriesMax} new series within ${Math.round(windowMs / 1000)} s; its label ${label} has about ${values} ` +
      `further values, such as ${example}. ${samples} samples, the last of ${sender}, were only counted.`;
    const told = { metric, label, label_values: String(values), example, sender };
    const entityHost = `${SENDER}${sender}`;
    episodes.fire({ rule: "metric_cardinality", subject: metric, summary, labels: told, entityHost }, startedAtUnixMs);
  }
}

const noteLabels = (labels: Map<string, LabelStatistics>, attributes: Readonly<Record<string, string>>): void => {
  for (const attribute in attributes) {
    const name = attribute.slice(0, EXAMPLE_LENGTH_MAX);
    const value = attributes[attribute] ?? "";
    let statistics = labels.get(name);
    if (statistics === undefined) {
      if (labels.size >= LABELS_MAX) continue;
      statistics = { values: new DistinctCount(), example: value.slice(0, EXAMPLE_LENGTH_MAX) };
      labels.set(name, statistics);
    }
    statistics.values.add(value);
  }
};
