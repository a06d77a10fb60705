/**
 * The bus: a durable, partitioned log. Two makes stand in app/src (kafka/: Apache Kafka through kafkajs; embedded/bus/: node:sqlite),
 * and one contract suite runs on both (test/contract/bus.ts). Folders that need the bus take these types and nothing more.
 */

export interface OutgoingMessage {
  readonly topic: string;
  /** Decides the partition (murmur2, as Kafka's default partitioner) and, on compacted topics, what supersedes what. */
  readonly key: string;
  /** null is a tombstone on a compacted topic. At most MESSAGE_BYTES_MAX. The bytes must stay as they are until publish resolves. */
  readonly value: Uint8Array | null;
  /** Together with the key at most KEY_AND_HEADERS_BYTES_MAX. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Overrides the key's choice. */
  readonly partition?: number;
}

export interface BusMessage {
  readonly topic: string;
  readonly partition: number;
  /** Grows by at least one from message to message; compaction leaves gaps. */
  readonly offset: number;
  readonly key: string | null;
  readonly value: Uint8Array | null;
  readonly headers: Readonly<Record<string, string>>;
  /** When the bus took it, or the producer's clock, as the broker is configured. Never used for ordering. */
  readonly timestampUnixMs: number;
}

/** `metadata` is a note of at most METADATA_BYTES_MAX that the group keeps beside its offset. */
export interface CommittedOffset {
  readonly offset: number;
  readonly metadata: string;
}

/**
 * A partition that this member owns. `signal` aborts when it must be given back: start nothing new, bring to an end what runs.
 * A commit is still taken until `close` has resolved (within HAND_OVER_MS_MAX, when another member waits for the partition).
 */
export interface AssignedPartition {
  readonly topic: string;
  readonly partition: number;
  /**
   * Where the group stands: the offset of the next message to read. null when it has never committed, or what it committed has
   * expired. It may be below `earliestOffset`, when retention was faster than the group.
   */
  readonly committed: CommittedOffset | null;
  readonly earliestOffset: number;
  /**
   * The offset that the next message will get. Unless it equals `earliestOffset`, the message just below it is there: whoever replays up
   * to it comes to an end, whatever compaction took on the way.
   */
  readonly endOffset: number;
  readonly signal: AbortSignal;
  /** Durable when it resolves. Rejects with `not_owner` once the partition is given back. Moving back is allowed. */
  commit(offset: number, metadata?: string): Promise<void>;
}

/** What a member does with one partition. Calls never overlap. */
export interface PartitionHandler {
  /** Where to begin, usually `committed`. Below earliest it is moved up, above end it is moved down. */
  readonly startOffset: number;
  /** Messages in order, at least one. When it rejects, the same messages come again after a back-off. `endOffset` as above, at the time of the read. */
  receive(messages: readonly BusMessage[], endOffset: number): Promise<void>;
  /** The partition goes away or the consumer stops; nothing is received afterwards. */
  close?(): Promise<void>;
}

export interface ConsumeOptions {
  readonly group: string;
  readonly topics: readonly string[];
  /** The most that one `receive` gets. */
  readonly maxMessages?: number;
  readonly maxBytes?: number;
  /** Wait up to maxWaitMs for minBytes to gather. */
  readonly minBytes?: number;
  readonly maxWaitMs?: number;
  /** Called for each partition that this member is given, empty or not, before its first message. Called again when it rejects. */
  open(partition: AssignedPartition): Promise<PartitionHandler>;
  /** Failures that are retried: for the log and for health. */
  onError?(error: Error, at: { topic: string; partition: number } | null): void;
}

export interface Consumer {
  /** Resolves when no handler runs any more. */
  stop(): Promise<void>;
}

export interface Bus {
  /**
   * Resolves when every message is durable. After a rejection some of them may be there none the less, so a caller that publishes
   * again may double a message; the bus itself may, while a broker comes and goes. Messages of one key keep the order of the calls,
   * awaited or not. A call of at most PUBLISH_WHOLE_BYTES_MAX for one partition is there whole or not at all.
   * `inOrder`: whoever finds one of these messages finds those before it, of whatever topic, also after a failure or a crash; other
   * calls for the same keys are to wait until it has resolved.
   */
  publish(messages: readonly OutgoingMessage[], options?: { readonly inOrder?: boolean }): Promise<void>;
  consume(options: ConsumeOptions): Promise<Consumer>;
  /** How many offsets lie between what a group has committed (or the beginning) and the end, by partition. Compaction's gaps count. */
  lag(group: string, topic: string): Promise<readonly number[]>;
  stop(): Promise<void>;
}

export const MESSAGE_BYTES_MAX = 524_288;
/** Values of one call that fit one record batch of Kafka, with their keys and up to a thousand records' own fields (app/src/kafka/producer.ts). */
export const PUBLISH_WHOLE_BYTES_MAX = 655_360;
export const KEY_AND_HEADERS_BYTES_MAX = 16_384;
/** Kafka's own default (offset.metadata.max.bytes). */
export const METADATA_BYTES_MAX = 4_096;
/** What one publish may carry in all. */
export const PUBLISH_BYTES_MAX = 67_108_864;
/** How long a member that has lost a partition may take to bring its handler to an end. */
export const HAND_OVER_MS_MAX = 10_000;

/** Boundary failures of the bus. `retryable` says whether the same call may succeed later. */
export class BusError extends Error {
  override readonly name = "BusError";
  readonly code: "unreachable" | "full" | "too_large" | "unknown_topic" | "not_owner" | "stopped" | "corrupt";
  readonly retryable: boolean;
  constructor(code: BusError["code"], message: string, options: { retryable: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable;
  }
}
