import {
  type AssignedPartition,
  BatchBuilder,
  type BusMessage,
  Finding,
  type Log,
  metricId,
  type OutgoingMessage,
  seriesFingerprint,
  type TelemetryRow,
} from "@homeostat/schemas";
import { T0 } from "../play.fixture.ts";
import { DetectorsConfig, rulesOf } from "./config.ts";
import type { Intake } from "./intake.ts";
import { LogIntake } from "./log-intake.ts";
import { MetricIntake } from "./metric-intake.ts";
import { Partition, type Snapshots, savedPartition } from "./partition.ts";
import { logWatches, metricWatches } from "./watch.ts";

const nothing = () => undefined;
const silent: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

export interface Told {
  readonly metric: string;
  readonly host?: string;
  readonly kind?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

const labelsOf = ({ host = "h1", labels = {} }: Told): Record<string, string> => ({ "host.name": host, ...labels });
export const fingerprintOf = (told: Told): bigint => seriesFingerprint(told.metric, labelsOf(told));

export const seriesRow = (told: Told, seenAt: number): TelemetryRow<"metric_series"> => ({
  metric_id: metricId(told.metric),
  fingerprint: fingerprintOf(told),
  seen_at: seenAt,
  metric_name: told.metric,
  kind: told.kind ?? "gauge",
  unit: "1",
  host_name: told.host ?? "h1",
  service_name: "",
  attributes: labelsOf(told),
});

export const sampleRow = (told: Told, timestamp: number, value: number): TelemetryRow<"metric_samples"> => ({
  metric_id: metricId(told.metric),
  fingerprint: fingerprintOf(told),
  timestamp,
  value,
});

/** One partition's log, what it publishes and what it saves: everything outlives a crash of the partition that reads it. */
export class World {
  readonly messages: BusMessage[] = [];
  readonly published: Finding[] = [];
  readonly snapshots = new Map<string, Uint8Array>();
  readonly commits: number[] = [];
  nowUnixMs = T0;
  config = DetectorsConfig.parse({});
  publishFailures = 0;
  saves = 0;
  topic = "telemetry.metrics";
  #sequence = 0;

  message(value: Uint8Array | null, key: string | null = "h1"): void {
    const offset = this.messages.length;
    this.messages.push({
      topic: this.topic,
      partition: 0,
      offset,
      key,
      value,
      headers: {},
      timestampUnixMs: this.nowUnixMs,
    });
  }

  told(series: readonly Told[], key = "h1"): void {
    const batch = new BatchBuilder("metric_series");
    for (const one of series) batch.append(seriesRow(one, this.nowUnixMs));
    this.message(batch.finish({ producer: `${key}/a`, sequence: this.#sequence++ }), key);
  }

  sampled(samples: readonly (readonly [Told, number])[], { time = this.nowUnixMs, key = "h1" } = {}): void {
    const batch = new BatchBuilder("metric_samples");
    for (const [one, value] of samples) batch.append(sampleRow(one, time, value));
    this.message(batch.finish({ producer: `${key}/a`, sequence: this.#sequence++ }), key);
  }

  logged(lines: readonly { readonly text: string; readonly severity: number; readonly time?: number }[]): void {
    const batch = new BatchBuilder("logs");
    for (const { text, severity, time } of lines)
      batch.append({
        timestamp: BigInt(time ?? this.nowUnixMs) * 1_000_000n,
        severity_number: severity,
        service_name: "shop",
        host_name: "h1",
        trace_id: "",
        span_id: "",
        body: text,
        attributes: {},
      });
    this.message(batch.finish({ producer: "h1/a", sequence: this.#sequence++ }));
  }

  /** What the rules of `config` make of the topic. */
  intake(): Intake {
    const rules = rulesOf(this.config);
    return this.topic === "telemetry.logs"
      ? new LogIntake(logWatches(rules), this.config)
      : new MetricIntake(metricWatches(rules), this.config);
  }

  async open(): Promise<Partition> {
    const snapshots: Snapshots = {
      load: async (_, key) => this.snapshots.get(key) ?? null,
      save: async (_, key, __, bytes) => {
        this.saves++;
        this.snapshots.set(key, bytes);
      },
    };
    const assigned: AssignedPartition = {
      topic: this.topic,
      partition: 0,
      committed: null,
      earliestOffset: 0,
      endOffset: this.messages.length,
      signal: new AbortController().signal,
      commit: async (offset) => void this.commits.push(offset),
    };
    const bytes = await savedPartition(assigned, snapshots);
    const partition = new Partition(assigned, this.intake(), {
      bus: { publish: (messages) => this.#publish(messages) },
      snapshots,
      now: () => this.nowUnixMs,
      log: silent,
      snapshotIntervalMs: () => this.config.snapshot_interval_s * 1000,
    });
    if (bytes !== null) partition.restore(bytes);
    return partition;
  }

  async #publish(messages: readonly OutgoingMessage[]): Promise<void> {
    if (this.publishFailures > 0) {
      this.publishFailures--;
      throw new Error("the bus is away");
    }
    for (const { value } of messages)
      this.published.push(Finding.parse(JSON.parse(Buffer.from(value ?? []).toString())));
  }

  /** Delivers what the partition has not received, as the bus does. */
  async pump(partition: Partition): Promise<void> {
    const rest = this.messages.slice(partition.status().next_offset);
    if (rest.length > 0) await partition.receive(rest, this.messages.length);
  }

  /** Lets a second pass. */
  async second(partition: Partition): Promise<void> {
    this.nowUnixMs += 1000;
    await partition.tick(this.nowUnixMs);
  }

  get story(): readonly string[] {
    return this.published.map(({ rule, state }) => `${rule} ${state}`);
  }
}
