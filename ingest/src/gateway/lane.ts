import {
  BatchBuilder,
  BatchError,
  type Bus,
  type Checkpoint,
  type OutgoingMessage,
  SCHEMAS_OF_TOPIC,
  type TelemetryRow,
  type TelemetrySchema,
  type TelemetryTopic,
} from "@homeostat/schemas";
import type { BusHealth } from "./bus-health.ts";
import type { ByteRoom } from "./byte-room.ts";
import { GatewayError } from "./intake.ts";
import type { TopicLedger } from "./ledger.ts";

/** What one publish carries; far below PUBLISH_BYTES_MAX, so that a slow bus is still asked for something that it can do in time. */
const PUBLISH_BYTES = 8 * 1_048_576;
const BACK_OFF_MS_MIN = 100;
/** Short, because senders wait for at most some seconds. */
const BACK_OFF_MS_MAX = 5000;

export interface LaneOptions {
  readonly topic: TelemetryTopic;
  /** The key of its messages, `lane-<n>`: decides the partition. */
  readonly key: string;
  readonly producer: string;
  readonly bus: Bus;
  readonly lingerMs: number;
  readonly room: ByteRoom;
  readonly health: BusHealth;
  readonly ledger: TopicLedger;
  readonly random: () => number;
  /** Resolves after `ms`, or when the signal aborts. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Rows were lost for good: what was told by them is not known any more. */
  readonly onLost: () => void;
}

/** Rows that become batches and are published together; `durable` resolves when the bus has them. */
export interface RowGroup {
  readonly durable: Promise<void>;
}

class Group implements RowGroup {
  readonly #outcome = Promise.withResolvers<void>();
  readonly durable = this.#outcome.promise;
  messages: OutgoingMessage[] = [];
  rows = 0;
  bytes = 0;
  /** Of its last batch. */
  sequence = 0;

  constructor() {
    // Whoever waits hears of it; a sender that went away must not make it an unhandled rejection.
    this.durable.catch(() => undefined);
  }

  settle(error: Error | null): void {
    if (error === null) this.#outcome.resolve();
    else this.#outcome.reject(error);
  }
}

/**
 * One topic's rows of some of the hosts, in order. Rows of many requests gather in one batch for each schema, until one is full or has waited for
 * `lingerMs`; then all batches of the lane are finished together, what is told before what needs it. One publish is under way at a
 * time, and is repeated with the same values and sequences until the bus has them: ingest drops what it has seen (docs/adr/0006).
 */
export class Lane {
  readonly #options: LaneOptions;
  readonly #builders: { readonly [S in TelemetrySchema]: BatchBuilder<S> } = {
    log_resources: new BatchBuilder("log_resources"),
    logs: new BatchBuilder("logs"),
    metric_series: new BatchBuilder("metric_series"),
    metric_samples: new BatchBuilder("metric_samples"),
    metric_histograms: new BatchBuilder("metric_histograms"),
  };
  readonly #queue: Group[] = [];
  readonly #stopping = new AbortController();
  #open: Group | null = null;
  #timer: NodeJS.Timeout | undefined;
  #isDue = false;
  #publishing: Promise<void> | null = null;
  #sequence = 0;
  #delivered = { sequence: 0, rows: 0 };
  /** Called when the open group is about to be finished: what has been counted so far becomes rows. */
  beforeSeal: (() => void) | null = null;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** Of rows that are not in a finished batch yet, before compression. */
  get openBytes(): number {
    let bytes = 0;
    for (const schema of SCHEMAS_OF_TOPIC[this.#options.topic]) bytes += this.#builders[schema].byteLength;
    return bytes;
  }

  /** null before the bus has taken anything. */
  get checkpoint(): Checkpoint | null {
    const { topic, producer } = this.#options;
    return this.#delivered.sequence === 0 ? null : { topic, producer, ...this.#delivered, since_sequence: 1 };
  }

  /** `schema` is one of the topic's. @throws BatchError when a value is outside its column's range; nothing is appended then. */
  append<S extends TelemetrySchema>(schema: S, row: TelemetryRow<S>): RowGroup {
    const builder: BatchBuilder<S> = this.#builders[schema];
    try {
      builder.append(row);
    } catch (error) {
      if (!(error instanceof BatchError) || error.code !== "full") throw error;
      this.#seal();
      builder.append(row);
    }
    const group = this.openGroup();
    group.rows++;
    this.#options.ledger.produced(1);
    if (builder.isFull) {
      this.#seal();
      this.#publish();
    }
    return group;
  }

  /** The group that the next row goes to; from now on its time is running. */
  openGroup(): Group {
    if (this.#open !== null) return this.#open;
    this.#open = new Group();
    this.#timer = setTimeout(() => this.#due(), this.#options.lingerMs);
    return this.#open;
  }

  /** Publishes what there is; resolves when nothing waits any more, or when `signal` aborts: then the rest is given up. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#due();
    const giveUp = () => this.#stopping.abort();
    signal.addEventListener("abort", giveUp, { once: true });
    if (signal.aborted) giveUp();
    while (this.#publishing !== null) await this.#publishing;
    signal.removeEventListener("abort", giveUp);
    this.#stopping.abort();
    clearTimeout(this.#timer);
  }

  #due(): void {
    this.#isDue = true;
    this.#publish();
  }

  #publish(): void {
    if (this.#publishing !== null || (this.#queue.length === 0 && !this.#isDue)) return;
    this.#publishing = this.#run().finally(() => {
      this.#publishing = null;
      // Those who heard of the last publish may have brought more in the meantime.
      this.#publish();
    });
  }

  async #run(): Promise<void> {
    for (;;) {
      // While the bus is busy rows gather on, so that its next batches are larger.
      if (this.#isDue && this.#queue.length === 0) this.#seal();
      const groups = this.#nextGroups();
      if (groups.length === 0) return;
      const error = await this.#publishGroups(groups);
      if (error?.code !== "refused" || groups.length === 1) this.#settle(groups, error);
      // One may have condemned the others. A group is the smallest that its senders can send again without doubling a part of it.
      else for (const group of groups) this.#settle([group], await this.#publishGroups([group]));
    }
  }

  #nextGroups(): Group[] {
    let bytes = 0;
    const end = this.#queue.findIndex((group, index) => {
      bytes += group.bytes;
      return index > 0 && bytes > PUBLISH_BYTES;
    });
    return this.#queue.slice(0, end < 0 ? this.#queue.length : end);
  }

  /** null, or why they are lost for good. */
  async #publishGroups(groups: readonly Group[]): Promise<GatewayError | null> {
    const { bus, health, key, topic, random, wait } = this.#options;
    const at = `${topic} ${key}`;
    const messages = groups.flatMap((group) => group.messages);
    const { signal } = this.#stopping;
    for (let backOffMs = BACK_OFF_MS_MIN; ; backOffMs = Math.min(backOffMs * 2, BACK_OFF_MS_MAX)) {
      if (signal.aborted) return new GatewayError("stopped", "the gateway stopped before the bus had it");
      try {
        await bus.publish(messages);
        health.worked(at);
        return null;
      } catch (error) {
        if (!isRetryable(error)) {
          health.refused(at, error);
          return new GatewayError("refused", "the bus refuses it", { cause: error });
        }
        health.failed(at, error);
      }
      await wait(backOffMs * (0.5 + random() / 2), signal);
    }
  }

  /** `groups` are the queue's first. */
  #settle(groups: readonly Group[], error: GatewayError | null): void {
    const { ledger, room, onLost } = this.#options;
    this.#queue.splice(0, groups.length);
    for (const group of groups) {
      room.release(group.bytes);
      if (error === null) {
        ledger.delivered(group.rows);
        this.#delivered = { sequence: group.sequence, rows: this.#delivered.rows + group.rows };
      } else {
        ledger.dropped(error.code, group.rows);
        onLost();
      }
      group.settle(error);
    }
  }

  #seal(): void {
    this.beforeSeal?.();
    this.#isDue = false;
    clearTimeout(this.#timer);
    const group = this.#open;
    this.#open = null;
    if (group === null) return;
    for (const schema of SCHEMAS_OF_TOPIC[this.#options.topic]) this.#finish(this.#builders[schema], group);
    this.#options.room.hold(group.bytes);
    this.#queue.push(group);
  }

  #finish<S extends TelemetrySchema>(builder: BatchBuilder<S>, group: Group): void {
    if (builder.rowCount === 0) return;
    const { topic, key, producer } = this.#options;
    try {
      const value = builder.finish({ producer, sequence: this.#sequence + 1 });
      group.sequence = ++this.#sequence;
      group.messages.push({ topic, key, value });
      group.bytes += value.length;
    } catch (error) {
      // A single row always fits: RECORD_BYTES_MAX is below a message's size.
      if (!(error instanceof BatchError) || error.code !== "too_large" || builder.rowCount < 2) throw error;
      const newer = builder.split();
      this.#finish(builder, group);
      this.#finish(newer, group);
    }
  }
}

/** BusError says it; what does not say it is a defect, and a retry would hide it. */
const isRetryable = (error: unknown): error is Error =>
  error instanceof Error && "retryable" in error && error.retryable === true;
