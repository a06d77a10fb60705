import type { KeyObject } from "node:crypto";
import { type AuditRecord, type Bus, MESSAGE_BYTES_MAX, type OutgoingMessage } from "@homeostat/schemas";
import { type AuditEntry, type Head, nextRecords } from "./chain.ts";

const TOPIC = "audit";
/** Of one publish. All of it lies in one partition, so that both makes of the bus take it whole or not at all. */
const RECORDS_MAX = 1_000;
const BATCH_BYTES_MAX = 4_194_304;
/** Beyond, whoever wants something written is told so. */
const WAITING_MAX = 100_000;

interface Waiting {
  readonly entry: AuditEntry;
  /** About what it takes: the rest of a record is short. */
  readonly bytes: number;
  resolve(): void;
  reject(thrown: unknown): void;
}

/** Appends to the chain: what comes while the publish before is under way goes together, under one signature. */
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

  /** Resolves when it is durable. After a rejection it may be there or not, and nothing more is written: the head has to be read again. */
  append(entry: AuditEntry): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const bytes = JSON.stringify(entry.details).length;
    if (bytes * 2 > MESSAGE_BYTES_MAX)
      return Promise.reject(new RangeError(`details of ${bytes} characters: want at most ${MESSAGE_BYTES_MAX / 2}`));
    if (this.#waiting.length >= WAITING_MAX)
      return Promise.reject(new RangeError(`${WAITING_MAX} records wait for the audit log already`));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ entry, bytes, resolve, reject });
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
      await this.#bus.publish(records.map(messageOf));
      const last = records.at(-1);
      if (last !== undefined) this.head = { sequence: last.sequence, sha256: last.sha256 };
      for (const { resolve } of batch) resolve();
    } catch (thrown) {
      this.#failure = thrown;
      for (const { reject } of batch) reject(thrown);
    }
  }

  #next(): readonly Waiting[] {
    let [count, bytes] = [0, 0];
    for (const waiting of this.#waiting) {
      if (count > 0 && (count >= RECORDS_MAX || bytes + waiting.bytes > BATCH_BYTES_MAX)) break;
      count += 1;
      bytes += waiting.bytes;
    }
    return this.#waiting.splice(0, count);
  }
}

const messageOf = (record: AuditRecord): OutgoingMessage => ({
  topic: TOPIC,
  key: String(record.sequence),
  value: Buffer.from(JSON.stringify(record)),
});
