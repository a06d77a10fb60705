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
import type { History, Readiness } from "../detector.ts";
import type { Series } from "../series.ts";
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
  /** Asked each time: a reload may change it. */
  readonly snapshotIntervalMs: () => number;
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
    readonly staleness_markers: number;
  };
  readonly late_rows: number;
  readonly subjects: number;
  readonly refused_subjects: number;
  /** By rule: how many subjects are known well enough to be judged. */
  readonly readiness: Readonly<Record<string, Readiness>>;
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

/** What snapshots may write on average: a large state is saved less often than a small one. */
const SNAPSHOT_BYTES_PER_S = 4096;
/** But so often at least, so that a crash does not replay more; a configured interval that is longer stands. */
const SNAPSHOT_STRETCH_MS_MAX = 600_000;
/** A state that nothing has changed is written so often all the same: what the store has of it expires. */
const SNAPSHOT_UNCHANGED_MS = 3_600_000;

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

type Place = Pick<AssignedPartition, "topic" | "partition">;
const keyOf = ({ topic, partition }: Place): string => `${topic}/${partition}`;

/** What was saved for a partition; null when nothing was. A store that cannot be reached is the caller's to try again. */
export const savedPartition = (place: Place, snapshots: Snapshots): Promise<Uint8Array | null> =>
  snapshots.load(SNAPSHOT_NAME, keyOf(place));

/**
 * One partition of telemetry: its rules' state, the offset that belongs to that state, and the findings that the bus has yet to take.
 * State and offset are saved in one piece; the committed offset only tells others how far this is. So a crash replays messages into the very
 * state that they met before, and finds the same again. What ticks find no message can replay: it is saved as waiting before it is published.
 */
export class Partition implements PartitionHandler {
  readonly #assigned: AssignedPartition;
  #intake: Intake;
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
  #triedAt: number;
  #intervalMs: number;
  /** Whether something has happened that the last snapshot does not know of. */
  #isChanged = false;
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
    this.#triedAt = ports.now();
    this.#intervalMs = ports.snapshotIntervalMs();
  }

  get startOffset(): number {
    return this.#nextOffset;
  }

  get topic(): string {
    return this.#assigned.topic;
  }

  /** `topic/number`. */
  get name(): string {
    return keyOf(this.#assigned);
  }

  get #place(): { readonly topic: string; readonly partition: number } {
    return { topic: this.#assigned.topic, partition: this.#assigned.partition };
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
        this.#isChanged = true;
        if (rows < ROWS_PER_TURN) continue;
        rows = 0;
        await yieldTurn();
      }
      this.#endOffset = endOffset;
      await this.#publish();
      if (this.#isSnapshotDue()) await this.#save();
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

  /** Other rules from now on. What both know goes on as it was; what fires for a rule that is gone, or is another now, is taken back. */
  rearm(intake: Intake): Promise<void> {
    return this.#exclusive(async () => {
      this.#outbox.push(...intake.load(this.#intake.save()));
      Object.assign(intake.counts, this.#intake.counts);
      this.#intake = intake;
      await this.#save();
      await this.#publishLater();
    });
  }

  /** By rule: the series that it would learn about from what the store remembers. */
  lacking(): ReadonlyMap<string, readonly Series[]> {
    return this.#intake.lacking();
  }

  recall(rule: string, asked: readonly Series[], histories: ReadonlyMap<string, History>): Promise<void> {
    return this.#exclusive(async () => {
      this.#intake.recall(rule, asked, histories);
      this.#isChanged = true;
    });
  }

  close(): Promise<void> {
    return this.#exclusive(async () => {
      await this.#publishLater();
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
        staleness_markers: counts.stale,
      },
      late_rows: counts.late,
      subjects: this.#intake.subjects,
      refused_subjects: this.#intake.refused,
      readiness: Object.fromEntries(this.#intake.readiness(this.#ports.now())),
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
    if (findings.length > 0) this.#isChanged = true;
    if (isNews || this.#isSnapshotDue()) await this.#save();
    await this.#publish();
  }

  /** A clock that was set back makes it due at once. */
  #isSnapshotDue(): boolean {
    const now = this.#ports.now();
    const sinceTried = now - this.#triedAt;
    if (sinceTried >= 0 && sinceTried < this.#intervalMs) return false;
    const sinceSaved = now - (this.#snapshotAt ?? Number.NEGATIVE_INFINITY);
    return this.#isChanged || sinceSaved < 0 || sinceSaved >= SNAPSHOT_UNCHANGED_MS;
  }

  /** What the bus does not take now waits for the next tick. */
  async #publishLater(): Promise<void> {
    try {
      await this.#publish();
    } catch (error) {
      this.#lastError = messageOf(error);
    }
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
    this.#isChanged = true;
    this.#lastError = "";
  }

  /** A snapshot that cannot be written is tried again at the next interval: until then a crash replays more. */
  async #save(): Promise<void> {
    const { now, snapshots, snapshotIntervalMs, log } = this.#ports;
    this.#triedAt = now();
    const intake = this.#intake.save();
    const json: z.input<typeof Saved> = {
      next_offset: this.#nextOffset,
      producers: [...this.#producers],
      outbox: this.#outbox,
      intake: intake.json,
    };
    const offset = this.#nextOffset;
    const bytes = encodeSnapshot({ json, columns: intake.columns });
    const stretchMs = Math.min((bytes.length / SNAPSHOT_BYTES_PER_S) * 1000, SNAPSHOT_STRETCH_MS_MAX);
    this.#intervalMs = Math.max(snapshotIntervalMs(), stretchMs);
    try {
      await snapshots.save(SNAPSHOT_NAME, keyOf(this.#assigned), SNAPSHOT_VERSION, bytes);
      this.#snapshotAt = now();
      this.#isChanged = false;
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
