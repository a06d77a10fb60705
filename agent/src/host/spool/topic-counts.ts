import type { Checkpoint, Ledger } from "@homeostat/schemas";
import type { Counts, TopicAcks } from "./record.ts";

interface TopicCount {
  appended: number;
  consumed: number;
  delivered: number;
  dropped: Record<string, number>;
  rejected: Record<string, number>;
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
    add(this.#of(topic).rejected, reason, rows);
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
      this.#dropUpTo(name, appended - own, "corrupt");
    }
    const count = this.#of(topic);
    count.consumed = through[topic] ?? count.consumed + rows;
  }

  /** All that was appended up to here is gone. */
  drop(through: Counts, reason: string): void {
    for (const [name, appended] of Object.entries(through)) this.#dropUpTo(name, appended, reason);
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

  /** Rows that were counted as dropped have arrived after all; no more than were counted. */
  undrop(topic: string, reason: string, rows: number): void {
    const count = this.#of(topic);
    const back = Math.min(rows, count.dropped[reason] ?? 0);
    add(count.dropped, reason, -back);
    count.delivered += back;
  }

  refuse(topic: string, reason: string, rows: number): void {
    add(this.#of(topic).dropped, reason, rows);
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

  #dropUpTo(topic: string, appended: number, reason: string): void {
    const count = this.#of(topic);
    if (appended <= count.consumed) return;
    add(count.dropped, reason, appended - count.consumed);
    count.consumed = appended;
  }

  #of(topic: string): TopicCount {
    const known = this.#topics.get(topic);
    if (known !== undefined) return known;
    const count: TopicCount = {
      appended: 0,
      consumed: 0,
      delivered: 0,
      dropped: {},
      rejected: {},
      sequence: 0,
      own: 0,
    };
    this.#topics.set(topic, count);
    return count;
  }
}

const add = (counts: Record<string, number>, reason: string, rows: number): void => {
  const total = (counts[reason] ?? 0) + rows;
  if (total > 0) counts[reason] = total;
  else delete counts[reason];
};

const ledgerOf = ({ appended, consumed, delivered, dropped, rejected }: TopicCount): Ledger => {
  const all = { ...dropped };
  let produced = appended;
  for (const [reason, rows] of Object.entries(rejected)) {
    add(all, reason, rows);
    produced += rows;
  }
  return { produced, delivered, spooled: appended - consumed, dropped: all };
};
