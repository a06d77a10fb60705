import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStore, StoreConfig } from "@homeostat/analytics";
import { createEmbeddedBus } from "@homeostat/app";
import { type IngestStatus, type InsertPort, TELEMETRY_GROUP } from "@homeostat/ingest";
import {
  type Bus,
  type BusMessage,
  DeadLetterHeaders,
  decodeHeader,
  type Finding,
  InsertError,
  type OutgoingMessage,
  topics,
} from "@homeostat/schemas";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { type Engine, silent, startEngine } from "../fixtures/batch/engine.ts";
import { type Run, startIngest as startIngestOn } from "../fixtures/batch/ingest-run.ts";
import { HOST, logsBatch, NOW, on, poison, samplesBatch, seriesBatch } from "../fixtures/batch/telemetry-values.ts";

const DAY_MS = 86_400_000;

let engine: Engine;
let port: InsertPort;
beforeAll(async () => {
  engine = await startEngine();
  port = engine.store;
});
afterAll(() => engine.stop());
/** An emptied table has forgotten its deduplication tokens too. */
beforeEach(async () => {
  for (const table of ["logs", "metric_series", "metric_samples", "ingest_ledger", "findings"]) {
    await engine.query(`TRUNCATE TABLE ${table} SYNC`);
  }
});

/** A bus in a directory of its own; its clock stands at NOW. */
const startBus = async (): Promise<Bus> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-ingest-"));
  const bus = await createEmbeddedBus({ dir, topics: topics(), now: () => NOW, log: silent });
  onTestFinished(async () => {
    await bus.stop();
    await rm(dir, { recursive: true, force: true });
  });
  return bus;
};

/** The real store, but that it refuses one batch for ever, by its sequence. */
const refusing = (sequence: number): InsertPort => ({
  insertJson: (insert) => port.insertJson(insert),
  lastSequences: (topic, partition) => port.lastSequences(topic, partition),
  insertNative: async (insert) => {
    if (insert.frames.some((frame) => decodeHeader(frame).sequence === sequence)) {
      throw new InsertError("the engine says no", { retryable: false });
    }
    await port.insertNative(insert);
  },
});

const startIngest = (
  bus: Bus,
  options: { insert?: InsertPort; crash?: (step: number, when: "before" | "after") => void } = {},
): Promise<Run> => startIngestOn(bus, { insert: port, ...options });

const isDrained = async (bus: Bus, topic: string): Promise<boolean> =>
  (await bus.lag(TELEMETRY_GROUP, topic)).every((messages) => messages === 0);

/** Runs ingest until it has read all of the topic, and stops it. */
const drain = async (bus: Bus, topic: string, options: { insert?: InsertPort } = {}): Promise<IngestStatus> => {
  const run = await startIngest(bus, options);
  await run.until(() => isDrained(bus, topic));
  await run.ingest.stop();
  return run.ingest.status();
};

const readAll = async (bus: Bus, topic: string): Promise<readonly BusMessage[]> => {
  const messages: BusMessage[] = [];
  const done = Promise.withResolvers<void>();
  const consumer = await bus.consume({
    group: "reader",
    topics: [topic],
    open: async (partition) => {
      if (partition.endOffset === 0) done.resolve();
      return {
        startOffset: 0,
        receive: async (received, endOffset) => {
          messages.push(...received);
          if ((received.at(-1)?.offset ?? -1) + 1 >= endOffset) done.resolve();
        },
      };
    },
  });
  await done.promise;
  await consumer.stop();
  return messages;
};

const deadLetters = async (bus: Bus, topic: string) =>
  (await readAll(bus, `${topic}.dlq`)).map(({ headers, value, key }) => ({
    ...DeadLetterHeaders.parse(headers),
    value,
    key,
  }));

const logBodies = async (): Promise<string[]> =>
  (await engine.query("SELECT body FROM logs ORDER BY body FORMAT TSV")).split("\n").filter(Boolean);

const bodiesOf = (sequences: readonly number[], producer = `${HOST}/a`): string[] =>
  sequences.flatMap((sequence) => [0, 1, 2].map((row) => `${producer} batch ${sequence} row ${row}`)).sort();

describe("telemetry", () => {
  it("comes into the store once, each row as it was sent", async () => {
    const bus = await startBus();
    await bus.publish(on("telemetry.logs", [logsBatch(1), logsBatch(2)]));
    await bus.publish(on("telemetry.metrics", [seriesBatch(1), samplesBatch(2), samplesBatch(3)]));
    const run = await startIngest(bus);
    await run.until(
      async () => (await isDrained(bus, "telemetry.logs")) && (await isDrained(bus, "telemetry.metrics")),
    );
    expect(await logBodies()).toEqual(bodiesOf([1, 2]));
    const row = `toUnixTimestamp64Nano(timestamp) = ${NOW - 1000}000002 AND attributes['row'] = '2'`;
    expect(await engine.numbers(`SELECT countIf(${row}) FROM logs`)).toEqual([2]);
    expect(await engine.numbers("SELECT count(), sum(value) FROM metric_samples")).toEqual([8, 12]);
    expect(await engine.numbers("SELECT count() FROM metric_series")).toEqual([1]);
    expect(run.ingest.status()).toMatchObject({ state: "running", counts: { batchesInserted: 5, rowsInserted: 15 } });
  });

  it("tells the ledger what became of each range", async () => {
    const bus = await startBus();
    await bus.publish(
      on("telemetry.logs", [logsBatch(1), logsBatch(2), logsBatch(2), logsBatch(1, { producer: "b/b" })]),
    );
    await drain(bus, "telemetry.logs");
    const answer = await engine.query(
      `SELECT producer, last_sequence, start_offset, end_offset, batches, rows, duplicates, dead, toUnixTimestamp64Milli(at)
       FROM ingest_ledger ORDER BY producer FORMAT TSV`,
    );
    expect(answer.trim().split("\n")).toEqual([
      `b/b\t1\t0\t4\t1\t3\t0\t0\t${NOW}`,
      `web-1/a\t2\t0\t4\t2\t6\t1\t0\t${NOW}`,
    ]);
  });

  it("is dropped when its sequence is in already: within a range, in a later one, and after a restart", async () => {
    const bus = await startBus();
    await bus.publish(on("telemetry.logs", [logsBatch(1), logsBatch(2), logsBatch(1), logsBatch(2)]));
    const first = await startIngest(bus);
    await first.until(() => isDrained(bus, "telemetry.logs"));
    await bus.publish(on("telemetry.logs", [logsBatch(2), logsBatch(3)]));
    await first.until(() => isDrained(bus, "telemetry.logs"));
    await first.ingest.stop();
    await bus.publish(on("telemetry.logs", [logsBatch(3), logsBatch(4)]));
    const counts = (await drain(bus, "telemetry.logs")).counts;
    expect(await logBodies()).toEqual(bodiesOf([1, 2, 3, 4]));
    expect([first.ingest.status().counts.duplicates, counts.duplicates]).toEqual([3, 1]);
  });

  it("goes to the dead letters when it is malformed, and its neighbours do not suffer", async () => {
    const bus = await startBus();
    const flipped = Buffer.from(logsBatch(2));
    flipped[flipped.length - 3] = (flipped[flipped.length - 3] ?? 0) ^ 1;
    const values = [
      logsBatch(1),
      flipped,
      Buffer.from("hello"),
      null,
      poison(logsBatch(2)),
      samplesBatch(1),
      logsBatch(3),
    ];
    await bus.publish(on("telemetry.logs", values));
    const { counts } = await drain(bus, "telemetry.logs");
    expect(await logBodies()).toEqual(bodiesOf([1, 3]));
    const letters = await deadLetters(bus, "telemetry.logs");
    expect(letters.map(({ source_offset, reason, detail }) => [source_offset, reason, detail.split(":")[0]])).toEqual([
      [1, "malformed", "checksum_mismatch"],
      [2, "malformed", "truncated"],
      [3, "malformed", "truncated"],
      [4, "malformed", "row_count_mismatch"],
      [5, "wrong_schema", "metric_samples does not belong on telemetry.logs"],
    ]);
    expect(letters[0]).toMatchObject({ source_topic: "telemetry.logs", source_partition: 0, key: HOST });
    expect(letters.map(({ value }) => value && Buffer.from(value))).toEqual(
      values.slice(1, 6).map((value) => value && Buffer.from(value)),
    );
    expect(counts.dead).toEqual({ malformed: 4, wrong_schema: 1, late: 0, future: 0, refused: 0 });
  });

  it("goes to the dead letters when it is late or from the future, by the bus's clock", async () => {
    const bus = await startBus();
    const values = [
      logsBatch(1, { atUnixMs: NOW - 7 * DAY_MS - 1 }),
      logsBatch(2, { atUnixMs: NOW - 7 * DAY_MS }),
      logsBatch(3, { atUnixMs: NOW + 600_000 }),
      logsBatch(4, { atUnixMs: NOW + 600_001 }),
    ];
    await bus.publish(on("telemetry.logs", values));
    await drain(bus, "telemetry.logs");
    expect(await logBodies()).toEqual(bodiesOf([2, 3]));
    const letters = await deadLetters(bus, "telemetry.logs");
    expect(letters.map(({ source_offset, reason }) => [source_offset, reason])).toEqual([
      [0, "late"],
      [3, "future"],
    ]);
    expect(letters[0]?.detail).toContain(`oldest row is of ${new Date(NOW - 7 * DAY_MS - 1).toISOString()}`);
    expect(letters[0]?.detail).toContain(`took it at ${new Date(NOW).toISOString()}`);
  });

  it("that the engine refuses is found message by message, and the others go in", async () => {
    const bus = await startBus();
    await bus.publish(on("telemetry.logs", [logsBatch(1), logsBatch(2), logsBatch(3)]));
    const { counts } = await drain(bus, "telemetry.logs", { insert: refusing(2) });
    expect(await logBodies()).toEqual(bodiesOf([1, 3]));
    const letters = await deadLetters(bus, "telemetry.logs");
    expect(letters).toMatchObject([{ source_offset: 1, reason: "refused", detail: "the engine says no" }]);
    expect(counts).toMatchObject({ batchesInserted: 2, dead: { refused: 1 } });
    expect(await engine.numbers("SELECT sum(rows), sum(dead) FROM ingest_ledger")).toEqual([6, 1]);
  });

  it("that was refused as a whole is never tried as a whole again, even by an engine that has changed its mind", async () => {
    const bus = await startBus();
    await bus.publish(on("telemetry.logs", [logsBatch(1), logsBatch(2), logsBatch(3)]));
    let isDead = false;
    const crashed = await startIngest(bus, {
      insert: refusing(2),
      crash: (step, when) => {
        isDead ||= step === 4 && when === "after";
        if (isDead) throw new Error("crashed");
      },
    });
    await crashed.until(() => isDead);
    await crashed.ingest.stop();
    expect(crashed.steps.slice(0, 4)).toEqual(["commit", "insert logs", "commit", "insert logs"]);
    expect(await logBodies()).toEqual(bodiesOf([1]));
    await drain(bus, "telemetry.logs");
    expect(await logBodies()).toEqual(bodiesOf([1, 2, 3]));
  });

  it("is moved in ranges of at most 100 messages, the end of one and the intent of the next in one commit", async () => {
    const bus = await startBus();
    const sequences = Array.from({ length: 250 }, (_, index) => index + 1);
    await bus.publish(
      on(
        "telemetry.logs",
        sequences.map((sequence) => logsBatch(sequence)),
      ),
    );
    const run = await startIngest(bus);
    await run.until(() => isDrained(bus, "telemetry.logs"));
    expect(await logBodies()).toEqual(bodiesOf(sequences));
    const move = ["commit", "insert logs", "insert ingest_ledger"];
    expect(run.steps).toEqual([...move, ...move, ...move, "commit"]);
    expect(await engine.numbers("SELECT start_offset, end_offset FROM ingest_ledger ORDER BY 1")).toEqual([
      0, 100, 100, 200, 200, 250,
    ]);
  });
});

describe("a store in trouble", () => {
  it("makes telemetry wait on the bus, is reported once after ten seconds and once when it is over", async () => {
    const bus = await startBus();
    await bus.publish(on("telemetry.logs", [logsBatch(1)]));
    let isUp = false;
    // Port 1: nobody listens.
    const config = StoreConfig.parse({});
    const nowhere = createStore({
      url: "http://127.0.0.1:1",
      username: "",
      password: "",
      config,
      now: () => NOW,
      log: silent,
    });
    onTestFinished(() => nowhere.close());
    const insert: InsertPort = {
      insertNative: (each) => (isUp ? port : nowhere).insertNative(each),
      insertJson: (each) => (isUp ? port : nowhere).insertJson(each),
      lastSequences: (topic, partition) => (isUp ? port : nowhere).lastSequences(topic, partition),
    };
    const run = await startIngest(bus, { insert });
    await run.until(() => run.ingest.status().counts.retries >= 40);
    expect(run.ingest.status()).toMatchObject({
      state: "failing",
      failing: { error: expect.stringMatching(/cannot be reached/) },
    });
    expect(run.findings).toMatchObject([
      { state: "firing", category: "data_health", rule: "ingest_store_failing", entity: { host: HOST } },
    ]);
    const [fired] = run.findings;
    expect((fired?.detected_at_unix_ms ?? 0) - (fired?.started_at_unix_ms ?? 0)).toBeGreaterThanOrEqual(10_000);
    isUp = true;
    await run.until(async () => (await isDrained(bus, "telemetry.logs")) && run.findings.length > 1);
    expect(await logBodies()).toEqual(bodiesOf([1]));
    expect(run.findings.map(({ state, finding_id }) => [state, finding_id])).toEqual([
      ["firing", fired?.finding_id],
      ["resolved", fired?.finding_id],
    ]);
    expect(run.ingest.status()).toMatchObject({ state: "running", failing: null });
  });

  it("does not keep ingest from stopping, and what waited goes in at the next start", async () => {
    const bus = await startBus();
    await bus.publish(on("telemetry.logs", [logsBatch(1), logsBatch(2)]));
    const insert: InsertPort = {
      insertJson: (each) => port.insertJson(each),
      lastSequences: (topic, partition) => port.lastSequences(topic, partition),
      insertNative: async () => {
        throw new InsertError("too many parts", { retryable: true });
      },
    };
    const run = await startIngest(bus, { insert });
    await run.until(() => run.ingest.status().counts.retries >= 3);
    await run.ingest.stop();
    expect(run.ingest.status().state).toBe("stopped");
    expect(await logBodies()).toEqual([]);
    await drain(bus, "telemetry.logs");
    expect(await logBodies()).toEqual(bodiesOf([1, 2]));
  });
});

describe("after a crash between any two steps, every row is in exactly once", () => {
  /** Two tables, a repeated sequence, a malformed batch and one that the engine refuses: every branch of the protocol. */
  const values = [
    seriesBatch(1),
    samplesBatch(2),
    Buffer.from("junk"),
    samplesBatch(2),
    samplesBatch(3),
    samplesBatch(4),
  ];
  const STEPS = [
    "commit",
    "publish",
    "insert metric_series",
    "insert metric_samples",
    "commit",
    "insert metric_samples",
    "insert metric_samples",
    "insert metric_samples",
    "publish",
    "insert ingest_ledger",
    "commit",
  ];

  const expectExactlyOnce = async (bus: Bus, expected: { series: number[]; ledger: number[] }): Promise<void> => {
    expect(await engine.numbers("SELECT fingerprint FROM metric_series ORDER BY 1")).toEqual(expected.series);
    const samples = "SELECT fingerprint, count(), sum(value) FROM metric_samples GROUP BY 1 ORDER BY 1";
    expect(await engine.numbers(samples)).toEqual([2, 4, 6, 4, 4, 6]);
    expect(
      await engine.numbers(
        "SELECT sum(batches), sum(rows), sum(duplicates), sum(dead), max(last_sequence) FROM ingest_ledger",
      ),
    ).toEqual(expected.ledger);
    const letters = await deadLetters(bus, "telemetry.metrics");
    const buried = new Set(letters.map(({ source_offset, reason }) => `${source_offset} ${reason}`));
    expect([...buried].sort()).toEqual(["2 malformed", "4 refused"]);
  };

  it("without a crash, for comparison", async () => {
    const bus = await startBus();
    await bus.publish(on("telemetry.metrics", values));
    const run = await startIngest(bus, { insert: refusing(3) });
    await run.until(() => isDrained(bus, "telemetry.metrics"));
    expect(run.steps).toEqual(STEPS);
    await expectExactlyOnce(bus, { series: [1], ledger: [3, 9, 1, 2, 4] });
  });

  const crashes = STEPS.flatMap((name, index) =>
    (["before", "after"] as const).map((when) => ({ when, name, step: index + 1 })),
  );
  it.each(crashes)("$when step $step ($name)", async ({ when: crashWhen, step: crashStep }) => {
    const bus = await startBus();
    await bus.publish(on("telemetry.metrics", values));
    let isDead = false;
    const crashed = await startIngest(bus, {
      insert: refusing(3),
      crash: (step, when) => {
        isDead ||= step === crashStep && when === crashWhen;
        if (isDead) throw new Error("crashed");
      },
    });
    await crashed.until(() => isDead);
    await crashed.ingest.stop();
    // More arrives while nobody reads: the redo must keep to the range that was begun.
    await bus.publish(on("telemetry.metrics", [samplesBatch(4), seriesBatch(5)]));
    await drain(bus, "telemetry.metrics", { insert: refusing(3) });
    await expectExactlyOnce(bus, { series: [1, 5], ledger: [4, 10, 2, 2, 5] });
  });
});

describe("the redo of an intent", () => {
  it("waits until all of its range has been read, however the bus cuts it", async () => {
    const bus = await startBus();
    const all = Array.from({ length: 5 }, (_, index) => logsBatch(index + 1));
    await bus.publish(on("telemetry.logs", all));
    let isDead = false;
    const crashed = await startIngest(bus, {
      crash: (step, when) => {
        isDead ||= step === 2 && when === "after";
        if (isDead) throw new Error("crashed");
      },
    });
    await crashed.until(() => isDead);
    await crashed.ingest.stop();
    expect(await logBodies()).toEqual(bodiesOf([1, 2, 3, 4, 5]));
    const piecemeal: Bus = {
      ...bus,
      publish: (m) => bus.publish(m),
      lag: (g, t) => bus.lag(g, t),
      stop: () => bus.stop(),
      consume: (options) => bus.consume({ ...options, maxMessages: 2 }),
    };
    const run = await startIngest(piecemeal);
    await run.until(() => isDrained(bus, "telemetry.logs"));
    expect(run.steps).toEqual(["insert logs", "insert ingest_ledger", "commit"]);
    expect(await logBodies()).toEqual(bodiesOf([1, 2, 3, 4, 5]));
    expect(await engine.numbers("SELECT start_offset, end_offset, batches FROM ingest_ledger")).toEqual([0, 5, 5]);
  });
});

describe("JSON records", () => {
  const finding = (id: string, state: Finding["state"]): Finding => ({
    finding_id: id,
    detector: "threshold",
    rule: "cpu",
    state,
    severity: "warning",
    category: "symptom",
    entity: { host: HOST, service: "shop" },
    started_at_unix_ms: NOW,
    detected_at_unix_ms: NOW,
    value: 0.97,
    unit: "1",
    expected: null,
    summary: "CPU is busy",
    labels: {},
    evidence: [],
  });
  const record = (topic: string, key: string, value: unknown): OutgoingMessage => ({
    topic,
    key,
    value: Buffer.from(typeof value === "string" ? value : JSON.stringify(value)),
  });

  it("are projected into their tables, the newest state of each key", async () => {
    const bus = await startBus();
    const resolved = finding("f1", "resolved");
    await bus.publish([
      record("detect.findings", HOST, finding("f1", "firing")),
      record("detect.findings", HOST, finding("f2", "firing")),
      record("detect.findings", HOST, resolved),
    ]);
    const run = await startIngest(bus);
    await run.until(() => run.ingest.status().counts.recordsProjected === 3);
    const rows = await engine.query(
      "SELECT finding_id, state, version, record FROM findings FINAL ORDER BY 1 FORMAT JSONCompactEachRow",
    );
    const [first, second] = rows
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(first.slice(0, 2)).toEqual(["f1", "resolved"]);
    expect(JSON.parse(first[3])).toEqual(resolved);
    expect(second.slice(0, 2)).toEqual(["f2", "firing"]);
  });

  it("that are malformed are counted and reported, once a topic, and the others go on", async () => {
    const bus = await startBus();
    await bus.publish([
      record("detect.findings", HOST, "{ not json"),
      record("detect.findings", HOST, { ...finding("f1", "firing"), severity: "terrible" }),
      record("detect.findings", HOST, finding("f2", "firing")),
    ]);
    const run = await startIngest(bus);
    await run.until(() => run.ingest.status().counts.recordsProjected === 1);
    expect(run.ingest.status().counts.recordsMalformed).toBe(2);
    expect(run.findings).toMatchObject([
      { rule: "ingest_records_malformed", state: "firing", labels: { topic: "detect.findings" } },
    ]);
    expect(await engine.numbers("SELECT count() FROM findings")).toEqual([1]);
  });
});
