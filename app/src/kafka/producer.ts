import { BusError } from "@homeostat/schemas";
import type { ICustomPartitioner, Kafka, Message, Producer } from "kafkajs";
import type { CheckedMessage } from "../bus/outgoing.ts";
import { busErrorOf } from "./kafka-error.ts";

// kafkajs puts all messages of a request for one partition into one record batch, and the broker refuses batches above
// max.message.bytes (1 MiB by default). The partition is not known here, so a topic stays below.
const RECORD_BATCH_BYTES = 983_040;
// A record's own fields, and room to spare.
const RECORD_OVERHEAD_BYTES = 128;
const QUEUED_BYTES_MAX = 134_217_728;
const ACK_MS_MAX = 10_000;
const ALL_REPLICAS = -1;

interface Call {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  unsent: number;
  hasFailed: boolean;
}

interface Queued {
  readonly call: Call;
  readonly one: CheckedMessage;
  readonly bytes: number;
}

const view = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const messageOf = ({ message }: CheckedMessage): Message => ({
  key: message.key,
  value: message.value === null ? null : view(message.value),
  ...(message.headers === undefined ? {} : { headers: message.headers }),
  ...(message.partition === undefined ? {} : { partition: message.partition }),
});

/**
 * Sends one request at a time, with all that has gathered meanwhile: that keeps the order of the calls through kafkajs's retries, which
 * requests in flight beside each other would not.
 */
export class OrderedProducer {
  readonly #kafka: Kafka;
  readonly #createPartitioner: ICustomPartitioner;
  #producer: Producer | null = null;
  #queue: Queued[] = [];
  #queuedBytes = 0;
  #draining: Promise<void> | null = null;

  constructor(kafka: Kafka, createPartitioner: ICustomPartitioner) {
    this.#kafka = kafka;
    this.#createPartitioner = createPartitioner;
  }

  send(messages: readonly CheckedMessage[], bytes: number): Promise<void> {
    if (this.#queuedBytes + bytes > QUEUED_BYTES_MAX)
      return Promise.reject(
        new BusError("full", `${this.#queuedBytes} bytes wait to be sent to Kafka: publish more slowly`, {
          retryable: true,
        }),
      );
    return new Promise((resolve, reject) => {
      const call: Call = { resolve, reject, unsent: messages.length, hasFailed: false };
      for (const one of messages) {
        const queued = { call, one, bytes: one.bytes + RECORD_OVERHEAD_BYTES };
        this.#queue.push(queued);
        this.#queuedBytes += queued.bytes;
      }
      this.#draining ??= this.#drain();
    });
  }

  /** Sends what waits, then lets the connection go. */
  async stop(): Promise<void> {
    while (this.#draining !== null) await this.#draining;
    await this.#disconnect();
  }

  async #drain(): Promise<void> {
    // Lets the publishes of the same tick share the first request.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = this.#takeGroup();
      try {
        if (group.length > 0) await this.#request(group);
        for (const { call } of group) {
          call.unsent -= 1;
          if (call.unsent === 0) call.resolve();
        }
      } catch (thrown) {
        const error = busErrorOf(thrown, "publishing to Kafka");
        for (const { call } of group) {
          call.hasFailed = true;
          call.reject(error);
        }
        // kafkajs does not come back from every loss of a connection; a new producer does.
        await this.#disconnect();
      }
    }
    this.#draining = null;
  }

  /** What fits in one request, without the rest of calls that have already failed. */
  #takeGroup(): readonly Queued[] {
    const bytesByTopic = new Map<string, number>();
    let taken = 0;
    for (const { call, one, bytes } of this.#queue) {
      if (!call.hasFailed) {
        const before = bytesByTopic.get(one.message.topic) ?? 0;
        if (before > 0 && before + bytes > RECORD_BATCH_BYTES) break;
        bytesByTopic.set(one.message.topic, before + bytes);
      }
      taken += 1;
    }
    const group = this.#queue.splice(0, taken);
    this.#queuedBytes -= group.reduce((sum, { bytes }) => sum + bytes, 0);
    return group.filter(({ call }) => !call.hasFailed);
  }

  async #request(group: readonly Queued[]): Promise<void> {
    const byTopic = Map.groupBy(group, ({ one }) => one.message.topic);
    const producer = await this.#connected();
    await producer.sendBatch({
      acks: ALL_REPLICAS,
      timeout: ACK_MS_MAX,
      topicMessages: [...byTopic].map(([topic, queued]) => ({
        topic,
        messages: queued.map(({ one }) => messageOf(one)),
      })),
    });
  }

  async #connected(): Promise<Producer> {
    if (this.#producer !== null) return this.#producer;
    const producer = this.#kafka.producer({
      allowAutoTopicCreation: false,
      createPartitioner: this.#createPartitioner,
    });
    await producer.connect();
    this.#producer = producer;
    return producer;
  }

  async #disconnect(): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    // A connection that is broken already may fail to end; there is nothing more to do with it.
    await producer?.disconnect().catch(() => undefined);
  }
}
