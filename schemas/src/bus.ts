/**
 * The bus: a durable, partitioned log. Two makes stand in app/src/bus (Apache Kafka through kafkajs; node:sqlite, embedded),
 * and one contract suite runs on both (test/contract/bus.test.ts). Folders that need the bus take these types and nothing more.
 */

export interface OutgoingMessage {
  readonly topic: string;
  /** Decides the partition (murmur2, as Kafka's default partitioner) and, on compacted topics, what supersedes what. */
  readonly key: string;
  /** null is a tombstone on a compacted topic. At most MESSAGE_BYTES_MAX. */
  readonly value: Uint8Array | null;
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

/** `metadata` is a note of at most 4 KiB that the group keeps beside its offset. */
export interface CommittedOffset {
  readonly offset: number;
  readonly metadata: string;
}

/** A partition that this member owns until `signal` aborts. */
export interface AssignedPartition {
  readonly topic: string;
  readonly partition: number;
  /** Where the group stands: the offset of the next message to read. null when it has never committed, or what it committed has expired. */
  readonly committed: CommittedOffset | null;
  readonly earliestOffset: number;
  /** The offset that the next message will get; everything below it is there to be read. */
  readonly endOffset: number;
  readonly signal: AbortSignal;
  /** Durable when it resolves. Rejects with `not_owner` once the partition belongs to another member. */
  commit(offset: number, metadata?: string): Promise<void>;
}

/** What a member does with one partition. Calls never overlap. */
export interface PartitionHandler {
  /** Where to begin: a valid offset between earliest and end, usually `committed`. Below earliest it is moved up. */
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
  /** Called for each partition that this member is given, before its first message. */
  open(partition: AssignedPartition): Promise<PartitionHandler>;
  /** Failures that are retried: for the log and for health. */
  onError?(error: Error, at: { topic: string; partition: number } | null): void;
}

export interface Consumer {
  /** Resolves when no handler runs any more. */
  stop(): Promise<void>;
}

export interface Bus {
  /** Resolves when every message is durable; rejects as a whole. A caller that publishes again after an error may double a message. */
  publish(messages: readonly OutgoingMessage[]): Promise<void>;
  consume(options: ConsumeOptions): Promise<Consumer>;
  /** What a group has yet to read, in messages by topic and partition. */
  lag(group: string, topic: string): Promise<readonly number[]>;
  stop(): Promise<void>;
}

export const MESSAGE_BYTES_MAX = 524_288;

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
