import { randomBytes, randomInt } from "node:crypto";
import {
  closeSync,
  fdatasync,
  fstatSync,
  fsync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Checkpoint, Ledger, Log, TopicLedgers } from "@homeostat/schemas";
import { setAside } from "./quarantine.ts";
import {
  type AckMeta,
  type Counts,
  decodeRecord,
  encodeRecord,
  findRecord,
  HEADER_BYTES,
  RECORD_BYTES_MAX,
  type RecordKind,
  type RecordOf,
  recordLength,
  type SegmentRecord,
  type SnapshotMeta,
} from "./record.ts";
import { TopicCounts } from "./topic-counts.ts";

const SEGMENT_BYTES_MAX = 4 * 1_048_576;
/**
 * A record that is found torn may have been published before it was damaged: sequences leap ahead, and by a random stretch, so that
 * damage upon damage cannot lead to the same sequence twice.
 */
const SEQUENCE_LEAP_MAX = 2 ** 24;

export interface SpoolRecord {
  readonly topic: string;
  readonly sequence: number;
  readonly rows: number;
  readonly value: Uint8Array;
  readonly appendedThrough: number;
  /** The same by topic. */
  readonly through: Counts;
  /** Where the next record begins. */
  readonly next: Position;
}

interface Position {
  readonly index: number;
  readonly offset: number;
}

interface Segment {
  readonly index: number;
  readonly path: string;
  bytes: number;
  /** Rows appended ever, at its end; all, and by topic. */
  appendedThrough: number;
  through: Counts;
}

export type AppendOutcome = { readonly appended: true } | { readonly appended: false; readonly reason: string };
export type WriteAt = (fd: number, buffer: Uint8Array, offset: number, length: number, position: number) => number;

export interface SpoolOptions {
  readonly dir: string;
  readonly host: string;
  readonly bytesMax: number;
  readonly log: Log;
  readonly segmentBytes?: number;
  /** For tests of a full disk. */
  readonly write?: WriteAt;
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
  readonly #options: Required<Omit<SpoolOptions, "log">> & { log: Log };
  #producer: string;
  /** The first sequence of the producer. */
  #producerSince = 0;
  #nextSequence = 1;
  #appended = 0;
  #consumed = 0;
  #delivered = 0;
  #ackedSequence = 0;
  #dropped: Record<string, number> = {};
  #rejected: Record<string, number> = {};
  readonly #byTopic = new TopicCounts();
  readonly #marks = new Map<string, string>();
  /** Oldest first; the last is written to. */
  #segments: Segment[] = [];
  #activeFd: number | null = null;
  #unsynced: number[] = [];
  #isDirUnsynced = false;
  #syncedSequence = 0;
  #head: Position = { index: 0, offset: 0 };
  #reading: { index: number; fd: number } | null = null;
  /** The newest batch, as long as it is the next to be delivered: what was just written need not be read back. */
  #fresh: { readonly at: Position; readonly record: SpoolRecord } | null = null;
  #problem: string | null = null;
  #isAckPending = false;
  #isStateKnown = false;
  #isClosed = false;
  /** Behind the newest segment's last sound record stand bytes that tell the next start to leap. */
  #isEndTorn = false;
  /** How many times more slowly than they could those who can wait are asked to fill it: the agent is above its own limits. */
  slowdown = 1;
  /** What the snapshot of start-up says of older segments. */
  #missing: SnapshotMeta["sealed"] = [];

  private constructor(options: SpoolOptions) {
    const segmentBytes = options.segmentBytes ?? Math.min(SEGMENT_BYTES_MAX, Math.floor(options.bytesMax / 8));
    this.#options = { write: writeSync, ...options, segmentBytes };
    this.#producer = `${options.host}/${randomBytes(8).toString("hex")}`;
  }

  static open(options: SpoolOptions): Spool {
    const spool = new Spool(options);
    mkdirSync(options.dir, { recursive: true, mode: 0o700 });
    spool.#recover();
    return spool;
  }

  get producer(): string {
    return this.#producer;
  }

  /** The sequence that the next appended batch gets. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /** Whoever can wait should wait now: log files keep their lines by themselves. */
  get isNearlyFull(): boolean {
    return this.#appended > this.#consumed && this.bytes > 0.75 * this.#options.bytesMax;
  }

  get marks(): ReadonlyMap<string, string> {
    return this.#marks;
  }

  /** Why the disk refuses us; null when it does not. */
  get problem(): string | null {
    return this.#problem;
  }

  get hasPending(): boolean {
    return this.#appended > this.#consumed;
  }

  ledger(): Ledger {
    const dropped = { ...this.#dropped };
    let rejected = 0;
    for (const [reason, rows] of Object.entries(this.#rejected)) {
      dropped[reason] = (dropped[reason] ?? 0) + rows;
      rejected += rows;
    }
    return {
      produced: this.#appended + rejected,
      delivered: this.#delivered,
      spooled: this.#appended - this.#consumed,
      dropped,
    };
  }

  /** The same account for each topic. */
  topicLedgers(): TopicLedgers {
    return this.#byTopic.ledgers();
  }

  /** How far the bus has each topic's batches. */
  checkpoints(): Checkpoint[] {
    return this.#byTopic.checkpoints(this.#producer);
  }

  /** Takes a batch that was made with `producer` and `nextSequence`, or says why not; a refused batch is not counted. */
  append(batch: {
    topic: string;
    rows: number;
    value: Uint8Array;
    marks?: Readonly<Record<string, string | null>>;
  }): AppendOutcome {
    const { topic, rows, value, marks = {} } = batch;
    const sequence = this.#nextSequence;
    const appendedThrough = this.#appended + rows;
    const through = this.#byTopic.through(topic, rows);
    const hadPending = this.hasPending;
    const bytes = encodeRecord({
      kind: "data",
      sequence,
      rows,
      appendedThrough,
      meta: { topic, marks, through },
      value,
    });
    const outcome = this.#put(bytes);
    if (!outcome.appended) return outcome;
    const { index, bytes: end } = this.#active();
    const record = { topic, sequence, rows, value, appendedThrough, through, next: { index, offset: end } };
    this.#fresh = hadPending ? null : { at: { index, offset: end - bytes.length }, record };
    this.#appended += rows;
    this.#byTopic.append(topic, rows);
    this.#nextSequence += 1;
    this.#merge(marks);
    this.#active().appendedThrough = this.#appended;
    this.#active().through = through;
    if (this.#isAckPending) this.#writeAck();
    return outcome;
  }

  /** Marks that stand for no rows. */
  mark(marks: Readonly<Record<string, string | null>>): AppendOutcome {
    const outcome = this.#put(this.#encode("marks", { marks, through: this.#byTopic.through() }));
    if (outcome.appended) this.#merge(marks);
    return outcome;
  }

  /** Rows that were dropped before they were spooled. */
  reject(reason: string, rows: number, topic: string): void {
    if (rows === 0) return;
    this.#byTopic.reject(topic, reason, rows);
    this.#rejected[reason] = (this.#rejected[reason] ?? 0) + rows;
    this.#isAckPending = true;
  }

  /** Makes durable what has been appended so far; `peek` shows no more than that. */
  async sync(): Promise<void> {
    const through = this.#nextSequence - 1;
    if (through <= this.#syncedSequence) return;
    const sealed = this.#unsynced.splice(0);
    const active = this.#activeFd;
    const isDirUnsynced = this.#isDirUnsynced;
    this.#isDirUnsynced = false;
    try {
      for (const fd of sealed) await fdatasyncAsync(fd);
      // A roll during the wait puts this descriptor among the unsynced, which closes it only in the next call.
      if (active !== null) await fdatasyncAsync(active);
      if (isDirUnsynced) await syncDir(this.#options.dir);
    } catch (error) {
      // A disk that cannot sync is just when telemetry matters: publish all the same, and say so.
      this.#problem = `the spool cannot sync: ${String(error)}`;
    } finally {
      for (const fd of sealed) closeSync(fd);
    }
    this.#syncedSequence = Math.max(this.#syncedSequence, through);
  }

  /** The oldest records that are neither delivered nor dropped, in order; the same ones until they are acked or refused. */
  peek(limits: { recordsMax: number; bytesMax: number }): SpoolRecord[] {
    const records: SpoolRecord[] = [];
    let bytes = 0;
    let at = this.#head;
    while (records.length < limits.recordsMax) {
      const { found, at: position } = this.#findPending(at);
      // Acks, marks and what cannot be read lie behind the head: they are not walked over again.
      if (records.length === 0) this.#head = position;
      if (found === null || found.sequence > this.#syncedSequence) break;
      bytes += found.value.length;
      if (records.length > 0 && bytes > limits.bytesMax) break;
      records.push(found);
      at = found.next;
    }
    return records;
  }

  /** These records, from `peek`, are with the platform. */
  ack(records: readonly SpoolRecord[]): void {
    for (const record of records) {
      if (record.sequence >= this.#producerSince) this.#byTopic.reach(record.topic, record.sequence, record.rows);
      if (record.appendedThrough <= this.#consumed) {
        // Its segment was dropped while it was on its way; it arrived after all.
        const rows = Math.min(record.rows, this.#dropped.spool_full ?? 0);
        this.#count("spool_full", -rows);
        this.#delivered += rows;
        this.#byTopic.undrop(record.topic, "spool_full", rows);
      } else {
        this.#consume(record);
        this.#delivered += record.rows;
        this.#byTopic.deliver(record.topic, record.rows);
      }
    }
    this.#afterConsumption();
  }

  /** The platform will never take this record. */
  refuse(record: SpoolRecord, reason: string): void {
    if (record.appendedThrough > this.#consumed) {
      this.#consume(record);
      this.#count(reason, record.rows);
      this.#byTopic.refuse(record.topic, reason, record.rows);
    }
    this.#afterConsumption();
  }

  close(): void {
    this.#writeAck();
    this.#isClosed = true;
    for (const fd of this.#unsynced.splice(0)) closeSync(fd);
    if (this.#activeFd !== null) closeSync(this.#activeFd);
    this.#activeFd = null;
    this.#closeReading();
  }

  // ——— writing

  #put(bytes: Buffer): AppendOutcome {
    if (this.#isClosed) return { appended: false, reason: "closed" };
    if (bytes.length > RECORD_BYTES_MAX) return { appended: false, reason: "too_large" };
    const active = this.#segments.at(-1);
    if (this.#activeFd === null || active === undefined || active.bytes >= this.#options.segmentBytes) {
      const rolled = this.#roll();
      if (!rolled.appended) return rolled;
    }
    while (this.bytes + bytes.length > this.#options.bytesMax && this.#segments.length > 1) this.#dropOldest();
    return this.#writeToActive(bytes);
  }

  #writeToActive(bytes: Buffer): AppendOutcome {
    const active = this.#active();
    const fd = this.#activeFd;
    if (fd === null) return { appended: false, reason: "write_error" };
    try {
      for (let done = 0; done < bytes.length; )
        done += this.#options.write(fd, bytes, done, bytes.length - done, active.bytes + done);
    } catch (error) {
      return this.#writeFailed(error, () => {
        if (!this.#isEndTorn) ftruncateSync(fd, active.bytes);
      });
    }
    active.bytes += bytes.length;
    if (this.#isEndTorn) ftruncateSync(fd, active.bytes);
    this.#isEndTorn = false;
    this.#problem = null;
    return { appended: true };
  }

  #roll(): AppendOutcome {
    const index = (this.#segments.at(-1)?.index ?? 0) + 1;
    const path = this.#segmentPath(index);
    const snapshot = this.#encode("snapshot", {
      ...this.#ackMeta(),
      producer: this.#producer,
      producer_since: this.#producerSince,
      next_sequence: this.#nextSequence,
      appended: this.#appended,
      marks: Object.fromEntries(this.#marks),
      through: this.#byTopic.through(),
      sealed: this.#segments.map(({ index, appendedThrough, through }) => ({
        index,
        appended_through: appendedThrough,
        through,
      })),
    });
    let fd: number | null = null;
    try {
      fd = openSync(path, "w+", 0o600);
      for (let done = 0; done < snapshot.length; )
        done += this.#options.write(fd, snapshot, done, snapshot.length - done, done);
    } catch (error) {
      const opened = fd;
      return this.#writeFailed(error, () => {
        if (opened === null) return;
        closeSync(opened);
        rmSync(path, { force: true });
      });
    }
    if (this.#activeFd !== null) this.#unsynced.push(this.#activeFd);
    this.#activeFd = fd;
    this.#isDirUnsynced = true;
    const [appendedThrough, through] = [this.#appended, this.#byTopic.through()];
    this.#segments.push({ index, path, bytes: snapshot.length, appendedThrough, through });
    if (this.#head.index === 0) this.#head = { index, offset: snapshot.length };
    this.#removeConsumed();
    return { appended: true };
  }

  #writeFailed(error: unknown, undo: () => void): AppendOutcome {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    try {
      undo();
    } catch (undoError) {
      // What stays behind is overwritten by the next record, or found torn at the next start.
      this.#options.log.warn({ error: String(undoError) }, "could not undo a failed write to the spool");
    }
    if (this.#problem === null) this.#options.log.error({ code, error: String(error) }, "the spool cannot write");
    this.#problem = `the spool cannot write: ${code}`;
    return { appended: false, reason: code === "ENOSPC" || code === "EDQUOT" ? "disk_full" : "write_error" };
  }

  #writeAck(): void {
    if (this.#activeFd === null) return;
    const { index, bytes: before } = this.#active();
    this.#isAckPending = !this.#writeToActive(this.#encode("ack", this.#ackMeta())).appended;
    // Nothing is left to deliver: the ack need not be read to find that out.
    if (this.#head.index === index && this.#head.offset === before)
      this.#head = { index, offset: this.#active().bytes };
  }

  #encode<Kind extends RecordKind>(kind: Kind, meta: RecordOf<Kind>["meta"]): Buffer {
    return encodeRecord<Kind>({
      kind,
      sequence: this.#nextSequence - 1,
      rows: 0,
      appendedThrough: this.#appended,
      meta,
    });
  }

  #ackMeta(): AckMeta {
    return {
      consumed: this.#consumed,
      acked_sequence: this.#ackedSequence,
      delivered: this.#delivered,
      dropped: { ...this.#dropped },
      rejected: { ...this.#rejected },
      topics: this.#byTopic.acks(),
    };
  }

  // ——— counting

  #consume(record: SpoolRecord): void {
    // Rows between what was consumed and where this record begins stood in records that could not be read.
    this.#count("corrupt", record.appendedThrough - record.rows - this.#consumed);
    this.#byTopic.consume(record);
    this.#consumed = record.appendedThrough;
    if (this.#fresh?.record.sequence === record.sequence) this.#fresh = null;
    this.#ackedSequence = Math.max(this.#ackedSequence, record.sequence);
    this.#head = record.next;
  }

  #count(reason: string, rows: number): void {
    if (rows === 0) return;
    const total = (this.#dropped[reason] ?? 0) + rows;
    if (total > 0) this.#dropped[reason] = total;
    else delete this.#dropped[reason];
  }

  #afterConsumption(): void {
    this.#writeAck();
    this.#removeConsumed();
    if (this.#isAckPending) this.#writeAck();
  }

  #removeConsumed(): void {
    // Without a segment to write to, an old one may hold the only sound snapshot.
    if (this.#activeFd === null) return;
    while (this.#segments.length > 1 && this.#oldest().appendedThrough <= this.#consumed) this.#removeOldest();
  }

  #dropOldest(): void {
    const oldest = this.#oldest();
    const rows = oldest.appendedThrough - this.#consumed;
    if (rows > 0) {
      this.#count("spool_full", rows);
      this.#byTopic.drop(oldest.through, "spool_full");
      this.#consumed = oldest.appendedThrough;
      this.#isAckPending = true;
    }
    this.#removeOldest();
  }

  #removeOldest(): void {
    const oldest = this.#segments.shift();
    if (oldest === undefined) return;
    if (this.#reading?.index === oldest.index) this.#closeReading();
    if (this.#fresh?.at.index === oldest.index) this.#fresh = null;
    rmSync(oldest.path, { force: true });
    if (this.#head.index <= oldest.index) this.#head = { index: this.#oldest().index, offset: 0 };
  }

  #merge(marks: Readonly<Record<string, string | null>>): void {
    for (const [key, mark] of Object.entries(marks)) {
      if (mark === null) this.#marks.delete(key);
      else this.#marks.set(key, mark);
    }
  }

  // ——— reading

  /** The first record at or after `from` that is still to be delivered, and where it stands (or where the reading ended). */
  #findPending(from: Position): { found: SpoolRecord | null; at: Position } {
    let at = from;
    for (;;) {
      const segment = this.#segments.find(({ index }) => index >= at.index);
      if (segment === undefined) return { found: null, at };
      if (segment.index > at.index) at = { index: segment.index, offset: 0 };
      const isLast = segment === this.#segments.at(-1);
      if (at.offset >= segment.bytes) {
        if (isLast) return { found: null, at };
        at = { index: segment.index + 1, offset: 0 };
        continue;
      }
      const fresh = this.#fresh;
      if (fresh !== null && fresh.at.index === segment.index && fresh.at.offset === at.offset)
        return { found: fresh.record, at };
      const read = this.#readRecord(segment, at.offset);
      const end = read?.next ?? this.#skipCorrupt(segment, at.offset, isLast);
      if (end === null) return { found: null, at };
      const next = { index: segment.index, offset: end };
      if (read?.record.kind === "data" && read.record.appendedThrough > this.#consumed) {
        const { meta, sequence, rows, value, appendedThrough } = read.record;
        const { topic, through } = meta;
        return { found: { topic, sequence, rows, value, appendedThrough, through, next }, at };
      }
      at = next;
    }
  }

  #readRecord(segment: Segment, offset: number): { record: SegmentRecord; next: number } | null {
    const header = this.#readBytes(segment, offset, HEADER_BYTES);
    if (header.length < HEADER_BYTES) return null;
    const length = recordLength(header);
    if (offset + length > segment.bytes || length > RECORD_BYTES_MAX) return null;
    const decoded = decodeRecord(this.#readBytes(segment, offset, length), 0);
    return decoded === null ? null : { record: decoded.record, next: offset + decoded.next };
  }

  #skipCorrupt(segment: Segment, offset: number, isActive: boolean): number | null {
    const rest = this.#readBytes(segment, offset, segment.bytes - offset);
    const found = findRecord(rest, 1);
    if (found === -1 && isActive) return null;
    const bad = found === -1 ? rest : rest.subarray(0, found);
    this.#setAside(segment.index, offset, bad);
    return offset + bad.length;
  }

  #setAside(index: number, offset: number, bytes: Uint8Array): void {
    const { dir, log } = this.#options;
    setAside({ dir: join(dir, "quarantine"), name: `${segmentName(index)}-${offset}.bad`, bytes, log });
  }

  #readBytes(segment: Segment, offset: number, length: number): Buffer {
    if (this.#reading?.index !== segment.index) {
      this.#closeReading();
      this.#reading = { index: segment.index, fd: openSync(segment.path, "r") };
    }
    const bytes = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const read = readSync(this.#reading.fd, bytes, done, length - done, offset + done);
      if (read === 0) break;
      done += read;
    }
    return bytes.subarray(0, done);
  }

  #closeReading(): void {
    if (this.#reading !== null) closeSync(this.#reading.fd);
    this.#reading = null;
  }

  // ——— recovery

  #recover(): void {
    const names = readdirSync(this.#options.dir).filter((name) => /^\d{10}\.seg$/.test(name));
    this.#segments = names.sort().map((name) => {
      const index = Number(name.slice(0, 10));
      return { index, path: this.#segmentPath(index), bytes: 0, appendedThrough: 0, through: {} };
    });
    const last = this.#segments.at(-1);
    if (last === undefined) return;
    for (const segment of this.#segments) segment.bytes = sizeOf(segment.path);
    const snapshotAt = this.#loadNewestSnapshot();
    for (const segment of this.#segments.slice(Math.max(0, snapshotAt))) this.#replay(segment, segment === last);
    const isTorn = last.bytes < sizeOf(last.path);
    this.#appended = Math.max(this.#appended, this.#consumed);
    this.#nextSequence = Math.max(this.#nextSequence, this.#ackedSequence + 1);
    if (snapshotAt === -1) {
      this.#producerSince = this.#nextSequence;
      this.#byTopic.beginProducer();
    }
    last.appendedThrough = this.#appended;
    last.through = this.#byTopic.through();
    this.#countMissing();
    this.#head = { index: this.#oldest().index, offset: 0 };
    this.#unsynced = this.#segments.slice(0, -1).map((segment) => openSync(segment.path, "r+"));
    this.#isDirUnsynced = true;
    const lastFd = openSync(last.path, "r+");
    if (snapshotAt === this.#segments.length - 1) this.#activeFd = lastFd;
    else {
      this.#unsynced.push(lastFd);
      this.#roll();
    }
    // The leap is written first: until then every start finds the end torn again and leaps again.
    this.#isEndTorn = isTorn;
    if (isTorn) this.mark({});
    this.#removeConsumed();
  }

  /** The process died between dropping the oldest segments and saying so. */
  #countMissing(): void {
    const oldest = this.#oldest();
    const gone = this.#missing.filter(({ index }) => index < oldest.index);
    const missing = Math.max(0, ...gone.map((one) => one.appended_through));
    if (missing <= this.#consumed) return;
    this.#count("spool_full", missing - this.#consumed);
    for (const { through } of gone) this.#byTopic.drop(through, "spool_full");
    this.#consumed = missing;
    this.#isAckPending = true;
  }

  /** The position of the newest segment whose snapshot is sound, to replay from; -1 when there is none. */
  #loadNewestSnapshot(): number {
    for (let position = this.#segments.length - 1; position >= 0; position--) {
      const segment = this.#segments[position];
      const first = segment && this.#readRecord(segment, 0);
      if (first?.record.kind !== "snapshot") continue;
      this.#loadSnapshot(first.record.meta, position);
      return position;
    }
    this.#options.log.error(
      { dir: this.#options.dir },
      "the spool has no sound snapshot: it goes on as a new producer",
    );
    return -1;
  }

  #loadSnapshot(snapshot: SnapshotMeta, position: number): void {
    this.#producer = snapshot.producer;
    this.#producerSince = snapshot.producer_since;
    this.#nextSequence = snapshot.next_sequence;
    this.#appended = snapshot.appended;
    this.#byTopic.raise(snapshot.through);
    this.#loadAck(snapshot);
    this.#merge(snapshot.marks);
    this.#missing = snapshot.sealed;
    const sealed = new Map(snapshot.sealed.map((one) => [one.index, one]));
    for (const segment of this.#segments.slice(0, position)) {
      const one = sealed.get(segment.index);
      segment.appendedThrough = one?.appended_through ?? 0;
      segment.through = one?.through ?? {};
    }
  }

  #loadAck(ack: AckMeta): void {
    this.#isStateKnown = true;
    this.#consumed = ack.consumed;
    this.#ackedSequence = ack.acked_sequence;
    this.#delivered = ack.delivered;
    this.#dropped = { ...ack.dropped };
    this.#rejected = { ...ack.rejected };
    this.#byTopic.load(ack.topics);
  }

  #replay(segment: Segment, isLast: boolean): void {
    const bytes = this.#readBytes(segment, 0, segment.bytes);
    let at = 0;
    while (at < bytes.length) {
      const decoded = decodeRecord(bytes, at);
      if (decoded !== null) {
        this.#replayRecord(decoded.record);
        at = decoded.next;
        continue;
      }
      const found = findRecord(bytes, at + 1);
      if (found === -1) break;
      at = found;
    }
    segment.appendedThrough = this.#appended;
    segment.through = this.#byTopic.through();
    if (at < bytes.length && isLast) this.#cutTornEnd(segment, bytes, at);
  }

  #replayRecord(record: SegmentRecord): void {
    this.#nextSequence = Math.max(this.#nextSequence, record.sequence + 1);
    this.#appended = Math.max(this.#appended, record.appendedThrough);
    if (record.kind === "data") {
      // Without a snapshot, what came before is taken as delivered: we cannot send it, and it was not dropped by us.
      const { topic, through } = record.meta;
      this.#byTopic.raise(through);
      if (!this.#isStateKnown) {
        this.#consumed = this.#delivered = record.appendedThrough - record.rows;
        this.#byTopic.beginAt({ topic, rows: record.rows, through });
      }
      this.#isStateKnown = true;
      this.#merge(record.meta.marks);
    }
    if (record.kind === "marks") {
      this.#byTopic.raise(record.meta.through);
      this.#merge(record.meta.marks);
    }
    if (record.kind === "ack") this.#loadAck(record.meta);
  }

  /** A write that the process or the machine did not survive: its rows were never counted, and log lines are read again by their marks. */
  #cutTornEnd(segment: Segment, bytes: Buffer, at: number): void {
    this.#setAside(segment.index, at, bytes.subarray(at));
    segment.bytes = at;
    this.#nextSequence += randomInt(1024, SEQUENCE_LEAP_MAX);
  }

  #segmentPath(index: number): string {
    return join(this.#options.dir, `${segmentName(index)}.seg`);
  }

  #active(): Segment {
    const active = this.#segments.at(-1);
    if (active === undefined) throw new Error("the spool has no segment");
    return active;
  }

  #oldest(): Segment {
    const oldest = this.#segments[0];
    if (oldest === undefined) throw new Error("the spool has no segment");
    return oldest;
  }
}

const fdatasyncAsync = promisify(fdatasync);
const fsyncAsync = promisify(fsync);

const syncDir = async (dir: string): Promise<void> => {
  const fd = openSync(dir, "r");
  try {
    await fsyncAsync(fd);
  } finally {
    closeSync(fd);
  }
};

const sizeOf = (path: string): number => {
  const fd = openSync(path, "r");
  try {
    return fstatSync(fd).size;
  } finally {
    closeSync(fd);
  }
};

const segmentName = (index: number): string => String(index).padStart(10, "0");
