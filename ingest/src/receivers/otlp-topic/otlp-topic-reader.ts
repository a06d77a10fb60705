import {
  type AssignedPartition,
  type Bus,
  type BusMessage,
  type Consumer,
  type DeadLetterHeaders,
  type GatewayReport,
  type Log,
  MESSAGE_BYTES_MAX,
  type OutgoingMessage,
  type PartitionHandler,
  type TelemetryTopic,
} from "@homeostat/schemas";
import { countRejected, ReceiverCounts } from "../../gateway/receiver-counts.ts";
import { RequestError } from "../../gateway/receiver-route.ts";
import { JSON_TYPE, PROTOBUF } from "../otlp/answers.ts";
import { appendLogs } from "../otlp/append-logs.ts";
import { appendMetrics } from "../otlp/append-metrics.ts";
import { decodeOtlpLogs, decodeOtlpMetrics } from "../otlp/decode.ts";
import { SeriesMemo } from "../otlp/series-memo.ts";
import { countIn, type LaneAccounts, readAccounts, reportOf, writeAccounts } from "./lane-accounts.ts";
import { MessageBatches, TooManyBatches } from "./message-batches.ts";
import type { OtlpTopic, OtlpTopics } from "./otlp-topics-config.ts";
import { type TopicLimits, TopicRecords } from "./topic-records.ts";

export const OTLP_TOPIC_GROUP = "ingest-otlp";

const RECEIVER = "otlp_topic";

const REPORT_MS = 15_000;
/** Messages of a Collector have up to a MiB each. */
const READ_BYTES_MAX = 8 * 1_048_576;
const READ_MESSAGES_MAX = 200;
/** What one publish carries, about; the batches of the messages read so far. */
const PUBLISH_BYTES = 8 * 1_048_576;
/** Of a refused message that is larger than a message of our own, this much is kept. */
const LETTER_BYTES_MAX = MESSAGE_BYTES_MAX / 2;

export interface OtlpTopicReaderOptions {
  readonly bus: Bus;
  readonly topics: OtlpTopics;
  readonly limits: TopicLimits;
  readonly now: () => number;
  readonly log: Log;
}

export interface OtlpTopicStatus {
  readonly state: "stopped" | "running";
  /** By topic, as a gateway counts by sender: `requests` are messages; a message that is read twice is counted twice. */
  readonly receivers: GatewayReport["receivers"];
  /** Messages that went to the dead letters. */
  readonly dead: number;
}

export interface OtlpTopicReader {
  start(): Promise<void>;
  /** Resolves when nothing is under way any more. */
  stop(): Promise<void>;
  status(): OtlpTopicStatus;
}

/**
 * Takes what an OpenTelemetry Collector's kafka exporter writes (`otlp_proto`, `otlp_json`) from topics of the bus, and makes our own batches of it.
 * An offset is committed when the bus has its batches; a message that is read again makes batches that ingest has seen. A message that
 * cannot be read goes to the dead letters of its signal's topic.
 */
export const createOtlpTopicReader = (options: OtlpTopicReaderOptions): OtlpTopicReader => {
  const { bus, topics, log } = options;
  const ports: ReaderPorts = {
    ...options,
    records: new TopicRecords(options),
    memo: new SeriesMemo(),
    counts: new ReceiverCounts(),
    dead: { count: 0 },
    startedAtUnixMs: options.now(),
  };
  const partitions = new Set<TopicPartition>();
  let timer: NodeJS.Timeout | undefined;
  let consumer: Consumer | null = null;

  const open = async (partition: AssignedPartition): Promise<PartitionHandler> => {
    const source = topics.find(({ topic }) => topic === partition.topic);
    if (source === undefined) throw new Error(`no reader is configured for ${partition.topic}`);
    const opened = new TopicPartition(partition, source, ports, () => partitions.delete(opened));
    partitions.add(opened);
    return opened;
  };

  return {
    start: async () => {
      if (consumer !== null) throw new Error("the reader of OTLP topics runs already");
      if (topics.length === 0) return;
      consumer = await bus.consume({
        group: OTLP_TOPIC_GROUP,
        topics: topics.map(({ topic }) => topic),
        maxMessages: READ_MESSAGES_MAX,
        maxBytes: READ_BYTES_MAX,
        open,
        onError: (error, at) => log.warn({ err: error, ...at }, "a partition of OTLP failed and is tried again"),
      });
      timer = setInterval(() => {
        for (const partition of partitions) void partition.report();
      }, REPORT_MS);
    },
    stop: async () => {
      clearInterval(timer);
      const running = consumer;
      consumer = null;
      await running?.stop();
    },
    status: () => ({
      state: consumer === null ? "stopped" : "running",
      receivers: ports.counts.read(),
      dead: ports.dead.count,
    }),
  };
};

interface ReaderPorts extends OtlpTopicReaderOptions {
  readonly records: TopicRecords;
  readonly memo: SeriesMemo;
  readonly counts: ReceiverCounts;
  readonly dead: { count: number };
  readonly startedAtUnixMs: number;
}

class TopicPartition implements PartitionHandler {
  readonly startOffset: number;
  readonly #partition: AssignedPartition;
  readonly #source: OtlpTopic;
  readonly #ports: ReaderPorts;
  readonly #batches: MessageBatches;
  readonly #onClose: () => void;
  /** Of the messages below the committed offset. */
  #accounts: LaneAccounts;
  #reported: LaneAccounts | null = null;

  constructor(partition: AssignedPartition, source: OtlpTopic, ports: ReaderPorts, onClose: () => void) {
    this.startOffset = partition.committed?.offset ?? partition.earliestOffset;
    this.#partition = partition;
    this.#source = source;
    this.#ports = ports;
    this.#batches = new MessageBatches({ topic: topicOf(source), source: partition });
    this.#accounts = readAccounts(partition.committed?.metadata ?? "", this.#batches.prefix);
    this.#onClose = onClose;
  }

  async receive(messages: readonly BusMessage[]): Promise<void> {
    let outgoing: OutgoingMessage[] = [];
    let bytes = 0;
    let accounts = this.#accounts;
    for (const [index, message] of messages.entries()) {
      const made = this.#read(message);
      if (made.isData) accounts = countIn(accounts, this.#batches.data());
      outgoing.push(...made.messages);
      for (const { value } of made.messages) bytes += value?.length ?? 0;
      if (bytes < PUBLISH_BYTES && index < messages.length - 1) continue;
      await this.#publish(outgoing);
      await this.#partition.commit(message.offset + 1, writeAccounts(accounts));
      this.#accounts = accounts;
      outgoing = [];
      bytes = 0;
    }
  }

  async close(): Promise<void> {
    this.#onClose();
    await this.report();
  }

  /** What has been committed, as a gateway tells it; once for each change. */
  async report(): Promise<void> {
    const { bus, log, now, startedAtUnixMs } = this.#ports;
    const accounts = this.#accounts;
    if (accounts === this.#reported || accounts.size === 0) return;
    const { prefix } = this.#batches;
    const report = reportOf(accounts, { prefix, topic: topicOf(this.#source), nowUnixMs: now(), startedAtUnixMs });
    try {
      await bus.publish([{ topic: "ingest.gateways", key: prefix, value: Buffer.from(JSON.stringify(report)) }]);
      this.#reported = accounts;
    } catch (error) {
      // The next one says it all again.
      log.warn({ err: error, of: prefix }, "the account of a topic of OTLP cannot be published");
    }
  }

  async #publish(outgoing: readonly OutgoingMessage[]): Promise<void> {
    if (outgoing.length === 0) return;
    try {
      await this.#ports.bus.publish(outgoing);
    } catch (error) {
      this.#ports.records.forgetTold();
      throw error;
    }
  }

  #read(message: BusMessage): { readonly messages: readonly OutgoingMessage[]; readonly isData: boolean } {
    const { records, counts, log, dead } = this.#ports;
    const count = counts.of(RECEIVER, message.topic);
    count.requests++;
    try {
      this.#batches.begin(message.offset);
      records.begin(this.#batches, message.timestampUnixMs);
      this.#append(message.value);
      const messages = this.#batches.finish();
      count.accepted += records.accepted;
      for (const [reason, refused] of records.rejected) countRejected(count, reason, refused);
      return { messages, isData: true };
    } catch (error) {
      if (!(error instanceof RequestError) && !(error instanceof TooManyBatches)) throw error;
      // What it told stands in batches that are thrown away now; a malformed one told nothing.
      if (error instanceof TooManyBatches) records.forgetTold();
      dead.count++;
      const { topic, partition, offset } = message;
      log.warn({ topic, partition, offset, detail: error.message }, "set a message of OTLP aside");
      return { messages: [this.#deadLetter(message, error)], isData: false };
    }
  }

  #append(value: Uint8Array | null): void {
    if (value === null) throw new RequestError(400, "the message has no value");
    const { records, memo } = this.#ports;
    const { signal, encoding } = this.#source;
    const body = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    const contentType = encoding === "otlp_proto" ? PROTOBUF : JSON_TYPE;
    if (signal === "logs") appendLogs(records, records, decodeOtlpLogs(body, contentType));
    else appendMetrics(records, records, decodeOtlpMetrics(body, contentType, memo));
  }

  #deadLetter(message: BusMessage, error: Error): OutgoingMessage {
    const { value } = message;
    const isCut = value !== null && value.length > LETTER_BYTES_MAX;
    const cut = isCut ? `cut to ${LETTER_BYTES_MAX} of ${value.length} bytes; ` : "";
    const headers: Record<keyof DeadLetterHeaders, string> = {
      source_topic: message.topic,
      source_partition: String(message.partition),
      source_offset: String(message.offset),
      reason: error instanceof TooManyBatches ? "too_large" : "malformed",
      detail: (cut + error.message).slice(0, 1000),
      at_unix_ms: String(this.#ports.now()),
    };
    const kept = isCut ? value.subarray(0, LETTER_BYTES_MAX) : value;
    return { topic: `${topicOf(this.#source)}.dlq`, key: message.key ?? "", value: kept, headers };
  }
}

const topicOf = ({ signal }: OtlpTopic): TelemetryTopic => (signal === "logs" ? "telemetry.logs" : "telemetry.metrics");
