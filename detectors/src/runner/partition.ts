import {
  type AssignedPartition,
  BatchError,
  type Bus,
  type BusMessage,
  decodeBatch,
  Finding,
  type Log,
  type PartitionHandler,
} from "@homeostat/schemas";
import { z } from "zod";
import type { Intake } from "./intake.ts";
import { decodeSnapshot, encodeSnapshot, SNAPSHOT_VERSION } from "./snapshot.ts";

export interface Snapshots {
  load(name: string, key: string): Promise<Uint8Array | null>;
  save(name: string, key: string, version: number, bytes: Uint8Array): Promise<void>;
}

export interface PartitionPorts {
  readonly bus: Pick<Bus, "publish">;
  readonly snapshots: Snapshots;
  readonly now: () => number;
  readonly log: Log;
  readonly snapshotIntervalMs: number;
}

export interface PartitionStatus {
  readonly topic: string;
  readonly partition: number;
  readonly next_offset: number;
  readonly lag_messages: number;
  readonly batches: number;
  readonly rows: number;
  readonly skipped: {
    readonly malformed_batches: number;
    readonly repeated_batches: number;
    readonly future_rows: number;
    readonly unknown_series_rows: number;
  };
  readonly late_rows: number;
  readonly subjects: number;
  readonly refused_subjects: number;
  readonly findings_published: number;
  /** Findings that the bus has not taken yet. */
  readonly findings_waiting: number;
  readonly snapshot_at_unix_ms: number | null;
  /** Why the last snapshot or the last publishing at a tick failed; empty when it did not. */
  readonly last_error: string;
}

const SNAPSHOT_NAME = "detectors";

/** Producers whose newest sequence is remembered; the one that was heard least recently makes room. */
const PRODUCERS_MAX = 10_000;

/** The observer keeps up when no more messages than this wait for it. */
const LAG_MESSAGES_MAX = 100;

/** Ticks further apart: the observer itself stood still, and what it did not hear proves nothing. */
const TICK_GAP_MS = 5000;

/** Other work of the process gets its turn after so many rows. */
const ROWS_PER_TURN = 20_000;

const Saved = z.strictObject({
  next_offset: z.int().min(0),
  producers: z.array(z.tuple([z.string(), z.int().min(0)])).max(PRODUCERS_MAX),
  outbox: z.array(Finding),
  intake: z.unknown(),
});

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const yieldTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * One partition of telemetry: its rules' state, the offset that belongs to that state, and the findings that the bus has yet to take.
 * State and offset are saved in one piece; the committed offset only tells others how far this is. So a crash replays messages into the very
 * state that they met before, and finds the same again. What ticks find no message can replay: it is saved as waiting before it is published.
 */
export class Partition implements PartitionHandler {
  readonly #assigned: AssignedPartition;
  readonly #intake: Intake;
  readonly #ports: PartitionPorts;
  readonly #producers = new Map<string, number>();
  #outbox: Finding[] = [];
  #nextOffset: number;
  #endOffset: number;
  #turn: Promise<unknown> = Promise.resolve();
  #isTicking = false;
  #tickedAt: number | null = null;
  #observingSince = Number.POSITIVE_INFINITY;
  #snapshotAt: number | null = null;
  #committed: number | null = null;
  #snapshotDueAt: number;
  #batches = 0;
  #malformed = 0;
  #repeated = 0;
  #published = 0;
  #lastError = "";

  constructor(assigned: AssignedPartition, intake: Intake, ports: PartitionPorts) {
    this.#assigned = assigned;
    this.#intake = intake;
    this.#ports = ports;
    this.#nextOffset = assigned.earliestOffset;
    this.#endOffset = assigned.endOffset;
    this.#committed = assigned.committed?.offset ?? null;
    this.#snapshotDueAt = ports.now() + ports.snapshotIntervalMs;
  }

  get startOffset(): number {
    return this.#nextOffset;
  }

  get #place(): { readonly topic: string; readonly partition: number } {
    return { topic: this.#assigned.topic, partition: this.#assigned.partition };
  }

  get #key(): string {
    return `${this.#assigned.topic}/${this.#assigned.partition}`;
  }

  /** What was saved for this partition; null when nothing was. A store that cannot be reached is the caller's to try again. */
  saved(): Promise<Uint8Array | null> {
    return this.#ports.snapshots.load(SNAPSHOT_NAME, this.#key);
  }

  /** Takes up what was saved. Without it the whole partition is read again: it teaches, and what is old announces nothing. @throws on damaged bytes. */
  restore(bytes: Uint8Array): void {
    const { json, columns } = decodeSnapshot(bytes);
    const saved = Saved.parse(json);
    const orphans = this.#intake.load({ json: saved.intake, columns });
    for (const [producer, sequence] of saved.producers) this.#producers.set(producer, sequence);
    this.#outbox = [...saved.outbox, ...orphans];
    const { earliestOffset, endOffset } = this.#assigned;
    // An offset beyond the end is of another log than this: read this one whole.
    this.#nextOffset = saved.next_offset > endOffset ? earliestOffset : Math.max(saved.next_offset, earliestOffset);
  }

  receive(messages: readonly BusMessage[], endOffset: number): Promise<void> {
    return this.#exclusive(async () => {
      // What could not be published before goes first: until then these messages, which come again, are not looked at.
      await this.#publish();
      let rows = 0;
      for (const message of messages) {
        if (message.offset < this.#nextOffset) continue;
        rows += this.#take(message);
        this.#nextOffset = message.offset + 1;
        if (rows < ROWS_PER_TURN) continue;
        rows = 0;
        await yieldTurn();
      }
      this.#endOffset = endOffset;
      await this.#publish();
      if (this.#ports.now() >= this.#snapshotDueAt) await this.#save();
    });
  }

  /** Moves time on. A tick that comes while the one before is still at work is dropped. */
  async tick(nowUnixMs: number): Promise<void> {
    if (this.#isTicking || this.#assigned.signal.aborted) return;
    this.#isTicking = true;
    try {
      await this.#exclusive(() => this.#passTime(nowUnixMs));
    } catch (error) {
      this.#lastError = messageOf(error);
      this.#ports.log.warn({ ...this.#place, error: this.#lastError }, "findings wait: the bus did not take them");
    } finally {
      this.#isTicking = false;
    }
  }

  close(): Promise<void> {
    return this.#exclusive(async () => {
      await this.#publish().catch((error: unknown) => {
        this.#lastError = messageOf(error);
      });
      await this.#save();
    });
  }

  status(): PartitionStatus {
    const { counts } = this.#intake;
    return {
      ...this.#place,
      next_offset: this.#nextOffset,
      lag_messages: Math.max(0, this.#endOffset - this.#nextOffset),
      batches: this.#batches,
      rows: counts.rows,
      skipped: {
        malformed_batches: this.#malformed,
        repeated_batches: this.#repeated,
        future_rows: counts.future,
        unknown_series_rows: counts.unknown,
      },
      late_rows: counts.late,
      subjects: this.#intake.subjects,
      refused_subjects: this.#intake.refused,
      findings_published: this.#published,
      findings_waiting: this.#outbox.length,
      snapshot_at_unix_ms: this.#snapshotAt,
      last_error: this.#lastError,
    };
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** Answers how many rows it was. */
  #take({ key, value, offset }: BusMessage): number {
    if (value === null) return 0;
    try {
      const batch = decodeBatch(value);
      const { producer, sequence } = batch.header;
      if (sequence <= (this.#producers.get(producer) ?? -1)) {
        this.#repeated++;
        return 0;
      }
      this.#remember(producer, sequence);
      this.#batches++;
      this.#outbox.push(...this.#intake.take(batch, { key, nowUnixMs: this.#ports.now() }));
      return batch.rowCount;
    } catch (error) {
      if (!(error instanceof BatchError)) throw error;
      this.#malformed++;
      this.#ports.log.warn(
        { ...this.#place, offset, code: error.code, error: error.message },
        "a malformed batch is passed over",
      );
      return 0;
    }
  }

  #remember(producer: string, sequence: number): void {
    this.#producers.delete(producer);
    this.#producers.set(producer, sequence);
    if (this.#producers.size <= PRODUCERS_MAX) return;
    const [oldest] = this.#producers.keys();
    if (oldest !== undefined) this.#producers.delete(oldest);
  }

  async #passTime(nowUnixMs: number): Promise<void> {
    await this.#publish();
    const sinceTick = nowUnixMs - (this.#tickedAt ?? Number.NEGATIVE_INFINITY);
    const isKeepingUp = this.#endOffset - this.#nextOffset <= LAG_MESSAGES_MAX;
    if (!isKeepingUp) this.#observingSince = Number.POSITIVE_INFINITY;
    else if (sinceTick < 0 || sinceTick > TICK_GAP_MS || this.#observingSince === Number.POSITIVE_INFINITY) {
      this.#observingSince = nowUnixMs;
    }
    this.#tickedAt = nowUnixMs;
    const findings = this.#intake.tick({ nowUnixMs, observingSinceUnixMs: this.#observingSince });
    this.#outbox.push(...findings);
    const isNews = findings.some((finding) => finding.state !== "firing" || finding.detected_at_unix_ms === nowUnixMs);
    if (isNews || this.#ports.now() >= this.#snapshotDueAt) await this.#save();
    await this.#publish();
  }

  async #publish(): Promise<void> {
    const findings = [...this.#outbox];
    if (findings.length === 0) return;
    await this.#ports.bus.publish(
      findings.map((finding) => ({
        topic: "detect.findings",
        key: finding.entity.host,
        value: Buffer.from(JSON.stringify(finding)),
      })),
    );
    this.#outbox = this.#outbox.slice(findings.length);
    this.#published += findings.length;
    this.#lastError = "";
  }

  /** A snapshot that cannot be written is tried again at the next interval: until then a crash replays more. */
  async #save(): Promise<void> {
    const { now, snapshots, snapshotIntervalMs, log } = this.#ports;
    this.#snapshotDueAt = now() + snapshotIntervalMs;
    const intake = this.#intake.save();
    const json: z.input<typeof Saved> = {
      next_offset: this.#nextOffset,
      producers: [...this.#producers],
      outbox: this.#outbox,
      intake: intake.json,
    };
    const offset = this.#nextOffset;
    const bytes = encodeSnapshot({ json, columns: intake.columns });
    try {
      await snapshots.save(SNAPSHOT_NAME, this.#key, SNAPSHOT_VERSION, bytes);
      this.#snapshotAt = now();
      this.#lastError = "";
    } catch (error) {
      this.#lastError = messageOf(error);
      log.warn({ ...this.#place, error: this.#lastError }, "the detectors' state was not saved");
      return;
    }
    if (this.#committed === offset) return;
    try {
      await this.#assigned.commit(offset);
      this.#committed = offset;
    } catch (error) {
      log.debug({ ...this.#place, offset, error: messageOf(error) }, "the detectors' place was not committed");
    }
  }
}
