import {
  type AssignedPartition,
  type Bus,
  type Consumer,
  canonicalJson,
  type Log,
  type PartitionHandler,
} from "@homeostat/schemas";
import type { History, Readiness } from "../detector.ts";
import type { Series } from "../series.ts";
import { type DetectorsConfig, type Rule, rulesOf } from "./config.ts";
import { lookAtAllHours, type ReadHours } from "./hourly-looks.ts";
import { type HourlyRule, hourlyRules } from "./hourly-rule.ts";
import type { Intake } from "./intake.ts";
import { LogIntake } from "./log-intake.ts";
import { MetricIntake } from "./metric-intake.ts";
import { Partition, type PartitionStatus, type Snapshots, savedPartition } from "./partition.ts";
import { logWatches, metricWatches } from "./watch.ts";

export interface HistoriesAsked {
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Empty: all series of the metric. */
  readonly fingerprints: readonly string[];
  readonly nowUnixMs: number;
}

/** What the store remembers by the hour. */
export interface HourMemory {
  readonly readHours: ReadHours;
  /** The hours of the weeks before, of every series that has any. */
  readonly readHistories: (asked: HistoriesAsked) => AsyncIterable<History>;
}

export interface RunnerOptions {
  readonly bus: Bus;
  readonly config: DetectorsConfig;
  readonly snapshots: Snapshots;
  /** null: there is none, and rules learn from the stream alone. */
  readonly memory: HourMemory | null;
  readonly now: () => number;
  readonly log: Log;
}

export interface RunnerStatus {
  readonly rules: readonly string[];
  /** By rule, over all partitions: how many of its series and streams are known well enough to be judged. */
  readonly readiness: Readonly<Record<string, Readiness>>;
  readonly partitions: readonly PartitionStatus[];
}

/** Names of rules. */
export interface RuleChanges {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  readonly unchanged: readonly string[];
}

export interface Runner {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Moves time on for what silence tells; called each second. */
  tick(nowUnixMs: number): Promise<void>;
  /** Lets rules learn from the store what they would otherwise wait for; called every few minutes. Answers how many series were asked for. */
  recall(): Promise<number>;
  /** Lets the rules on hours look at those that have passed; called once an hour. Answers how many series were judged. */
  lookAtHours(nowUnixMs: number): Promise<number>;
  /** The same, where a reload has changed rules on hours since: what fires for the old ones is taken back at once. */
  lookAfterReload(nowUnixMs: number): Promise<number>;
  /** Other rules from now on: unchanged ones go on as they are, what fires for the others is taken back. */
  reload(config: DetectorsConfig): Promise<RuleChanges>;
  status(): RunnerStatus;
}

const GROUP = "detectors";
const TOPICS = ["telemetry.logs", "telemetry.metrics"] as const;

/** Above it every series of the metric is asked for: a list of names would be longer than the answer. */
const FINGERPRINTS_MAX = 500;

export const ruleChanges = (before: readonly Rule[], after: readonly Rule[]): RuleChanges => {
  const texts = new Map(before.map((rule) => [rule.name, canonicalJson(rule)]));
  const names = (rules: readonly Rule[]) => rules.map(({ name }) => name);
  const known = after.filter(({ name }) => texts.has(name));
  const isSame = (rule: Rule) => texts.get(rule.name) === canonicalJson(rule);
  return {
    added: names(after.filter(({ name }) => !texts.has(name))),
    changed: names(known.filter((rule) => !isSame(rule))),
    removed: names(before).filter((name) => !after.some((rule) => rule.name === name)),
    unchanged: names(known.filter(isSame)),
  };
};

const sumReadiness = (partitions: readonly PartitionStatus[]): Record<string, Readiness> => {
  const sums: Record<string, Readiness> = {};
  for (const [rule, { ready, warming_up, stale }] of partitions.flatMap(({ readiness }) => Object.entries(readiness))) {
    const sum = sums[rule] ?? { ready: 0, warming_up: 0, stale: 0 };
    sums[rule] = { ready: sum.ready + ready, warming_up: sum.warming_up + warming_up, stale: sum.stale + stale };
  }
  return sums;
};

const keysOf = (rules: readonly HourlyRule[]): string => rules.map(({ key }) => key).join("\n");

/** Reads telemetry, lets the rules look at it, and publishes what they find. */
export const createRunner = (options: RunnerOptions): Runner => new RuleRunner(options);

class RuleRunner implements Runner {
  readonly #options: RunnerOptions;
  readonly #partitions = new Set<Partition>();
  #config: DetectorsConfig;
  #rules: readonly Rule[];
  #consumer: Consumer | null = null;
  #looking: Promise<unknown> = Promise.resolve();
  /** The keys of the rules on hours at the last look. */
  #lookedFor: string | null = null;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#rules = rulesOf(options.config);
  }

  async start(): Promise<void> {
    const { bus, log } = this.#options;
    this.#consumer ??= await bus.consume({
      group: GROUP,
      topics: TOPICS,
      maxMessages: 64,
      open: (assigned) => this.#open(assigned),
      onError: (error, at) => log.warn({ ...at, error: error.message }, "the detectors' consumer tries again"),
    });
  }

  async stop(): Promise<void> {
    const stopping = this.#consumer;
    this.#consumer = null;
    await stopping?.stop();
  }

  async tick(nowUnixMs: number): Promise<void> {
    await this.#each((partition) => partition.tick(nowUnixMs));
  }

  async recall(): Promise<number> {
    const { memory } = this.#options;
    if (memory === null) return 0;
    let count = 0;
    for (const [rule, asked] of this.#lacking()) {
      const found = await this.#histories(rule, asked, memory);
      await this.#each((partition) => partition.recall(rule, asked, found));
      count += asked.length;
    }
    return count;
  }

  lookAtHours(nowUnixMs: number): Promise<number> {
    // What was announced is read, and written at the end: two looks at once would lose the one's.
    const done = this.#looking.then(() => this.#look(nowUnixMs));
    this.#looking = done.catch(() => undefined);
    return done;
  }

  async lookAfterReload(nowUnixMs: number): Promise<number> {
    const isLookedFor = this.#lookedFor === keysOf(hourlyRules(this.#rules));
    return isLookedFor ? 0 : this.lookAtHours(nowUnixMs);
  }

  async #look(nowUnixMs: number): Promise<number> {
    const { memory, bus, snapshots, log } = this.#options;
    // One process looks: the one that has the first partition.
    const isFirst = Array.from(this.#partitions).some(({ name }) => name === "telemetry.metrics/0");
    if (memory === null || !isFirst) return 0;
    const { readHours } = memory;
    const rules = hourlyRules(this.#rules);
    const judged = await lookAtAllHours(rules, nowUnixMs, { bus, snapshots, readHours, log });
    this.#lookedFor = keysOf(rules);
    return judged;
  }

  async reload(next: DetectorsConfig): Promise<RuleChanges> {
    const changes = ruleChanges(this.#rules, rulesOf(next));
    this.#config = next;
    this.#rules = rulesOf(next);
    await this.#each((partition) => partition.rearm(this.#intakeFor(partition.topic)));
    return changes;
  }

  status(): RunnerStatus {
    const partitions = Array.from(this.#partitions, (partition) => partition.status());
    return { rules: this.#rules.map(({ name }) => name), readiness: sumReadiness(partitions), partitions };
  }

  async #each(work: (partition: Partition) => Promise<void>): Promise<void> {
    await Promise.all(Array.from(this.#partitions, work));
  }

  #intakeFor(topic: string): Intake {
    return topic === "telemetry.logs"
      ? new LogIntake(logWatches(this.#rules), this.#config)
      : new MetricIntake(metricWatches(this.#rules), this.#config);
  }

  async #open(assigned: AssignedPartition): Promise<PartitionHandler> {
    // A store that is away throws here, and opening is tried again. From here on nothing waits: new rules find this partition.
    const bytes = await savedPartition(assigned, this.#options.snapshots);
    const partition = this.#restored(assigned, bytes);
    this.#partitions.add(partition);
    return {
      startOffset: partition.startOffset,
      receive: (messages, endOffset) => partition.receive(messages, endOffset),
      close: async () => {
        this.#partitions.delete(partition);
        await partition.close();
      },
    };
  }

  /** Damaged state is no reason to see nothing: the partition is read anew. */
  #restored(assigned: AssignedPartition, bytes: Uint8Array | null): Partition {
    const { bus, snapshots, now, log } = this.#options;
    const snapshotIntervalMs = () => this.#config.snapshot_interval_s * 1000;
    const ports = { bus, snapshots, now, log, snapshotIntervalMs };
    const partition = new Partition(assigned, this.#intakeFor(assigned.topic), ports);
    if (bytes === null) return partition;
    try {
      partition.restore(bytes);
      return partition;
    } catch (error) {
      const { topic, partition: number } = assigned;
      const reason = error instanceof Error ? error.message : String(error);
      log.warn({ topic, partition: number, error: reason }, "the detectors' state is damaged and starts anew");
      return new Partition(assigned, this.#intakeFor(topic), ports);
    }
  }

  /** By rule: the series that some partition would learn about. */
  #lacking(): ReadonlyMap<string, readonly Series[]> {
    const all = new Map<string, Series[]>();
    for (const partition of this.#partitions)
      for (const [rule, series] of partition.lacking()) all.set(rule, [...(all.get(rule) ?? []), ...series]);
    return all;
  }

  async #histories(
    rule: string,
    asked: readonly Series[],
    { readHistories }: HourMemory,
  ): Promise<ReadonlyMap<string, History>> {
    const selector = this.#rules.find(({ name }) => name === rule);
    const found = new Map<string, History>();
    if (selector === undefined || !("metric" in selector)) return found;
    const wanted = new Set(asked.map(({ fingerprint }) => fingerprint));
    const { metric, labels } = selector;
    const fingerprints = wanted.size <= FINGERPRINTS_MAX ? [...wanted] : [];
    for await (const history of readHistories({ metric, labels, fingerprints, nowUnixMs: this.#options.now() }))
      if (wanted.has(history.fingerprint)) found.set(history.fingerprint, history);
    return found;
  }
}
