import {
  type AssignedPartition,
  BusError,
  type BusMessage,
  type ConsumeOptions,
  type Consumer,
  HAND_OVER_MS_MAX,
  type Log,
} from "@homeostat/schemas";
import type { EachBatchPayload, Kafka, Consumer as KafkaConsumer, KafkaMessage, PartitionAssigner } from "kafkajs";
import type { FeedLimits } from "../bus/feed-limits.ts";
import { checkCommit } from "../bus/outgoing.ts";
import { asError, backoffMs } from "../bus/retry.ts";
import { servePartition } from "../bus/serve-partition.ts";
import { type After, pause } from "../bus/timers.ts";
import { type BrokerAdmin, offsetOf, type PartitionFacts } from "./admin.ts";
import { BufferedFeed } from "./buffered-feed.ts";
import { busErrorOf } from "./kafka-error.ts";

// A member that vanishes is missed after this; the promise is a take-over in less than 30 s. Longer than HAND_OVER_MS_MAX, because
// kafkajs sends no heartbeat while it waits for the handlers of a revoked partition.
const SESSION_MS = 15_000;
const REBALANCE_MS = 30_000;
// How long the broker holds a fetch that finds nothing. New messages come at once; a partition that was just opened waits this long.
const FETCH_WAIT_MS = 500;
// A full buffer holds up the fetching for so long, in the hope that the handler is only busy; then its partition is left out.
const ROOM_WAIT_MS = 200;
// Messages are views on the whole answer to a fetch, which stays for as long as one of them does, and kafkajs makes it of pieces that it
// then copies. So answers are small; none is smaller than the largest message that a topic takes.
const FETCH_PARTITION_BYTES = 2_097_152;
const FETCH_BYTES = 4_194_304;
const PARTITIONS_AT_ONCE = 64;
const METADATA_AGE_MS = 60_000;

interface MembershipOptions {
  readonly kafka: Kafka;
  readonly roundRobin: PartitionAssigner;
  readonly admin: BrokerAdmin;
  readonly log: Log;
  readonly after: After;
  readonly random: () => number;
  readonly heartbeatMs: number;
  readonly limits: FeedLimits;
  readonly consume: ConsumeOptions;
}

interface Session {
  readonly topic: string;
  readonly partition: number;
  readonly controller: AbortController;
  readonly feed: BufferedFeed;
  isOwner: boolean;
  readonly done: Promise<void>;
}

const placeOf = (topic: string, partition: number): string => `${topic}/${partition}`;

const headersOf = (message: KafkaMessage): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(message.headers ?? {}).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.map(String).join(",") : String(value ?? ""),
    ]),
  );

const messageOf = (topic: string, partition: number, message: KafkaMessage): BusMessage => ({
  topic,
  partition,
  offset: offsetOf(message.offset),
  key: message.key === null ? null : message.key.toString(),
  value: message.value,
  headers: headersOf(message),
  timestampUnixMs: Number(message.timestamp),
});

/** One member of a consumer group: joins, serves what it is given, gives it back, and joins anew when kafkajs gives up. */
export class Membership implements Consumer {
  readonly #options: MembershipOptions;
  readonly #sessions = new Map<string, Session>();
  /** Handlers that did not end in time when their partition was revoked. */
  readonly #lingering = new Set<Session>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    for (const { controller } of this.#sessions.values()) controller.abort();
    await this.#running;
    await Promise.all([...this.#lingering].map(({ done }) => done));
  }

  async #run(): Promise<void> {
    const { random, after } = this.#options;
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted; ) {
      const joined = { is: false };
      const error = await this.#life(joined);
      if (error === null) return;
      failures = joined.is ? 1 : failures + 1;
      this.#report(busErrorOf(error, `group ${this.#options.consume.group} at Kafka`), null, failures);
      await pause(backoffMs(failures, random), signal, after);
    }
  }

  /** From joining to the end: null when it was stopped, or why kafkajs gave up. */
  async #life(joined: { is: boolean }): Promise<Error | null> {
    const { topics } = this.#options.consume;
    const { promise: crashed, resolve: crash } = Promise.withResolvers<Error>();
    const consumer = this.#newConsumer();
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      joined.is = true;
      this.#assigned(consumer, payload.memberAssignment, crash);
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => crash(payload.error));
    const stopped = new Promise<null>((resolve) => {
      if (this.#stop.signal.aborted) resolve(null);
      this.#stop.signal.addEventListener("abort", () => resolve(null), { once: true });
    });
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [...topics], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
        eachBatch: (payload) => this.#fetched(consumer, payload, crash),
      });
      return await Promise.race([crashed, stopped]);
    } catch (thrown) {
      return asError(thrown);
    } finally {
      // While it is still a member, so that the last commits are taken. A stop waits for as long as the handlers need.
      await this.#revoke(this.#stop.signal.aborted ? null : HAND_OVER_MS_MAX);
      await consumer.disconnect().catch((thrown: unknown) => this.#report(asError(thrown), null, 1));
    }
  }

  #newConsumer(): KafkaConsumer {
    const { kafka, roundRobin, heartbeatMs, consume } = this.#options;
    return kafka.consumer({
      groupId: consume.group,
      // kafkajs has no hook before it joins anew, which is when the old partitions must have come to rest. Its assigners are given the
      // cluster, and a join begins with asking that for the coordinator.
      partitionAssigners: [
        (config) => {
          const findCoordinator = config.cluster.findGroupCoordinator.bind(config.cluster);
          config.cluster.findGroupCoordinator = async (group) => {
            await this.#revoke(HAND_OVER_MS_MAX);
            return findCoordinator(group);
          };
          return roundRobin(config);
        },
      ],
      sessionTimeout: SESSION_MS,
      rebalanceTimeout: REBALANCE_MS,
      heartbeatInterval: heartbeatMs,
      maxWaitTimeInMs: FETCH_WAIT_MS,
      maxBytesPerPartition: FETCH_PARTITION_BYTES,
      maxBytes: FETCH_BYTES,
      metadataMaxAge: METADATA_AGE_MS,
      allowAutoTopicCreation: false,
      retry: { restartOnFailure: async () => false },
    });
  }

  /** Called before kafkajs fetches: all partitions rest until their handler has said where to begin. */
  #assigned(
    consumer: KafkaConsumer,
    assignment: Readonly<Record<string, number[]>>,
    crash: (error: Error) => void,
  ): void {
    consumer.pause(Object.entries(assignment).map(([topic, partitions]) => ({ topic, partitions })));
    const facts = new Map<string, Promise<ReadonlyMap<number, PartitionFacts>>>();
    for (const [topic, partitions] of Object.entries(assignment)) {
      const together = this.#options.admin.facts(this.#options.consume.group, topic);
      // Each session meets the failure when it asks; without any this must not count as unhandled.
      together.catch(() => undefined);
      facts.set(topic, together);
      for (const partition of partitions) this.#serve(consumer, topic, partition, together, crash);
    }
  }

  #serve(
    consumer: KafkaConsumer,
    topic: string,
    partition: number,
    together: Promise<ReadonlyMap<number, PartitionFacts>>,
    crash: (error: Error) => void,
  ): void {
    const { admin, after, random, limits, consume } = this.#options;
    const controller = new AbortController();
    const { signal } = controller;
    const resume = () => {
      if (!signal.aborted) consumer.resume([{ topic, partitions: [partition] }]);
    };
    const feed = new BufferedFeed({ limits, signal, after, onDrained: resume });
    let bounds = { earliestOffset: 0, endOffset: 0 };
    let isFirst = true;
    const done = servePartition({
      source: {
        assign: async () => {
          const shared = isFirst ? (await together).get(partition) : undefined;
          isFirst = false;
          const current = shared ?? (await admin.factsOf(consume.group, topic, partition));
          bounds = current;
          return this.#assignment(consumer, session, current);
        },
        seek: (startOffset) => {
          const offset = Math.min(Math.max(startOffset, bounds.earliestOffset), bounds.endOffset);
          feed.seek(offset);
          try {
            consumer.seek({ topic, partition, offset: String(offset) });
            resume();
          } catch (thrown) {
            // kafkajs has just given up, and everything begins anew.
            crash(asError(thrown));
          }
        },
        next: () => feed.next(),
      },
      open: (assigned) => consume.open(assigned),
      retry: {
        signal,
        after,
        random,
        onFailure: (error, failures) => this.#report(error, { topic, partition }, failures),
      },
    });
    const session: Session = { topic, partition, controller, feed, isOwner: true, done };
    this.#sessions.set(placeOf(topic, partition), session);
  }

  #assignment(consumer: KafkaConsumer, session: Session, facts: PartitionFacts): AssignedPartition {
    return {
      topic: session.topic,
      partition: session.partition,
      ...facts,
      signal: session.controller.signal,
      commit: (offset, metadata = "") => this.#commit(consumer, session, offset, metadata),
    };
  }

  async #commit(consumer: KafkaConsumer, session: Session, offset: number, metadata: string): Promise<void> {
    checkCommit(offset, metadata);
    const { topic, partition } = session;
    const doing = `committing offset ${offset} of ${topic}/${partition} for group ${this.#options.consume.group}`;
    const lost = () =>
      new BusError("not_owner", `${doing}: the partition was taken from this member`, { retryable: false });
    if (!session.isOwner) throw lost();
    // kafkajs returns without a word when it is not running; the broker's answer shows as an event.
    let isTaken = false;
    const unlisten = consumer.on(consumer.events.COMMIT_OFFSETS, ({ payload }) => {
      isTaken ||= payload.topics.some(
        (each) =>
          each.topic === topic &&
          each.partitions.some((one) => one.partition === partition && String(one.offset) === String(offset)),
      );
    });
    try {
      await consumer.commitOffsets([{ topic, partition, offset: String(offset), metadata }]);
    } catch (thrown) {
      throw session.isOwner ? busErrorOf(thrown, doing) : lost();
    } finally {
      unlisten();
    }
    if (!isTaken)
      throw session.isOwner
        ? new BusError("unreachable", `${doing}: the connection to Kafka is being made anew`, { retryable: true })
        : lost();
  }

  async #fetched(
    consumer: KafkaConsumer,
    { batch, isStale }: EachBatchPayload,
    crash: (error: Error) => void,
  ): Promise<void> {
    const { topic, partition } = batch;
    const session = this.#sessions.get(placeOf(topic, partition));
    if (session === undefined || isStale()) return;
    const { feed } = session;
    const messages = batch.messages.map((message) => messageOf(topic, partition, message));
    if (!feed.push(messages, offsetOf(batch.highWatermark)))
      return crash(new Error(`${topic}/${partition} has gone back to offset ${messages[0]?.offset}: it was made anew`));
    if (!feed.isFull) return;
    await feed.room(ROOM_WAIT_MS);
    if (feed.isFull && !session.controller.signal.aborted) consumer.pause([{ topic, partitions: [partition] }]);
  }

  /** Gives all partitions back: waits for their handlers, but not longer than `ms`. */
  async #revoke(ms: number | null): Promise<void> {
    const sessions = [...this.#sessions.values()];
    if (sessions.length === 0) return;
    for (const { controller } of sessions) controller.abort();
    const ended = Promise.all(sessions.map(({ done }) => done));
    if (ms === null) {
      await ended;
    } else {
      const over = new AbortController();
      void ended.then(() => over.abort());
      await pause(ms, over.signal, this.#options.after);
    }
    this.#sessions.clear();
    for (const session of sessions) {
      session.isOwner = false;
      this.#lingering.add(session);
      void session.done.then(() => this.#lingering.delete(session));
    }
  }

  #report(error: Error, at: { topic: string; partition: number } | null, failures: number): void {
    const { log, consume } = this.#options;
    log.warn({ group: consume.group, ...at, failures, err: error }, "reading from Kafka failed, trying again");
    consume.onError?.(error, at);
  }
}
