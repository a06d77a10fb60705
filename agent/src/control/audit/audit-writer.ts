import type { KeyObject } from "node:crypto";
import {
  type AuditRecord,
  type Bus,
  MESSAGE_BYTES_MAX,
  type OutgoingMessage,
  PUBLISH_WHOLE_BYTES_MAX,
} from "@homeostat/schemas";
import { type AuditEntry, type Head, nextRecords } from "./chain.ts";

const TOPIC = "audit";
/** Of one publish, which both makes of the bus take whole or not at all: half of it would have no signature. */
const RECORDS_MAX = 1_000;
const BATCH_BYTES_MAX = PUBLISH_WHOLE_BYTES_MAX;
/** What a record has besides its entry: digests, signature, names of fields. */
const RECORD_BYTES = 768;
/** Beyond, whoever wants something written is told so. */
const WAITING_MAX = 100_000;

/** Of what was done, in one publish. */
const BEHIND_BYTES_MAX = 4_194_304;

interface Waiting {
  readonly entry: AuditEntry;
  /** At most, as it is published. */
  readonly bytes: number;
  readonly behind: readonly OutgoingMessage[];
  readonly behindBytes: number;
  resolve(): void;
  reject(thrown: unknown): void;
}

/**
 * Appends to the chain: what comes while the publish before is under way goes together, under one signature. What was done goes into the
 * same publish behind it, so that it costs no flush of the disk of its own.
 */
export class AuditWriter {
  readonly #bus: Bus;
  readonly #key: KeyObject;
  readonly #fence: () => Promise<void>;
  #waiting: Waiting[] = [];
  #running: Promise<void> | null = null;
  #failure: unknown = null;
  /** Of what is durable. */
  head: Head;

  constructor(options: {
    readonly bus: Bus;
    readonly key: KeyObject;
    readonly head: Head;
    /** Rejects when somebody else leads. */
    readonly fence: () => Promise<void>;
  }) {
    this.#bus = options.bus;
    this.#key = options.key;
    this.#fence = options.fence;
    this.head = options.head;
  }

  /**
   * Resolves when it is durable, and with it `behind`, which is never there without it. After a rejection they may be there or not, and
   * nothing more is written: the head has to be read again.
   */
  append(entry: AuditEntry, behind: readonly OutgoingMessage[] = []): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const bytes = Buffer.byteLength(JSON.stringify(entry)) + RECORD_BYTES;
    if (bytes > MESSAGE_BYTES_MAX)
      return Promise.reject(new RangeError(`an entry of ${bytes} bytes: a record has at most ${MESSAGE_BYTES_MAX}`));
    if (this.#waiting.length >= WAITING_MAX)
      return Promise.reject(new RangeError(`${WAITING_MAX} records wait for the audit log already`));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const behindBytes = behind.reduce((sum, { value }) => sum + (value?.byteLength ?? 0), 0);
    this.#waiting.push({ entry, bytes, behind, behindBytes, resolve, reject });
    this.#running ??= this.#run();
    return promise;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  async #run(): Promise<void> {
    // What else is appended in this turn goes with it.
    await null;
    while (this.#waiting.length > 0 && this.#failure === null) await this.#publish(this.#next());
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
    this.#running = null;
  }

  async #publish(batch: readonly Waiting[]): Promise<void> {
    try {
      await this.#fence();
      const entries = batch.map(({ entry }) => entry);
      const records = nextRecords(entries, { head: this.head, key: this.#key });
      await this.#bus.publish([...records.map(messageOf), ...byTopic(batch)], { inOrder: true });
      const last = records.at(-1);
      if (last !== undefined) this.head = { sequence: last.sequence, sha256: last.sha256 };
      for (const { resolve } of batch) resolve();
    } catch (thrown) {
      this.#failure = thrown;
      for (const { reject } of batch) reject(thrown);
    }
  }

  #next(): readonly Waiting[] {
    let [count, bytes, behindBytes] = [0, 0, 0];
    for (const waiting of this.#waiting) {
      bytes += waiting.bytes;
      behindBytes += waiting.behindBytes;
      const isFull = count >= RECORDS_MAX || bytes > BATCH_BYTES_MAX || behindBytes > BEHIND_BYTES_MAX;
      if (count > 0 && isFull) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }
}

/** Each one's in its order, with few changes of topic, for a broker takes one topic after the other. */
const byTopic = (batch: readonly Waiting[]): readonly OutgoingMessage[] => {
  const messages: OutgoingMessage[] = [];
  let left = batch.map(({ behind }) => ({ behind, at: 0 })).filter(({ behind }) => behind.length > 0);
  while (left.length > 0) {
    const topic = left[0]?.behind[left[0].at]?.topic;
    for (const one of left)
      for (let next = one.behind[one.at]; next?.topic === topic && next !== undefined; next = one.behind[one.at]) {
        messages.push(next);
        one.at += 1;
      }
    left = left.filter(({ behind, at }) => at < behind.length);
  }
  return messages;
};

const messageOf = (record: AuditRecord): OutgoingMessage => ({
  topic: TOPIC,
  key: String(record.sequence),
  value: Buffer.from(JSON.stringify(record)),
});
