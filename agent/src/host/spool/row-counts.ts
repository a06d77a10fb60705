import type { Checkpoint, Ledger, TopicLedgers } from "@homeostat/schemas";
import { addRows, dropUpTo, emptyAccount, ledgerOf, undrop } from "./account.ts";
import type { AckMeta, Counts } from "./record.ts";
import { TopicCounts } from "./topic-counts.ts";

/** Rows appended ever, up to some place: all, and by topic. */
export interface Extent {
  readonly appendedThrough: number;
  readonly through: Counts;
}

/** The rows of one record; its extent includes them. */
export interface RowsOf extends Extent {
  readonly topic: string;
  readonly sequence: number;
  readonly rows: number;
}

/** The spool's account, of all rows together and of each topic: what is counted for one is counted for both. */
export class RowCounts {
  readonly #all = emptyAccount();
  readonly #byTopic = new TopicCounts();

  get appended(): number {
    return this.#all.appended;
  }

  get consumed(): number {
    return this.#all.consumed;
  }

  get hasPending(): boolean {
    return this.#all.appended > this.#all.consumed;
  }

  ledger(): Ledger {
    return ledgerOf(this.#all);
  }

  topicLedgers(): TopicLedgers {
    return this.#byTopic.ledgers();
  }

  checkpoints(producer: string): Checkpoint[] {
    return this.#byTopic.checkpoints(producer);
  }

  /** Of all that was appended; with `rows` more of `topic`. */
  extent(topic?: string, rows = 0): Extent {
    return { appendedThrough: this.#all.appended + rows, through: this.#byTopic.through(topic, rows) };
  }

  append(topic: string, rows: number): void {
    this.#all.appended += rows;
    this.#byTopic.append(topic, rows);
  }

  reject(topic: string, reason: string, rows: number): void {
    addRows(this.#all.rejected, reason, rows);
    this.#byTopic.reject(topic, reason, rows);
  }

  /** The bus has these rows of the spool's own producer, however they are counted. */
  reach({ topic, sequence, rows }: RowsOf): void {
    this.#byTopic.reach(topic, sequence, rows);
  }

  deliver(record: RowsOf): void {
    this.#consume(record);
    this.#all.delivered += record.rows;
    this.#byTopic.deliver(record.topic, record.rows);
  }

  /** Its segment was dropped while it was on its way; it arrived after all. */
  deliverLate({ topic, rows }: RowsOf): void {
    const back = undrop(this.#all, "spool_full", rows);
    this.#byTopic.undrop(topic, "spool_full", back);
  }

  refuse(record: RowsOf, reason: string): void {
    this.#consume(record);
    addRows(this.#all.dropped, reason, record.rows);
    this.#byTopic.refuse(record.topic, reason, record.rows);
  }

  /** All that was appended up to here is gone. */
  drop({ appendedThrough, through }: Extent, reason: string): void {
    dropUpTo(this.#all, appendedThrough, reason);
    this.#byTopic.drop(through, reason);
  }

  saved(): Omit<AckMeta, "acked_sequence"> {
    const { consumed, delivered, dropped, rejected } = this.#all;
    return {
      consumed,
      delivered,
      dropped: { ...dropped },
      rejected: { ...rejected },
      topics: this.#byTopic.acks(),
    };
  }

  load({ consumed, delivered, dropped, rejected, topics }: Omit<AckMeta, "acked_sequence">): void {
    Object.assign(this.#all, { consumed, delivered, dropped: { ...dropped }, rejected: { ...rejected } });
    this.#byTopic.load(topics);
  }

  /** At least so many rows have been appended. */
  raise({ appendedThrough, through }: Extent): void {
    this.#all.appended = Math.max(this.#all.appended, appendedThrough);
    this.#byTopic.raise(through);
  }

  /** What came before this record is taken as delivered: we cannot send it, and it was not dropped by us. */
  beginAt(record: RowsOf): void {
    this.#all.consumed = this.#all.delivered = record.appendedThrough - record.rows;
    this.#byTopic.beginAt(record);
  }

  /** The spool goes on under another producer, of which nothing has been delivered. */
  beginProducer(): void {
    this.#byTopic.beginProducer();
  }

  #consume(record: RowsOf): void {
    // Rows between what was consumed and where this record begins stood in records that could not be read.
    addRows(this.#all.dropped, "corrupt", record.appendedThrough - record.rows - this.#all.consumed);
    this.#byTopic.consume(record);
    this.#all.consumed = record.appendedThrough;
  }
}
