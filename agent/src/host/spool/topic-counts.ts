import type { Checkpoint, Ledger } from "@homeostat/schemas";
import { type Account, addRows, dropUpTo, emptyAccount, ledgerOf, undrop } from "./account.ts";
import type { Counts, TopicAcks } from "./record.ts";

interface TopicCount extends Account {
  /** Of the producer that the spool goes under now: its last delivered sequence (0: none yet), and rows delivered. */
  sequence: number;
  own: number;
}

/**
 * The spool's account by topic: produced = delivered + spooled + dropped for each of them. Every record says how many rows of each topic had
 * been appended with it, so that a hole is counted for the topics whose rows were in it. A few topics, by name.
 */
export class TopicCounts {
  readonly #topics = new Map<string, TopicCount>();

  append(topic: string, rows: number): void {
    this.#of(topic).appended += rows;
  }

  reject(topic: string, reason: string, rows: number): void {
    addRows(this.#of(topic).rejected, reason, rows);
  }

  /** Rows appended ever, by topic; with `rows` more of `topic`. */
  through(topic?: string, rows = 0): Counts {
    const all = Object.fromEntries([...this.#topics].map(([name, { appended }]) => [name, appended]));
    return topic === undefined ? all : { ...all, [topic]: (all[topic] ?? 0) + rows };
  }

  /** A record leaves the spool; what stood between the one before and it could not be read. */
  consume({ topic, rows, through }: { readonly topic: string; readonly rows: number; readonly through: Counts }): void {
    for (const [name, appended] of Object.entries(through)) {
      const own = name === topic ? rows : 0;
      dropUpTo(this.#of(name), appended - own, "corrupt");
    }
    const count = this.#of(topic);
    count.consumed = through[topic] ?? count.consumed + rows;
  }

  /** All that was appended up to here is gone. */
  drop(through: Counts, reason: string): void {
    for (const [name, appended] of Object.entries(through)) dropUpTo(this.#of(name), appended, reason);
  }

  deliver(topic: string, rows: number): void {
    this.#of(topic).delivered += rows;
  }

  /** The bus has these rows of the spool's own producer, however they are counted. */
  reach(topic: string, sequence: number, rows: number): void {
    const count = this.#of(topic);
    count.sequence = Math.max(count.sequence, sequence);
    count.own += rows;
  }

  /** The spool goes on under another producer, of which nothing has been delivered. */
  beginProducer(): void {
    for (const count of this.#topics.values()) count.sequence = count.own = 0;
  }

  checkpoints(producer: string): Checkpoint[] {
    return [...this.#topics]
      .filter(([, { sequence }]) => sequence > 0)
      .map(([topic, { sequence, own: rows }]) => ({ topic, producer, sequence, rows, since_sequence: 1 }));
  }

  undrop(topic: string, reason: string, rows: number): void {
    undrop(this.#of(topic), reason, rows);
  }

  refuse(topic: string, reason: string, rows: number): void {
    addRows(this.#of(topic).dropped, reason, rows);
  }

  ledgers(): Record<string, Ledger> {
    return Object.fromEntries([...this.#topics].map(([name, count]) => [name, ledgerOf(count)]));
  }

  acks(): TopicAcks {
    return Object.fromEntries(
      [...this.#topics].map(([name, count]) => [
        name,
        { ...count, dropped: { ...count.dropped }, rejected: { ...count.rejected } },
      ]),
    );
  }

  load(acks: TopicAcks): void {
    for (const [name, { dropped, rejected, ...ack }] of Object.entries(acks)) {
      const count = this.#of(name);
      const appended = Math.max(count.appended, ack.appended, ack.consumed);
      const own = ack.own ?? ack.delivered;
      Object.assign(count, { ...ack, appended, own, dropped: { ...dropped }, rejected: { ...rejected } });
    }
  }

  /** At least so many rows have been appended. */
  raise(through: Counts): void {
    for (const [name, appended] of Object.entries(through)) {
      const count = this.#of(name);
      count.appended = Math.max(count.appended, appended);
    }
  }

  /** What came before is taken as delivered. */
  beginAt({ topic, rows, through }: { readonly topic: string; readonly rows: number; readonly through: Counts }): void {
    for (const [name, appended] of Object.entries(through)) {
      const count = this.#of(name);
      count.consumed = count.delivered = appended - (name === topic ? rows : 0);
    }
  }

  #of(topic: string): TopicCount {
    const known = this.#topics.get(topic);
    if (known !== undefined) return known;
    const count: TopicCount = { ...emptyAccount(), sequence: 0, own: 0 };
    this.#topics.set(topic, count);
    return count;
  }
}
