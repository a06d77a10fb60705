import { randomBytes } from "node:crypto";
import { mkdirSync, writeSync } from "node:fs";
import type { Checkpoint, Ledger, Log, TopicLedgers } from "@homeostat/schemas";
import { PendingRecords, type SpoolRecord } from "./pending-records.ts";
import { encodeRecord, RECORD_BYTES_MAX } from "./record.ts";
import { recover } from "./recover.ts";
import type { Extent } from "./row-counts.ts";
import { SegmentReader } from "./segment-reader.ts";
import { type AppendOutcome, Segments, type WriteAt } from "./segments.ts";
import { SpoolState } from "./state.ts";

export type { SpoolRecord } from "./pending-records.ts";
export type { AppendOutcome, WriteAt } from "./segments.ts";

const SEGMENT_BYTES_MAX = 4 * 1_048_576;

export interface SpoolOptions {
  readonly dir: string;
  readonly host: string;
  readonly bytesMax: number;
  readonly log: Log;
  readonly segmentBytes?: number;
  /** For tests of a full disk. */
  readonly write?: WriteAt;
}

interface Parts {
  readonly state: SpoolState;
  readonly reader: SegmentReader;
  readonly segments: Segments;
}

/**
 * A bounded queue of batches on disk, and the agent's memory of what it has read: marks travel in the record whose rows they stand for,
 * so that a kill at any moment neither loses nor doubles a row.
 *
 * Nothing but segments is kept. Each begins with a snapshot of the whole state and goes on with data, acks and marks in order, so the newest
 * segment alone tells how things stand: start-up reads at most one segment. Rows are counted cumulatively, which makes every hole countable.
 *
 * fsync: only `sync()`, which the publisher awaits before it publishes. What was published is therefore never lost from here by a power cut, so
 * no sequence is used twice; what was not yet published is read again from the log files by its marks. Acks are not synced: an ack that is lost
 * means a batch published again, which ingest drops by its sequence.
 */
export class Spool {
  readonly #bytesMax: number;
  readonly #state: SpoolState;
  readonly #reader: SegmentReader;
  readonly #segments: Segments;
  readonly #pending: PendingRecords;
  #syncedSequence = 0;
  #isClosed = false;
  /** How many times more slowly than they could those who can wait are asked to fill it: the agent is above its own limits. */
  slowdown = 1;

  private constructor(bytesMax: number, { state, reader, segments }: Parts) {
    this.#bytesMax = bytesMax;
    this.#state = state;
    this.#reader = reader;
    this.#segments = segments;
    this.#pending = new PendingRecords(segments, reader);
  }

  static open(options: SpoolOptions): Spool {
    const { dir, host, bytesMax, log, write = writeSync } = options;
    const segmentBytes = options.segmentBytes ?? Math.min(SEGMENT_BYTES_MAX, Math.floor(bytesMax / 8));
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const state = new SpoolState(`${host}/${randomBytes(8).toString("hex")}`);
    const reader = new SegmentReader({ dir, log });
    const found = recover(state, { dir, reader, log });
    const segments = new Segments({ dir, segmentBytes, write, log }, found);
    const spool = new Spool(bytesMax, { state, reader, segments });
    if (!found.isNewestSound) spool.#roll();
    spool.#removeConsumed();
    return spool;
  }

  get producer(): string {
    return this.#state.producer;
  }

  /** The sequence that the next appended batch gets. */
  get nextSequence(): number {
    return this.#state.nextSequence;
  }

  get bytes(): number {
    return this.#segments.bytes;
  }

  /** Whoever can wait should wait now: log files keep their lines by themselves. */
  get isNearlyFull(): boolean {
    return this.hasPending && this.bytes > 0.75 * this.#bytesMax;
  }

  get marks(): ReadonlyMap<string, string> {
    return this.#state.marks;
  }

  /** Why the disk refuses us; null when it does not. */
  get problem(): string | null {
    return this.#segments.problem;
  }

  get hasPending(): boolean {
    return this.#state.counts.hasPending;
  }

  ledger(): Ledger {
    return this.#state.counts.ledger();
  }

  /** The same account for each topic. */
  topicLedgers(): TopicLedgers {
    return this.#state.counts.topicLedgers();
  }

  /** How far the bus has each topic's batches. */
  checkpoints(): Checkpoint[] {
    return this.#state.counts.checkpoints(this.producer);
  }

  /** Takes a batch that was made with `producer` and `nextSequence`, or says why not; a refused batch is not counted. */
  append(batch: {
    topic: string;
    rows: number;
    value: Uint8Array;
    marks?: Readonly<Record<string, string | null>>;
  }): AppendOutcome {
    const { topic, rows, value, marks = {} } = batch;
    const sequence = this.nextSequence;
    const extent = this.#state.counts.extent(topic, rows);
    const { appendedThrough, through } = extent;
    const isNext = !this.hasPending;
    const meta = { topic, marks, through };
    const bytes = encodeRecord({ kind: "data", sequence, rows, appendedThrough, meta, value });
    const outcome = this.#put(bytes, extent);
    if (!outcome.appended) return outcome;
    this.#state.append({ topic, rows, marks });
    const next = this.#segments.end;
    const at = { index: next.index, offset: next.offset - bytes.length };
    this.#pending.add({ topic, sequence, rows, value, appendedThrough, through, next }, { at, isNext });
    if (this.#state.isAckPending) this.#writeAck();
    return outcome;
  }

  /** Marks that stand for no rows. */
  mark(marks: Readonly<Record<string, string | null>>): AppendOutcome {
    const outcome = this.#put(this.#state.marksRecord(marks));
    if (outcome.appended) this.#state.merge(marks);
    return outcome;
  }

  /** Rows that were dropped before they were spooled. */
  reject(reason: string, rows: number, topic: string): void {
    if (rows !== 0) this.#state.reject(topic, reason, rows);
  }

  /** Makes durable what has been appended so far; `peek` shows no more than that. */
  async sync(): Promise<void> {
    const through = this.nextSequence - 1;
    if (through <= this.#syncedSequence) return;
    await this.#segments.sync();
    this.#syncedSequence = Math.max(this.#syncedSequence, through);
  }

  /** The oldest records that are neither delivered nor dropped, in order; the same ones until they are acked or refused. */
  peek(limits: { recordsMax: number; bytesMax: number }): SpoolRecord[] {
    const { consumed } = this.#state.counts;
    return this.#pending.peek({ ...limits, consumed, sequenceMax: this.#syncedSequence });
  }

  /** These records, from `peek`, are with the platform. */
  ack(records: readonly SpoolRecord[]): void {
    for (const record of records) if (this.#state.deliver(record)) this.#pending.pass(record);
    this.#afterConsumption();
  }

  /** The platform will never take this record. */
  refuse(record: SpoolRecord, reason: string): void {
    if (this.#state.refuse(record, reason)) this.#pending.pass(record);
    this.#afterConsumption();
  }

  close(): void {
    this.#writeAck();
    this.#isClosed = true;
    this.#segments.close();
    this.#reader.close();
  }

  #put(bytes: Buffer, extent?: Extent): AppendOutcome {
    if (this.#isClosed) return { appended: false, reason: "closed" };
    if (bytes.length > RECORD_BYTES_MAX) return { appended: false, reason: "too_large" };
    if (this.#segments.isFull) {
      const rolled = this.#roll();
      if (!rolled.appended) return rolled;
    }
    while (this.bytes + bytes.length > this.#bytesMax && this.#segments.list.length > 1) {
      this.#state.drop(this.#segments.oldest().extent);
      this.#removeOldest();
    }
    return this.#segments.write(bytes, extent);
  }

  #roll(): AppendOutcome {
    const from = this.#segments.end;
    const sealed = this.#segments.list.map(({ index, extent }) => ({ index, ...extent }));
    const outcome = this.#segments.roll(this.#state.snapshotRecord(sealed), this.#state.counts.extent());
    if (!outcome.appended) return outcome;
    // Before the first batch there is nothing to read.
    if (sealed.length === 0) this.#pending.skip(from, this.#segments.end);
    this.#removeConsumed();
    return outcome;
  }

  #writeAck(): void {
    if (!this.#segments.isWritable) return;
    const from = this.#segments.end;
    this.#state.isAckPending = !this.#segments.write(this.#state.ackRecord()).appended;
    this.#pending.skip(from, this.#segments.end);
  }

  #afterConsumption(): void {
    this.#writeAck();
    this.#removeConsumed();
    if (this.#state.isAckPending) this.#writeAck();
  }

  #removeConsumed(): void {
    // Without a segment to write to, an old one may hold the only sound snapshot.
    if (!this.#segments.isWritable) return;
    while (
      this.#segments.list.length > 1 &&
      this.#segments.oldest().extent.appendedThrough <= this.#state.counts.consumed
    )
      this.#removeOldest();
  }

  #removeOldest(): void {
    // An open file would go on taking its room on the disk.
    this.#reader.release(this.#segments.oldest());
    this.#segments.removeOldest();
  }
}
