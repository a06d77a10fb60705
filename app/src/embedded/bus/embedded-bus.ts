import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  type AssignedPartition,
  type Bus,
  BusError,
  type ConsumeOptions,
  type Consumer,
  type Log,
  type OutgoingMessage,
  type Retention,
  type Topic,
} from "@homeostat/schemas";
import { feedLimits } from "../../bus/feed-limits.ts";
import { checkCommit, checkOutgoing } from "../../bus/outgoing.ts";
import { asError } from "../../bus/retry.ts";
import type { PartitionSource } from "../../bus/serve-partition.ts";
import { type After, afterWallTime } from "../../bus/timers.ts";
import { Group, type Member, type Tenure } from "./group.ts";
import { type Housekeeping, keepHouse, makeRoom } from "./housekeeping.ts";
import { MessageStore } from "./message-store.ts";
import { partitionOfKey } from "./murmur2.ts";
import { PartitionFeed, Waiting } from "./partition-feed.ts";
import type { Partition } from "./partitions.ts";
import { Writer } from "./writer.ts";

const FILE = "bus.sqlite";
const HOUSEKEEPING_MS = 60_000;
const BYTES_MAX = 4_294_967_296;

export interface EmbeddedBusOptions {
  /** Made when it is missing; holds `bus.sqlite` and its write-ahead log. */
  readonly dir: string;
  readonly topics: readonly Topic[];
  readonly now: () => number;
  readonly log: Log;
  readonly limits?: {
    /** What the messages and their index may take on the disk. The write-ahead log adds 32 MiB at most, and what one publish takes. */
    readonly bytesMax?: number;
  };
  readonly after?: After;
  readonly random?: () => number;
}

export interface EmbeddedBus extends Bus {
  /** Retention and compaction, which otherwise run once a minute. */
  keepHouse(): Promise<void>;
  usedBytes(): number;
}

/** Rejects with BusError: `unreachable` when another process has the file, `corrupt` when it is damaged. */
export const createEmbeddedBus = async (options: EmbeddedBusOptions): Promise<EmbeddedBus> => {
  mkdirSync(options.dir, { recursive: true, mode: 0o750 });
  const bytesMax = options.limits?.bytesMax ?? BYTES_MAX;
  const store = MessageStore.open({ file: join(options.dir, FILE), topics: options.topics, bytesMax });
  return new SqliteBus({ ...options, store, bytesMax });
};

const isStopped = () => new BusError("stopped", "the bus has been stopped", { retryable: false });

class SqliteBus implements EmbeddedBus {
  readonly #store: MessageStore;
  readonly #writer: Writer;
  readonly #house: Housekeeping;
  readonly #waiting = new Waiting();
  readonly #byTopic: ReadonlyMap<string, readonly Partition[]>;
  readonly #groups = new Map<string, Group>();
  readonly #consumers = new Set<Consumer>();
  readonly #now: () => number;
  readonly #log: Log;
  readonly #after: After;
  readonly #random: () => number;
  #cancelHousekeeping: () => void;
  #housekeeping: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | null = null;
  #isStopped = false;

  constructor(options: EmbeddedBusOptions & { store: MessageStore; bytesMax: number }) {
    const { store, bytesMax } = options;
    this.#store = store;
    this.#now = options.now;
    this.#log = options.log;
    this.#after = options.after ?? afterWallTime;
    this.#random = options.random ?? Math.random;
    this.#byTopic = new Map(
      options.topics.map(({ name }) => [name, store.partitions.filter(({ topic }) => topic === name)]),
    );
    const retention = new Map<string, Retention>(options.topics.map((topic) => [topic.name, topic.retention]));
    const forever: Retention = { kind: "compact" };
    this.#house = { store, now: options.now, retentionOf: (topic) => retention.get(topic) ?? forever };
    this.#writer = new Writer({
      store,
      bytesMax,
      makeRoom: () => makeRoom(this.#house, bytesMax),
      onAppended: (partitions) => this.#waiting.wake(partitions),
    });
    this.#cancelHousekeeping = this.#scheduleHousekeeping();
  }

  async publish(messages: readonly OutgoingMessage[]): Promise<void> {
    if (this.#isStopped) throw isStopped();
    const { checked, bytes } = checkOutgoing(messages, (topic) => this.#byTopic.get(topic)?.length);
    if (checked.length === 0) return;
    await this.#writer.write({
      bytes,
      messages: checked.length,
      needsRoom: true,
      stage: () => {
        const at = this.#now();
        for (const one of checked) this.#store.append(this.#partitionFor(one.message), one, at);
      },
    });
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    if (this.#stopping !== null) throw isStopped();
    for (const topic of options.topics) this.#partitionsOf(topic);
    const group = this.#groups.get(options.group) ?? this.#newGroup();
    this.#groups.set(options.group, group);
    const member: Member = { topics: options.topics, options };
    const consumer: Consumer = {
      stop: async () => {
        await group.leave(member);
        this.#consumers.delete(consumer);
      },
    };
    this.#consumers.add(consumer);
    group.join(member);
    return consumer;
  }

  async lag(group: string, topic: string): Promise<readonly number[]> {
    return this.#partitionsOf(topic).map((partition) => {
      const committed = this.#store.committed(group, partition)?.offset ?? 0;
      return Math.max(0, partition.end - Math.max(committed, partition.earliest));
    });
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  keepHouse(): Promise<void> {
    this.#housekeeping = this.#housekeeping.then(() => keepHouse(this.#house));
    return this.#housekeeping;
  }

  usedBytes(): number {
    return this.#store.usedBytes();
  }

  async #stop(): Promise<void> {
    this.#cancelHousekeeping();
    // Handlers that come to an end may still publish.
    await Promise.all([...this.#consumers].map((consumer) => consumer.stop()));
    this.#isStopped = true;
    await this.#writer.idle();
    await this.#housekeeping.catch(() => undefined);
    await this.#store.close();
  }

  #partitionsOf(topic: string): readonly Partition[] {
    const partitions = this.#byTopic.get(topic);
    if (partitions === undefined)
      throw new BusError("unknown_topic", `topic ${topic} is not one of this bus`, { retryable: false });
    return partitions;
  }

  #partitionFor({ topic, key, partition }: OutgoingMessage): Partition {
    const partitions = this.#partitionsOf(topic);
    const chosen = partitions[partition ?? partitionOfKey(key, partitions.length)];
    if (chosen === undefined) throw new RangeError(`topic ${topic} has no partition ${partition}`);
    return chosen;
  }

  #newGroup(): Group {
    return new Group({
      partitions: this.#store.partitions,
      after: this.#after,
      random: this.#random,
      source: (partition, member, tenure) => this.#source(partition, member, tenure),
      onFailure: ({ options }, { topic, partition }, error, failures) => {
        this.#log.warn(
          { group: options.group, topic, partition, failures, err: error },
          "a partition failed, trying again",
        );
        options.onError?.(error, { topic, partition });
      },
    });
  }

  #source(partition: Partition, { options }: Member, tenure: Tenure): PartitionSource {
    const { signal } = tenure;
    const feed = new PartitionFeed({
      store: this.#store,
      waiting: this.#waiting,
      limits: feedLimits(options),
      after: this.#after,
      partition,
      signal,
    });
    return {
      assign: () => this.#assign(partition, options.group, tenure),
      seek: (offset) => feed.seek(offset),
      next: () => feed.next(),
    };
  }

  async #assign(partition: Partition, group: string, tenure: Tenure): Promise<AssignedPartition> {
    // The member before may have committed without waiting for it: what was asked for before is on the disk after this.
    await this.#writer.write({ bytes: 0, messages: 0, needsRoom: false, stage: () => undefined });
    return {
      topic: partition.topic,
      partition: partition.partition,
      committed: this.#store.committed(group, partition),
      earliestOffset: partition.earliest,
      endOffset: partition.end,
      signal: tenure.signal,
      commit: async (offset, metadata = "") => {
        checkCommit(offset, metadata);
        if (!tenure.isOwner())
          throw new BusError(
            "not_owner",
            `group ${group} took ${partition.topic}/${partition.partition} from this member: offset ${offset} is not committed`,
            { retryable: false },
          );
        await this.#writer.write({
          bytes: Buffer.byteLength(metadata),
          messages: 0,
          needsRoom: false,
          stage: () => this.#store.commit(group, partition, { offset, metadata }),
        });
      },
    };
  }

  #scheduleHousekeeping(): () => void {
    return this.#after(HOUSEKEEPING_MS, () => {
      this.keepHouse()
        .catch((error: unknown) => {
          this.#housekeeping = Promise.resolve();
          this.#log.error({ err: asError(error) }, "retention and compaction of the bus failed");
        })
        .finally(() => {
          if (this.#stopping === null) this.#cancelHousekeeping = this.#scheduleHousekeeping();
        });
    });
  }
}
