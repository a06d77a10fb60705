import {
  type AckMeta,
  encodeRecord,
  type RecordKind,
  type RecordOf,
  type SegmentRecord,
  type SnapshotMeta,
} from "./record.ts";
import { type Extent, RowCounts, type RowsOf } from "./row-counts.ts";

type Marks = Readonly<Record<string, string | null>>;

/**
 * What the spool remembers: under which name and sequence it goes, its counts, its marks. A snapshot holds all of it, and every record behind
 * the snapshot carries it on, so that what was written can be replayed.
 */
export class SpoolState {
  #producer: string;
  /** The first sequence of the producer. */
  #producerSince = 0;
  #nextSequence = 1;
  #ackedSequence = 0;
  /** Nothing has been replayed that says what was delivered. */
  #isBlank = true;
  readonly #marks = new Map<string, string>();
  /** Changed by the state alone. */
  readonly counts = new RowCounts();
  /** The counts have changed, and no record says so yet. */
  isAckPending = false;

  constructor(producer: string) {
    this.#producer = producer;
  }

  get producer(): string {
    return this.#producer;
  }

  get nextSequence(): number {
    return this.#nextSequence;
  }

  get marks(): ReadonlyMap<string, string> {
    return this.#marks;
  }

  append({ topic, rows, marks }: { readonly topic: string; readonly rows: number; readonly marks: Marks }): void {
    this.counts.append(topic, rows);
    this.#nextSequence += 1;
    this.merge(marks);
  }

  /** Null takes a mark away. */
  merge(marks: Marks): void {
    for (const [key, mark] of Object.entries(marks)) {
      if (mark === null) this.#marks.delete(key);
      else this.#marks.set(key, mark);
    }
  }

  reject(topic: string, reason: string, rows: number): void {
    this.counts.reject(topic, reason, rows);
    this.isAckPending = true;
  }

  /** False when its segment was dropped while it was on its way. */
  deliver(record: RowsOf): boolean {
    if (record.sequence >= this.#producerSince) this.counts.reach(record);
    const isPending = record.appendedThrough > this.counts.consumed;
    if (isPending) {
      this.counts.deliver(record);
      this.#ackedSequence = Math.max(this.#ackedSequence, record.sequence);
    } else this.counts.deliverLate(record);
    return isPending;
  }

  /** False when its segment was dropped, which has counted it. */
  refuse(record: RowsOf, reason: string): boolean {
    const isPending = record.appendedThrough > this.counts.consumed;
    if (isPending) {
      this.counts.refuse(record, reason);
      this.#ackedSequence = Math.max(this.#ackedSequence, record.sequence);
    }
    return isPending;
  }

  /** All that was appended up to here is gone: the spool was full. */
  drop(extent: Extent): void {
    if (extent.appendedThrough <= this.counts.consumed) return;
    this.counts.drop(extent, "spool_full");
    this.isAckPending = true;
  }

  ackRecord(): Buffer {
    return this.#encode("ack", this.#ackMeta());
  }

  marksRecord(marks: Marks): Buffer {
    return this.#encode("marks", { marks, through: this.counts.extent().through });
  }

  snapshotRecord(sealed: readonly (Extent & { readonly index: number })[]): Buffer {
    const { appendedThrough, through } = this.counts.extent();
    return this.#encode("snapshot", {
      ...this.#ackMeta(),
      producer: this.#producer,
      producer_since: this.#producerSince,
      next_sequence: this.#nextSequence,
      appended: appendedThrough,
      marks: Object.fromEntries(this.#marks),
      through,
      sealed: sealed.map(({ index, appendedThrough, through }) => ({
        index,
        appended_through: appendedThrough,
        through,
      })),
    });
  }

  #encode<Kind extends RecordKind>(kind: Kind, meta: RecordOf<Kind>["meta"]): Buffer {
    return encodeRecord<Kind>({
      kind,
      sequence: this.#nextSequence - 1,
      rows: 0,
      appendedThrough: this.counts.appended,
      meta,
    });
  }

  #ackMeta(): AckMeta {
    return { ...this.counts.saved(), acked_sequence: this.#ackedSequence };
  }

  load(snapshot: SnapshotMeta): void {
    this.#producer = snapshot.producer;
    this.#producerSince = snapshot.producer_since;
    this.#nextSequence = snapshot.next_sequence;
    this.counts.raise({ appendedThrough: snapshot.appended, through: snapshot.through });
    this.#loadAck(snapshot);
    this.merge(snapshot.marks);
  }

  replay({ kind, meta, sequence, rows, appendedThrough }: SegmentRecord): void {
    this.#nextSequence = Math.max(this.#nextSequence, sequence + 1);
    this.counts.raise({ appendedThrough, through: kind === "data" || kind === "marks" ? meta.through : {} });
    if (kind === "data" && this.#isBlank) {
      this.#isBlank = false;
      this.counts.beginAt({ topic: meta.topic, sequence, rows, appendedThrough, through: meta.through });
    }
    if (kind === "data" || kind === "marks") this.merge(meta.marks);
    if (kind === "ack") this.#loadAck(meta);
  }

  /** All that could be read has been replayed. */
  settle({ hasSnapshot }: { readonly hasSnapshot: boolean }): void {
    this.counts.raise({ appendedThrough: this.counts.consumed, through: {} });
    this.#nextSequence = Math.max(this.#nextSequence, this.#ackedSequence + 1);
    if (hasSnapshot) return;
    this.#producerSince = this.#nextSequence;
    this.counts.beginProducer();
  }

  /** Leaves out sequences that may have been used. */
  leap(sequences: number): void {
    this.#nextSequence += sequences;
  }

  #loadAck(ack: AckMeta): void {
    this.#isBlank = false;
    this.#ackedSequence = ack.acked_sequence;
    this.counts.load(ack);
  }
}
