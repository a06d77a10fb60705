import { BusError, type CommittedOffset } from "@homeostat/schemas";
import type { Admin, Kafka } from "kafkajs";
import { type After, pause } from "../bus/timers.ts";
import { busErrorOf, isPassing } from "./kafka-error.ts";

const ATTEMPTS_MAX = 25;
const ATTEMPT_MS = 200;

export interface PartitionFacts {
  readonly committed: CommittedOffset | null;
  readonly earliestOffset: number;
  readonly endOffset: number;
}

/** Offsets are 64-bit at Kafka and numbers here: no log reaches 2^53 messages, but a wrong number must not pass. */
export const offsetOf = (text: string): number => {
  const offset = Number(text);
  if (!Number.isSafeInteger(offset)) throw new RangeError(`offset ${text} is not a safe integer`);
  return offset;
};

/** kafkajs's admin client, with a new connection after a failure, for it does not always come back from one by itself. */
export class BrokerAdmin {
  readonly #kafka: Kafka;
  readonly #after: After;
  readonly #stopping = new AbortController();
  #admin: Promise<Admin> | null = null;

  constructor(kafka: Kafka, after: After) {
    this.#kafka = kafka;
    this.#after = after;
  }

  async ask<T>(doing: string, question: (admin: Admin) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      this.#admin ??= this.#connect();
      const admin = this.#admin;
      try {
        return await question(await admin);
      } catch (thrown) {
        if (this.#admin === admin) await this.#disconnect();
        if (attempt === ATTEMPTS_MAX || !isPassing(thrown) || this.#stopping.signal.aborted)
          throw busErrorOf(thrown, doing);
        await pause(ATTEMPT_MS, this.#stopping.signal, this.#after);
      }
    }
  }

  stop(): Promise<void> {
    this.#stopping.abort();
    return this.#disconnect();
  }

  async #disconnect(): Promise<void> {
    const admin = this.#admin;
    this.#admin = null;
    // What cannot connect cannot disconnect either.
    await admin?.then((connected) => connected.disconnect()).catch(() => undefined);
  }

  /** Resolves when the leaders of a topic that was just made take requests. */
  async awaitTopic(topic: string): Promise<void> {
    await this.ask(`waiting for topic ${topic}`, (admin) => admin.fetchTopicOffsets(topic));
  }

  /** Where a group and the log stand, by partition. */
  async facts(group: string, topic: string): Promise<ReadonlyMap<number, PartitionFacts>> {
    const [[groupOffsets], logOffsets] = await this.ask(
      `asking for the offsets of group ${group}, topic ${topic}`,
      (admin) => Promise.all([admin.fetchOffsets({ groupId: group, topics: [topic] }), admin.fetchTopicOffsets(topic)]),
    );
    const committed = new Map(groupOffsets?.partitions.map((each) => [each.partition, each]));
    return new Map(
      logOffsets.map(({ partition, low, high }) => {
        const [earliestOffset, endOffset] = [offsetOf(low), offsetOf(high)];
        const of = committed.get(partition);
        const offset = of === undefined ? -1 : offsetOf(of.offset);
        // Above the end: the topic was made anew, and the commit was about another log.
        const isKnown = offset >= 0 && offset <= endOffset;
        return [
          partition,
          { committed: isKnown ? { offset, metadata: of?.metadata ?? "" } : null, earliestOffset, endOffset },
        ];
      }),
    );
  }

  async factsOf(group: string, topic: string, partition: number): Promise<PartitionFacts> {
    const facts = (await this.facts(group, topic)).get(partition);
    if (facts === undefined)
      throw new BusError("unknown_topic", `Kafka knows no partition ${partition} of topic ${topic}`, {
        retryable: true,
      });
    return facts;
  }

  async #connect(): Promise<Admin> {
    const admin = this.#kafka.admin();
    await admin.connect();
    return admin;
  }
}
