import {
  type Bus,
  type BusMessage,
  type CommittedOffset,
  type ConsumeOptions,
  DeadLetterHeaders,
  decodeBatch,
  GatewayReport,
  type OutgoingMessage,
  TELEMETRY,
} from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ExportLogsServiceRequest, ExportMetricsServiceRequest } from "../otlp/definitions.ts";
import { BATCHES_PER_MESSAGE_MAX } from "./message-batches.ts";
import { createOtlpTopicReader, type OtlpTopicReader } from "./otlp-topic-reader.ts";
import { OtlpTopics } from "./otlp-topics-config.ts";

const NOW = 1_760_000_000_000;
const LIMITS = { late_max_ms: 604_800_000, future_max_ms: 600_000, lanes: 2, identities_bytes_max: 16 * 1_048_576 };
const TOPICS = OtlpTopics.parse([
  { topic: "otlp_logs", signal: "logs" },
  { topic: "otlp_metrics", signal: "metrics" },
  { topic: "otlp_json", signal: "logs", encoding: "otlp_json" },
]);

class BusFault extends Error {}

/** One partition of one topic to read, and what was published. `taken`: how many messages of the next publishes arrive before the bus fails. */
class OnePartition implements Bus {
  readonly published: OutgoingMessage[] = [];
  committed: CommittedOffset | null = null;
  taken = Number.POSITIVE_INFINITY;
  readonly #messages: readonly BusMessage[];
  #options: ConsumeOptions | null = null;

  constructor(topic: string, values: readonly (Uint8Array | null)[], partition = 3) {
    this.#messages = values.map((value, offset) => ({
      topic,
      partition,
      offset,
      key: null,
      value,
      headers: {},
      timestampUnixMs: NOW + offset,
    }));
  }

  async publish(messages: readonly OutgoingMessage[]): Promise<void> {
    const arrived = messages.slice(0, this.taken);
    this.taken -= arrived.length;
    this.published.push(...arrived);
    if (arrived.length < messages.length) throw new BusFault("the bus failed");
  }

  async consume(options: ConsumeOptions) {
    this.#options = options;
    return { stop: async () => undefined };
  }

  /** A member takes the partition over and reads what is there, `atOnce` messages each time. */
  async read(atOnce = 2): Promise<void> {
    const options = this.#options;
    const [first] = this.#messages;
    if (options === null || first === undefined) throw new Error("nobody reads");
    const endOffset = this.#messages.length;
    const handler = await options.open({
      topic: first.topic,
      partition: first.partition,
      committed: this.committed,
      earliestOffset: 0,
      endOffset,
      signal: new AbortController().signal,
      commit: async (offset, metadata = "") => {
        this.committed = { offset, metadata };
      },
    });
    for (let at = handler.startOffset; at < endOffset; at = this.committed?.offset ?? 0) {
      await handler.receive(this.#messages.slice(at, at + atOnce), endOffset);
    }
    await handler.close?.();
  }

  async lag(): Promise<readonly number[]> {
    return [];
  }
  async stop(): Promise<void> {
    this.published.length = 0;
  }
}

const quiet = () => undefined;
const readerOn = (bus: Bus): OtlpTopicReader =>
  createOtlpTopicReader({
    bus,
    topics: TOPICS,
    limits: LIMITS,
    now: () => NOW,
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  });

const attribute = (key: string, value: string) => ({ key, value: { stringValue: value } });
const logs = (host: string, ...bodies: readonly string[]): Buffer => {
  const logRecords = bodies.map((body) => ({ timeUnixNano: `${NOW}000000`, body: { stringValue: body } }));
  const request = {
    resourceLogs: [{ resource: { attributes: [attribute("host.name", host)] }, scopeLogs: [{ logRecords }] }],
  };
  return Buffer.from(ExportLogsServiceRequest.encode(ExportLogsServiceRequest.fromObject(request)).finish());
};
const counters = (timeMs: number, names: readonly string[]): Buffer => {
  const dataPoints = [{ startTimeUnixNano: `${NOW - 1000}000000`, timeUnixNano: `${NOW + timeMs}000000`, asInt: 7 }];
  const metrics = names.map((name) => ({ name, sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints } }));
  const request = { resourceMetrics: [{ scopeMetrics: [{ metrics }] }] };
  return Buffer.from(ExportMetricsServiceRequest.encode(ExportMetricsServiceRequest.fromObject(request)).finish());
};

interface StoredRow {
  readonly schema: string;
  readonly producer: string;
  readonly row: Record<string, unknown>;
}

/** The rows that ingest inserts: a sequence that is not above the last one of its producer was seen (docs/adr/0006). */
const stored = (messages: readonly OutgoingMessage[]): StoredRow[] => {
  const last = new Map<string, number>();
  return messages.flatMap(({ value, topic }) => {
    if (value === null || topic.endsWith(".dlq") || topic === "ingest.gateways") return [];
    const batch = decodeBatch(value);
    const { producer, sequence } = batch.header;
    if (sequence <= (last.get(producer) ?? -1)) return [];
    last.set(producer, sequence);
    return Array.from({ length: batch.rowCount }, (_, index) => {
      const cells = TELEMETRY[batch.schema].map(({ name }) => {
        const column: { at(row: number): unknown } = Reflect.apply(batch.column, batch, [name]);
        return [name, column.at(index)] as const;
      });
      return { schema: batch.schema, producer, row: Object.fromEntries(cells) };
    });
  });
};
/** The newest account that was told, and what ingest has of its producers. */
const account = (messages: readonly OutgoingMessage[]) => {
  const { value } = messages.findLast(({ topic }) => topic === "ingest.gateways") ?? {};
  const report = GatewayReport.parse(JSON.parse(Buffer.from(value ?? []).toString()));
  const rows = new Map<string, number>();
  for (const { producer } of stored(messages)) rows.set(producer, (rows.get(producer) ?? 0) + 1);
  return { report, rowsOf: (producer: string) => rows.get(producer) ?? 0 };
};
const bodiesOf = (rows: readonly StoredRow[]): unknown[] =>
  rows.filter(({ schema }) => schema === "logs").map(({ row }) => row.body);

describe("a message of a topic of OTLP", () => {
  it("becomes batches whose producer and sequence follow from its place, and is committed", async () => {
    const bus = new OnePartition("otlp_logs", [logs("web-1", "a", "b"), logs("web-1", "c")]);
    const reader = readerOn(bus);
    await reader.start();
    await bus.read();
    const batches = bus.published.filter(({ topic }) => topic === "telemetry.logs");
    const headers = batches.map(({ value }) => decodeBatch(value ?? Buffer.alloc(0)).header);
    const lane = headers[0]?.producer.match(/^topic:otlp_logs\/3-(\d)-series$/)?.[1];
    expect(headers.map(({ schema, producer, sequence, row_count }) => [schema, producer, sequence, row_count])).toEqual(
      [
        ["log_resources", `topic:otlp_logs/3-${lane}-series`, 0, 1],
        ["logs", `topic:otlp_logs/3-${lane}`, 0, 2],
        ["logs", `topic:otlp_logs/3-${lane}`, BATCHES_PER_MESSAGE_MAX, 1],
      ],
    );
    expect(new Set(batches.map(({ key }) => key))).toEqual(new Set([`lane-${lane}`]));
    expect(bus.committed).toEqual({ offset: 2, metadata: `{"lanes":[[${lane},0,${BATCHES_PER_MESSAGE_MAX},3]]}` });
    expect(reader.status()).toEqual({
      state: "running",
      dead: 0,
      receivers: [{ receiver: "otlp_topic", sender: "otlp_logs", requests: 2, accepted: 3, rejected: {} }],
    });
    await reader.stop();
  });

  it("is counted once in the account, whoever reads it again", async () => {
    const bus = new OnePartition("otlp_logs", [logs("web-1", "a", "b"), logs("web-2", "c"), logs("web-1", "d")]);
    await readerOn(bus).start();
    await bus.read();
    bus.committed = null;
    await readerOn(bus).start();
    await bus.read(1);
    const { report, rowsOf } = account(bus.published);
    expect(report).toMatchObject({
      gateway: "topic:otlp_logs/3",
      topics: { "telemetry.logs": { produced: 4, delivered: 4, spooled: 0, dropped: {} } },
    });
    for (const { producer, rows } of report.checkpoints) expect(rows).toBe(rowsOf(producer));
  });

  it("goes on with an account that begins where its note cannot be read", async () => {
    const bus = new OnePartition("otlp_logs", [logs("web-1", "a", "b"), logs("web-1", "c")]);
    bus.committed = { offset: 1, metadata: "not ours" };
    await readerOn(bus).start();
    await bus.read();
    const { checkpoints } = account(bus.published).report;
    expect(checkpoints).toMatchObject([
      { rows: 1, sequence: BATCHES_PER_MESSAGE_MAX, since_sequence: BATCHES_PER_MESSAGE_MAX },
    ]);
  });

  it("in JSON is read as it is over HTTP", async () => {
    const bus = new OnePartition("otlp_json", [
      Buffer.from('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}}]}]}]}'),
    ]);
    await readerOn(bus).start();
    await bus.read();
    const [row] = stored(bus.published).filter(({ schema }) => schema === "logs");
    // Without a time of its own it is as old as the message, whoever reads it and when.
    expect(row?.row).toMatchObject({ body: "a", timestamp: BigInt(NOW) * 1_000_000n });
  });

  it("that cannot be read goes to the dead letters of its signal, byte for byte, and the others go on", async () => {
    const poison = Buffer.from("poison");
    const bus = new OnePartition("otlp_metrics", [counters(0, ["a"]), poison, null, counters(1, ["a"])]);
    const reader = readerOn(bus);
    await reader.start();
    await bus.read();
    const letters = bus.published.filter(({ topic }) => topic === "telemetry.metrics.dlq");
    expect(letters.map(({ value }) => value)).toEqual([poison, null]);
    expect(letters.map(({ headers }) => DeadLetterHeaders.parse(headers))).toMatchObject([
      { source_topic: "otlp_metrics", source_partition: 3, source_offset: 1, reason: "malformed", at_unix_ms: NOW },
      { source_offset: 2, reason: "malformed", detail: "the message has no value" },
    ]);
    expect(bus.committed?.offset).toBe(4);
    expect(reader.status()).toMatchObject({ dead: 2, receivers: [{ requests: 4, accepted: 2 }] });
  });

  it("that is poison and larger than a message of ours is cut, and says so", async () => {
    const bus = new OnePartition("otlp_logs", [Buffer.alloc(900_000, 0xff)]);
    await readerOn(bus).start();
    await bus.read();
    expect(bus.published[0]?.value?.length).toBe(262_144);
    expect(bus.published[0]?.headers?.detail).toMatch(/^cut to 262144 of 900000 bytes/);
  });

  it("that is read again by another process is in the store once", async () => {
    const values = [logs("web-1", "a", "b"), logs("web-2", "c"), logs("web-1", "d")];
    const bus = new OnePartition("otlp_logs", values);
    await readerOn(bus).start();
    await bus.read();
    bus.committed = { offset: 1, metadata: "" };
    await readerOn(bus).start();
    await bus.read(1);
    expect(bodiesOf(stored(bus.published))).toEqual(["a", "b", "c", "d"]);
  });
});

describe("whatever fails, however often,", () => {
  const names = ["m0", "m1", "m2", "m3"];
  const messages = fc.array(fc.uniqueArray(fc.constantFrom(...names), { minLength: 1 }), {
    minLength: 1,
    maxLength: 6,
  });
  const faults = fc.array(
    fc.record({ taken: fc.nat({ max: 8 }), isNewProcess: fc.boolean(), atOnce: fc.integer({ min: 1, max: 3 }) }),
    {
      maxLength: 6,
    },
  );

  it("each sample is in the store once, and each series is told", async () => {
    await fc.assert(
      fc.asyncProperty(messages, faults, async (given, failures) => {
        const bus = new OnePartition(
          "otlp_metrics",
          given.map((metrics, index) => counters(index, metrics)),
        );
        await readerOn(bus).start();
        for (const { taken, isNewProcess, atOnce } of failures) {
          bus.taken = taken;
          if (isNewProcess) await readerOn(bus).start();
          await bus.read(atOnce).catch((error: unknown) => {
            if (!(error instanceof BusFault)) throw error;
          });
        }
        bus.taken = Number.POSITIVE_INFINITY;
        await bus.read();
        const rows = stored(bus.published);
        const ofSeries = new Map(
          rows.filter(({ schema }) => schema === "metric_series").map(({ row }) => [row.fingerprint, row.metric_name]),
        );
        const samples = rows
          .filter(({ schema, producer }) => schema === "metric_samples" && !producer.endsWith("-series"))
          .map(({ row }) => `${ofSeries.get(row.fingerprint)} ${Number(row.timestamp) - NOW}`);
        const expected = given.flatMap((metrics, index) => metrics.map((name) => `${name} ${index}`));
        expect(samples.sort()).toEqual(expected.sort());
        const { report, rowsOf } = account(bus.published);
        for (const { producer, rows } of report.checkpoints) expect(rows, producer).toBe(rowsOf(producer));
        expect(report.topics["telemetry.metrics"]?.delivered).toBe(expected.length);
      }),
      { numRuns: 150 },
    );
  });
});

describe("the configuration of topics", () => {
  it("names what is wrong", () => {
    expect(OtlpTopics.parse(undefined)).toEqual([]);
    expect(OtlpTopics.safeParse([{ topic: "a b", signal: "logs" }]).error?.message).toMatch(/name of a topic/);
    const twice = [
      { topic: "a", signal: "logs" },
      { topic: "a", signal: "metrics" },
    ];
    expect(OtlpTopics.safeParse(twice).error?.message).toMatch(/each topic once/);
  });
});
