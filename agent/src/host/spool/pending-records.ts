import type { Extent } from "./row-counts.ts";
import type { SegmentReader } from "./segment-reader.ts";
import type { Position, Segments } from "./segments.ts";

/** Its extent includes its rows. */
export interface SpoolRecord extends Extent {
  readonly topic: string;
  readonly sequence: number;
  readonly rows: number;
  readonly value: Uint8Array;
  /** Where the next record begins. */
  readonly next: Position;
}

const isAt = (a: Position, b: Position): boolean => a.index === b.index && a.offset === b.offset;

/** The queue's front: where the oldest record stands that is still to be delivered, and which ones follow. */
export class PendingRecords {
  readonly #segments: Segments;
  readonly #reader: SegmentReader;
  #head: Position;
  /** The newest batch, as long as it is the next to be delivered: what was just written need not be read back. */
  #fresh: { readonly at: Position; readonly record: SpoolRecord } | null = null;

  constructor(segments: Segments, reader: SegmentReader) {
    this.#segments = segments;
    this.#reader = reader;
    this.#head = { index: segments.list[0]?.index ?? 0, offset: 0 };
  }

  /** Records behind the first `consumed` rows and up to a sequence, in order. */
  peek(limits: {
    readonly recordsMax: number;
    readonly bytesMax: number;
    readonly consumed: number;
    readonly sequenceMax: number;
  }): SpoolRecord[] {
    const records: SpoolRecord[] = [];
    let bytes = 0;
    let at = this.#head;
    while (records.length < limits.recordsMax) {
      const { found, at: position } = this.#find(at, limits.consumed);
      // Acks, marks and what cannot be read lie behind the head: they are not walked over again.
      if (records.length === 0) this.#head = position;
      if (found === null || found.sequence > limits.sequenceMax) break;
      bytes += found.value.length;
      if (records.length > 0 && bytes > limits.bytesMax) break;
      records.push(found);
      at = found.next;
    }
    return records;
  }

  /** This record has just been written at `at`. */
  add(record: SpoolRecord, { at, isNext }: { readonly at: Position; readonly isNext: boolean }): void {
    this.#fresh = isNext ? { at, record } : null;
  }

  /** This record is delivered or refused. */
  pass({ sequence, next }: SpoolRecord): void {
    if (this.#fresh?.record.sequence === sequence) this.#fresh = null;
    this.#head = next;
  }

  /** Nothing to be delivered stands between these: who is at the one is at the other, and need not read to find that out. */
  skip(from: Position, to: Position): void {
    if (isAt(this.#head, from)) this.#head = to;
  }

  /** The first record at or after `from` that is still to be delivered, and where it stands (or where the reading ended). */
  #find(from: Position, consumed: number): { found: SpoolRecord | null; at: Position } {
    let at = from;
    for (;;) {
      const segment = this.#segments.list.find(({ index }) => index >= at.index);
      if (segment === undefined) return { found: null, at };
      if (segment.index > at.index) at = { index: segment.index, offset: 0 };
      const isLast = segment === this.#segments.list.at(-1);
      if (at.offset >= segment.bytes) {
        if (isLast) return { found: null, at };
        at = { index: segment.index + 1, offset: 0 };
        continue;
      }
      if (this.#fresh !== null && isAt(this.#fresh.at, at)) return { found: this.#fresh.record, at };
      const read = this.#reader.record(segment, at.offset);
      const end = read?.next ?? this.#reader.skipCorrupt(segment, at.offset, isLast);
      if (end === null) return { found: null, at };
      const next = { index: segment.index, offset: end };
      if (read?.record.kind === "data" && read.record.appendedThrough > consumed) {
        const { meta, sequence, rows, value, appendedThrough } = read.record;
        const { topic, through } = meta;
        return { found: { topic, sequence, rows, value, appendedThrough, through, next }, at };
      }
      at = next;
    }
  }
}
