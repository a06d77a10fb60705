import { createIngest, type Ingest, IngestConfig, TELEMETRY_GROUP } from "@homeostat/ingest";
import { type Bus, type Finding, type Topic, topics } from "@homeostat/schemas";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { createKafkaBus } from "../../app/src/kafka/index.ts";
import { type Engine, silent, startEngine } from "../fixtures/batch/engine.ts";
import { HOST, logsBatch } from "../fixtures/batch/telemetry-values.ts";
import { Broker } from "./broker.ts";

/** Short in CI; on request for minutes: HOMEOSTAT_OUTAGE_S=300 npm run test:kafka -- ingest-faults */
const OUTAGE_MS = Number(process.env.HOMEOSTAT_OUTAGE_S ?? 12) * 1000;
const PARTITIONS = 4;
const ROWS = 10;

let broker: Broker;
let engine: Engine;
beforeAll(async () => {
  [broker, engine] = await Promise.all([Broker.create(), startEngine()]);
  await broker.start();
}, 180_000);
afterAll(async () => {
  await engine.stop();
  await broker.dispose();
});
beforeEach(async () => {
  for (const table of ["logs", "ingest_ledger"]) await engine.query(`TRUNCATE TABLE ${table} SYNC`);
});

const ALL: readonly Topic[] = topics().map((topic) =>
  topic.name === "telemetry.logs" ? { ...topic, partitions: PARTITIONS } : topic,
);

const openBus = async (name: string): Promise<Bus> => {
  const bus = await createKafkaBus({
    brokers: [broker.address],
    clientId: name,
    topics: ALL,
    log: silent,
    heartbeatMs: 200,
  });
  onTestFinished(() => bus.stop());
  return bus;
};

interface Member {
  readonly ingest: Ingest;
  readonly findings: Finding[];
  stop(): Promise<void>;
}

/** As a process of its own would be: another bus, another ingest, and only Kafka and the store between them. */
const join = async (name: string): Promise<Member> => {
  const bus = await openBus(name);
  const findings: Finding[] = [];
  const ingest = createIngest({
    bus,
    insert: engine.store,
    config: IngestConfig.parse({ max_wait_ms: 100 }),
    now: Date.now,
    log: silent,
    host: name,
    reportFinding: async (finding) => {
      await bus.publish([{ topic: "detect.findings", key: name, value: Buffer.from(JSON.stringify(finding)) }]);
      findings.push(finding);
    },
  });
  await ingest.start();
  onTestFinished(() => ingest.stop());
  return { ingest, findings, stop: () => ingest.stop() };
};

/** One producer for each partition: each publishes the same batch until the bus has it, so that the same value may be there twice. */
const startLoad = (bus: Bus) => {
  let isOver = false;
  let refused = 0;
  const sent = Array.from({ length: PARTITIONS }, () => 0);
  const produce = async (partition: number): Promise<void> => {
    for (let sequence = 1; !isOver; sequence += 1) {
      const value = logsBatch(sequence, { rows: ROWS, atUnixMs: Date.now(), producer: `${HOST}-${partition}/a` });
      for (let isTaken = false; !isTaken; )
        try {
          await bus.publish([{ topic: "telemetry.logs", key: HOST, partition, value }]);
          isTaken = true;
        } catch (error) {
          expect(error).toMatchObject({ code: "unreachable", retryable: true });
          refused += 1;
        }
      sent[partition] = sequence;
    }
  };
  const done = Promise.all(sent.map((_, partition) => produce(partition)));
  const rows = () => sent.reduce((sum, count) => sum + count, 0) * ROWS;
  return {
    rows,
    refused: () => refused,
    more: (count: number) => {
      const before = rows();
      return expect.poll(rows, { timeout: 60_000 }).toBeGreaterThan(before + count);
    },
    stop: async (): Promise<number> => {
      isOver = true;
      await done;
      return rows();
    },
  };
};

const stored = () => engine.numbers("SELECT count(), uniqExact(body) FROM logs");

/** Every row once, and the ledger knows of each. */
const expectExactly = async (rows: number, bus: Bus): Promise<void> => {
  await expect.poll(() => bus.lag(TELEMETRY_GROUP, "telemetry.logs"), { timeout: 60_000 }).toEqual([0, 0, 0, 0]);
  expect(await stored()).toEqual([rows, rows]);
  const totals = "SELECT max(total_rows) AS rows FROM ingest_ledger WHERE topic = 'telemetry.logs' GROUP BY producer";
  expect(await engine.numbers(`SELECT sum(rows) FROM (${totals})`)).toEqual([rows]);
};

describe("ingest on Apache Kafka loses and doubles nothing", () => {
  it("while its members come and go under load: two, three, one", async () => {
    const bus = await openBus("producer");
    const [first, second] = await Promise.all([join("one"), join("two")]);
    const load = startLoad(bus);
    await load.more(2000);
    const third = await join("three");
    await load.more(2000);
    await Promise.all([first.stop(), second.stop()]);
    await load.more(2000);
    const rows = await load.stop();
    await expectExactly(rows, bus);
    const inserted = [first, second, third].map(({ ingest }) => ingest.status().counts.rowsInserted);
    expect(inserted.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(rows);
    expect(third.ingest.status().counts.rowsInserted).toBeGreaterThan(0);
  }, 120_000);

  it(
    `while the broker is away for ${OUTAGE_MS / 1000} s and comes back`,
    async () => {
      const bus = await openBus("producer");
      const member = await join("one");
      const load = startLoad(bus);
      await load.more(1000);
      await broker.kill();
      const since = performance.now();
      await expect
        .poll(() => performance.now() - since, { timeout: OUTAGE_MS * 2 + 60_000 })
        .toBeGreaterThan(OUTAGE_MS);
      expect(load.refused()).toBeGreaterThan(0);
      await broker.start();
      await load.more(1000);
      await expectExactly(await load.stop(), bus);
      const states = member.findings.filter(({ rule }) => rule === "ingest_bus_failing").map(({ state }) => state);
      expect(states.length === 0 || states.at(-1) === "resolved", "what was told is told to be over").toBe(true);
    },
    OUTAGE_MS * 2 + 180_000,
  );
});
