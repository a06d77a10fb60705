import {
  type Bus,
  BusError,
  type ConsumeOptions,
  type Consumer,
  type Log,
  type OutgoingMessage,
  type Topic,
} from "@homeostat/schemas";
import type { Kafka, KafkaConfig, LogEntry, PartitionAssigner } from "kafkajs";
import { feedLimits } from "../bus/feed-limits.ts";
import { type CheckedMessage, checkOutgoing } from "../bus/outgoing.ts";
import { type After, afterWallTime } from "../bus/timers.ts";
import { BrokerAdmin } from "./admin.ts";
import { mendChecksum } from "./kafkajs-checksum.ts";
import { mendRequestQueue } from "./kafkajs-timers.ts";
import { Membership } from "./membership.ts";
import { OrderedProducer } from "./producer.ts";
import { topicConfigs } from "./topic-configs.ts";

const CONNECT_MS_MAX = 3_000;
const REQUEST_MS_MAX = 15_000;
// Some 5 s in all: whoever calls has a longer patience of its own.
const RETRY = { initialRetryTime: 200, factor: 0.2, multiplier: 2, maxRetryTime: 2_000, retries: 4 };
const HEARTBEAT_MS = 1_000;

export interface KafkaBusOptions {
  /** `host:port` of some brokers; they name the others. */
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly topics: readonly Topic[];
  readonly log: Log;
  readonly ssl?: KafkaConfig["ssl"];
  readonly sasl?: KafkaConfig["sasl"];
  readonly heartbeatMs?: number;
  readonly after?: After;
  readonly random?: () => number;
}

/** Connects, and makes the topics that are missing. Rejects with BusError `unreachable` when no broker answers. */
export const createKafkaBus = async (options: KafkaBusOptions): Promise<Bus> => {
  mendChecksum();
  // Here and not above: the embedded default must not pay for it.
  const { Kafka, Partitioners, PartitionAssigners, logLevel } = await import("kafkajs");
  mendRequestQueue();
  const kafka = new Kafka({
    brokers: [...options.brokers],
    clientId: options.clientId,
    connectionTimeout: CONNECT_MS_MAX,
    requestTimeout: REQUEST_MS_MAX,
    retry: RETRY,
    ...(options.ssl === undefined ? {} : { ssl: options.ssl }),
    ...(options.sasl === undefined ? {} : { sasl: options.sasl }),
    logLevel: logLevel.INFO,
    logCreator: () => (entry) => passOn(options.log, entry),
  });
  const admin = new BrokerAdmin(kafka, options.after ?? afterWallTime);
  try {
    await makeTopics(admin, options);
  } catch (error) {
    await admin.stop();
    throw error;
  }
  const producer = new OrderedProducer(kafka, Partitioners.DefaultPartitioner);
  return new KafkaBus({ ...options, kafka, admin, producer, roundRobin: PartitionAssigners.roundRobin });
};

/** What kafkajs calls an error it mostly mends by itself, and what it cannot mend comes back to us: its own words are for debugging. */
const passOn = (log: Log, { namespace, log: entry }: LogEntry): void => {
  const { message, timestamp: _, logger: __, stack: ___, ...fields } = entry;
  log.debug({ ...fields, kafkajs: namespace }, message);
};

const makeTopics = async (admin: BrokerAdmin, { topics, log }: KafkaBusOptions): Promise<void> => {
  const present = new Set(await admin.ask("asking Kafka for its topics", (client) => client.listTopics()));
  const missing = topics.filter(({ name }) => !present.has(name));
  if (missing.length === 0) return;
  await admin.ask("making topics at Kafka", (client) =>
    client.createTopics({
      waitForLeaders: true,
      topics: missing.map(({ name, partitions, retention }) => ({
        topic: name,
        numPartitions: partitions,
        configEntries: Object.entries(topicConfigs(retention)).map(([key, value]) => ({ name: key, value })),
      })),
    }),
  );
  for (const { name } of missing) await admin.awaitTopic(name);
  log.info({ topics: missing.map(({ name }) => name) }, "made topics at Kafka");
};

const isStopped = () => new BusError("stopped", "the bus has been stopped", { retryable: false });

const bytesOf = (messages: readonly CheckedMessage[]): number => messages.reduce((sum, { bytes }) => sum + bytes, 0);

/** One after the other, each for one topic. */
const runsOf = (messages: readonly CheckedMessage[]): readonly CheckedMessage[][] => {
  const runs: CheckedMessage[][] = [];
  for (const one of messages) {
    const last = runs.at(-1);
    if (last?.[0]?.message.topic === one.message.topic) last.push(one);
    else runs.push([one]);
  }
  return runs;
};

class KafkaBus implements Bus {
  readonly #options: KafkaBusOptions;
  readonly #kafka: Kafka;
  readonly #admin: BrokerAdmin;
  readonly #producer: OrderedProducer;
  readonly #roundRobin: PartitionAssigner;
  readonly #partitions: ReadonlyMap<string, number>;
  readonly #consumers = new Set<Membership>();
  #stopping: Promise<void> | null = null;
  #isStopped = false;

  constructor(
    options: KafkaBusOptions & {
      kafka: Kafka;
      admin: BrokerAdmin;
      producer: OrderedProducer;
      roundRobin: PartitionAssigner;
    },
  ) {
    this.#options = options;
    this.#kafka = options.kafka;
    this.#admin = options.admin;
    this.#producer = options.producer;
    this.#roundRobin = options.roundRobin;
    this.#partitions = new Map(options.topics.map(({ name, partitions }) => [name, partitions]));
  }

  async publish(
    messages: readonly OutgoingMessage[],
    { inOrder = false }: { readonly inOrder?: boolean } = {},
  ): Promise<void> {
    if (this.#isStopped) throw isStopped();
    const { checked } = checkOutgoing(messages, (topic) => this.#partitions.get(topic));
    // Of what goes to several topics at a time some may arrive, and others not.
    for (const run of inOrder ? runsOf(checked) : [checked])
      if (run.length > 0) await this.#producer.send(run, bytesOf(run));
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    if (this.#stopping !== null) throw isStopped();
    for (const topic of options.topics) this.#assertKnown(topic);
    const membership = new Membership({
      kafka: this.#kafka,
      admin: this.#admin,
      roundRobin: this.#roundRobin,
      log: this.#options.log,
      after: this.#options.after ?? afterWallTime,
      random: this.#options.random ?? Math.random,
      heartbeatMs: this.#options.heartbeatMs ?? HEARTBEAT_MS,
      limits: feedLimits(options),
      consume: options,
    });
    this.#consumers.add(membership);
    return {
      stop: async () => {
        await membership.stop();
        this.#consumers.delete(membership);
      },
    };
  }

  async lag(group: string, topic: string): Promise<readonly number[]> {
    this.#assertKnown(topic);
    const facts = await this.#admin.facts(group, topic);
    return [...facts]
      .sort(([a], [b]) => a - b)
      .map(([, { committed, earliestOffset, endOffset }]) =>
        Math.max(0, endOffset - Math.max(committed?.offset ?? 0, earliestOffset)),
      );
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    // Handlers that come to an end may still publish.
    await Promise.all([...this.#consumers].map((membership) => membership.stop()));
    this.#isStopped = true;
    await this.#producer.stop();
    await this.#admin.stop();
  }

  #assertKnown(topic: string): void {
    if (!this.#partitions.has(topic))
      throw new BusError("unknown_topic", `topic ${topic} is not one of this bus`, { retryable: false });
  }
}
