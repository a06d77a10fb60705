import { generateKeyPairSync } from "node:crypto";
import { appendFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AgentConfig, createAgent, createBusLink } from "@homeostat/agent";
import { type Balance, readBalances } from "@homeostat/analytics";
import { createEmbeddedBus } from "@homeostat/app";
import { createDeadLetters, PROJECTION_GROUP, TELEMETRY_GROUP } from "@homeostat/ingest";
import { type Bus, type Checkpoint, type GatewayReport, type Heartbeat, type Ledger, topics } from "@homeostat/schemas";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { type Engine, silent, startEngine } from "../fixtures/batch/engine.ts";
import { startIngest } from "../fixtures/batch/ingest-run.ts";
import { HOST, logsBatch, NOW, on, poison } from "../fixtures/batch/telemetry-values.ts";

const DAY_MS = 86_400_000;

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.stop());
beforeEach(async () => {
  for (const table of ["logs", "ingest_ledger", "heartbeats", "gateways"]) {
    await engine.query(`TRUNCATE TABLE ${table} SYNC`);
  }
});

const startBus = async (now = () => NOW): Promise<{ bus: Bus; dir: string }> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-ledger-"));
  const bus = await createEmbeddedBus({ dir: join(dir, "bus"), topics: topics(), now, log: silent });
  onTestFinished(async () => {
    await bus.stop();
    await rm(dir, { recursive: true, force: true });
  });
  return { bus, dir };
};

const TELEMETRY = ["telemetry.logs", "telemetry.metrics"];

const lag = async (bus: Bus, group: string, topic: string): Promise<number> =>
  (await bus.lag(group, topic)).reduce((sum, one) => sum + one, 0);

const waiting = (bus: Bus) => async (): Promise<ReadonlyMap<string, number>> =>
  new Map(await Promise.all(TELEMETRY.map(async (topic) => [topic, await lag(bus, TELEMETRY_GROUP, topic)] as const)));

const drain = async (bus: Bus): Promise<void> => {
  const run = await startIngest(bus, { insert: engine.store });
  await run.until(async () => {
    const told = ["agent.heartbeats", "ingest.gateways"].map((topic) => lag(bus, PROJECTION_GROUP, topic));
    const sent = TELEMETRY.map((topic) => lag(bus, TELEMETRY_GROUP, topic));
    return (await Promise.all([...told, ...sent])).every((messages) => messages === 0);
  });
  await run.ingest.stop();
};

const balances = (bus: Bus): Promise<readonly Balance[]> =>
  readBalances({ run: engine.store.run, waiting: waiting(bus) });

const sent = (produced: number, more: Partial<Ledger> = {}): Ledger => ({
  produced,
  delivered: produced,
  spooled: 0,
  dropped: {},
  ...more,
});

const beat = async (bus: Bus, told: Record<string, Ledger>, more: Partial<Heartbeat> = {}): Promise<void> => {
  const heartbeat: Heartbeat = {
    host: HOST,
    agent_version: "1",
    state: "online",
    problems: [],
    at_unix_ms: NOW,
    started_at_unix_ms: NOW,
    ledger: sent(0),
    topics: told,
    checkpoints: [],
    spool_bytes: 0,
    site: "",
    labels: {},
    plugins: [],
    clock_skew_ms: null,
    ...more,
  };
  const value = Buffer.from(JSON.stringify(heartbeat));
  await bus.publish([{ topic: "agent.heartbeats", key: heartbeat.host, value }]);
};

describe("the ledger", () => {
  it("of a real agent closes to zero for every topic", async () => {
    const { bus, dir } = await startBus();
    const path = join(dir, "shop.log");
    appendFileSync(path, "INFO one\nINFO two\n");
    const agent = createAgent({
      config: AgentConfig.parse({ host: HOST, interval_ms: 100, flush_ms: 100, logs: [{ path, service: "shop" }] }),
      dir: join(dir, "agent"),
      link: createBusLink({ bus, host: HOST }),
      trustedKeys: [generateKeyPairSync("ed25519").publicKey],
      now: Date.now,
      monotonicMs: () => performance.now(),
      log: silent,
    });
    await agent.start();
    appendFileSync(path, "INFO three\n");
    await expect.poll(() => agent.status().topics["telemetry.logs"]?.delivered).toBe(3);
    await expect.poll(() => agent.status().topics["telemetry.metrics"]?.delivered).toBeGreaterThan(20);
    await agent.stop();
    const { topics: told, checkpoints } = agent.status();
    expect(Object.fromEntries(checkpoints.map(({ topic, rows }) => [topic, rows]))).toEqual(
      Object.fromEntries(Object.entries(told).map(([topic, { delivered }]) => [topic, delivered])),
    );
    await beat(bus, told, { checkpoints });
    await drain(bus);
    const [logs, metrics] = await balances(bus);
    expect(logs).toMatchObject({ sender: HOST, topic: "telemetry.logs", state: "closed", difference: 0, inserted: 3 });
    expect(metrics).toMatchObject({ topic: "telemetry.metrics", state: "closed", difference: 0, dead: 0 });
    expect(metrics?.inserted).toBe(told["telemetry.metrics"]?.produced);
  });

  it("counts what was inserted, repeated, late, malformed, dropped, spooled and replayed, each once", async () => {
    const { bus } = await startBus();
    const late = logsBatch(2, { rows: 5, atUnixMs: NOW - 8 * DAY_MS });
    await bus.publish(
      on("telemetry.logs", [logsBatch(1), late, logsBatch(1), poison(logsBatch(3)), logsBatch(4, { rows: 7 })]),
    );
    await beat(bus, {
      "telemetry.logs": { produced: 18 + 2 + 4, delivered: 18, spooled: 2, dropped: { spool_full: 4 } },
    });
    await drain(bus);
    const dlq = createDeadLetters({ bus, log: silent, name: "test" });
    await dlq.replay(["telemetry.logs.dlq/0/0"], { by: "ann", dryRun: false });
    await drain(bus);
    const [replays, logs] = await balances(bus);
    expect(logs).toMatchObject({
      sender: HOST,
      ...{ topic: "telemetry.logs", state: "closed", inserted: 10, dead: 8, duplicate: 3, difference: 0 },
    });
    expect(replays).toMatchObject({ sender: "dlq", topic: "telemetry.logs", state: "unknown", inserted: 5, dead: 0 });
  });

  it("stays closed when its own old rows have gone: each row carries the totals", async () => {
    const { bus } = await startBus();
    for (const sequence of [1, 2, 3]) {
      await bus.publish(on("telemetry.logs", [logsBatch(sequence)]));
      await drain(bus);
    }
    await engine.query("DELETE FROM ingest_ledger WHERE start_offset < 2 SETTINGS lightweight_deletes_sync = 2");
    await bus.publish(on("telemetry.logs", [logsBatch(4)]));
    await beat(bus, { "telemetry.logs": sent(12) });
    await drain(bus);
    expect(await engine.numbers("SELECT count(), sum(rows), max(total_rows) FROM ingest_ledger")).toEqual([2, 6, 12]);
    expect(await balances(bus)).toMatchObject([{ state: "closed", inserted: 12, difference: 0 }]);
  });

  it("says where it does not close, and whether what differs can still come", async () => {
    const { bus } = await startBus();
    await bus.publish(on("telemetry.logs", [logsBatch(1)]));
    await beat(bus, { "telemetry.logs": sent(6) });
    await drain(bus);
    expect(await balances(bus), "three rows were lost").toMatchObject([{ state: "open", difference: 3 }]);
    await bus.publish(on("telemetry.logs", [logsBatch(2)]));
    expect(await balances(bus), "they wait").toMatchObject([{ state: "in_flight", difference: 3 }]);
    await drain(bus);
    expect(await balances(bus)).toMatchObject([{ state: "closed", difference: 0 }]);
    await bus.publish(on("telemetry.logs", [logsBatch(3)]));
    await drain(bus);
    expect(await balances(bus), "sent after the heartbeat").toMatchObject([{ state: "in_flight", difference: -3 }]);
    await beat(bus, { "telemetry.logs": sent(6) }, { at_unix_ms: NOW + 120_000 });
    await drain(bus);
    expect(await balances(bus), "more than was ever sent").toMatchObject([{ state: "open", difference: -3 }]);
  });

  /** Batches of three rows; the sender says that all up to `through` were delivered. */
  const checkpoint = (through: number, producer: string): Checkpoint => ({
    ...{ topic: "telemetry.logs", producer, sequence: through, rows: through * 3, since_sequence: 1 },
  });

  it("finds a batch that is missing in a busy stream at once, and takes no delay for a loss", async () => {
    const { bus } = await startBus();
    const scenarios = fc.record({
      batches: fc.integer({ min: 2, max: 12 }),
      // An agent whose first batch is missing is "cut": the ledger cannot tell a loss from its own forgetting.
      lost: fc.uniqueArray(fc.integer({ min: 2, max: 12 }), { maxLength: 2 }),
      through: fc.integer({ min: 1, max: 12 }),
      drained: fc.integer({ min: 1, max: 12 }),
    });
    let host = 0;
    await fc.assert(
      fc.asyncProperty(scenarios, async ({ batches, lost, through: wished, drained }) => {
        const name = `busy-${host++}`;
        const producer = `${name}/0a`;
        // A sender knows its last delivered sequence: that one is on the bus by its own account.
        const through = Math.min(wished, batches);
        const sequences = Array.from({ length: batches }, (_, index) => index + 1);
        const kept = sequences.filter((sequence) => !lost.includes(sequence));
        const publish = (some: readonly number[]) =>
          bus.publish(
            on(
              "telemetry.logs",
              some.map((sequence) => logsBatch(sequence, { producer })),
            ),
          );
        await beat(
          bus,
          { "telemetry.logs": sent(through * 3) },
          { host: name, checkpoints: [checkpoint(through, producer)] },
        );
        if (kept.some((sequence) => sequence <= drained)) await publish(kept.filter((sequence) => sequence <= drained));
        await drain(bus);
        if (kept.some((sequence) => sequence > drained)) await publish(kept.filter((sequence) => sequence > drained));
        else await bus.publish(on("telemetry.logs", [logsBatch(1, { producer: `other-${host}/0a` })]));
        const inserted = kept.filter((sequence) => sequence <= drained);
        const isReached = inserted.some((sequence) => sequence >= through);
        const missing = through - inserted.filter((sequence) => sequence <= through).length;
        const state = missing === 0 ? "closed" : isReached ? "open" : "in_flight";
        const found = (await balances(bus)).filter(({ sender }) => sender === name);
        expect(found).toMatchObject([{ state, difference: missing * 3 }]);
        await drain(bus);
        const lostRows = 3 * lost.filter((sequence) => sequence <= through).length;
        const after = (await balances(bus)).filter(({ sender }) => sender === name);
        expect(after).toMatchObject([{ state: lostRows === 0 ? "closed" : "open", difference: lostRows }]);
      }),
      { numRuns: 15 },
    );
  });

  it("knows the account at a sequence in the middle of a range, with a repetition behind it", async () => {
    const { bus } = await startBus();
    const producer = `${HOST}/0a`;
    await bus.publish(
      on(
        "telemetry.logs",
        [1, 2, 3, 5].map((sequence) => logsBatch(sequence, { producer })),
      ),
    );
    await drain(bus);
    await bus.publish(on("telemetry.logs", [logsBatch(5, { producer })]));
    await beat(bus, { "telemetry.logs": sent(12) }, { checkpoints: [checkpoint(4, producer)] });
    await drain(bus);
    expect(await balances(bus)).toMatchObject([{ state: "open", difference: 3, inserted: 12, duplicate: 3 }]);
    await beat(bus, { "telemetry.logs": sent(9) }, { checkpoints: [checkpoint(3, producer)] });
    await drain(bus);
    expect(await balances(bus)).toMatchObject([{ state: "closed", difference: 0 }]);
  });

  it("lets rows come that their sender had given up, and no more than those", async () => {
    const { bus } = await startBus();
    const producer = `${HOST}/0a`;
    await bus.publish(
      on(
        "telemetry.logs",
        [1, 2].map((sequence) => logsBatch(sequence, { producer })),
      ),
    );
    const told = { ...checkpoint(2, producer), rows: 3 };
    await beat(
      bus,
      { "telemetry.logs": sent(6, { delivered: 3, dropped: { spool_full: 3 } }) },
      { checkpoints: [told] },
    );
    await drain(bus);
    expect(await balances(bus)).toMatchObject([{ state: "closed", difference: -3 }]);
    await beat(
      bus,
      { "telemetry.logs": sent(5, { delivered: 3, dropped: { spool_full: 2 } }) },
      { checkpoints: [told] },
    );
    await drain(bus);
    expect(await balances(bus)).toMatchObject([{ state: "open", difference: -3 }]);
  });

  it("does not take a sender that fell silent before its oldest row for one that lost everything", async () => {
    const { bus } = await startBus();
    await bus.publish(on("telemetry.logs", [logsBatch(1, { producer: "other/0a" })]));
    const gone = { host: "gone", at_unix_ms: NOW - DAY_MS };
    await beat(bus, { "telemetry.logs": sent(3) }, { ...gone, checkpoints: [checkpoint(1, "gone/0a")] });
    await drain(bus);
    const [found] = (await balances(bus)).filter(({ sender }) => sender === "gone");
    expect(found).toMatchObject({ state: "cut" });
  });

  it("names batches whose rows cannot be counted", async () => {
    const { bus } = await startBus();
    await bus.publish(on("telemetry.logs", [logsBatch(1), Buffer.from("junk")]));
    await beat(bus, { "telemetry.logs": sent(6) });
    await drain(bus);
    expect(await balances(bus)).toMatchObject([{ state: "unreadable", difference: 3, unreadable_batches: 1 }]);
  });

  it("does not judge a sender whose beginning it has not seen", async () => {
    const { bus } = await startBus();
    await bus.publish(on("telemetry.logs", [logsBatch(9)]));
    await beat(bus, { "telemetry.logs": sent(27) });
    await drain(bus);
    expect(await balances(bus)).toMatchObject([{ state: "cut", difference: 24 }]);
  });

  it("follows a host to its new spool", async () => {
    let now = NOW;
    const { bus } = await startBus(() => now);
    for (const rows of [9, 4]) {
      await bus.publish(on("telemetry.logs", [logsBatch(1, { producer: `${HOST}/spool-${rows}`, rows })]));
      await drain(bus);
      now += 1000;
    }
    await beat(bus, { "telemetry.logs": sent(4) });
    await drain(bus);
    expect(await balances(bus)).toMatchObject([{ state: "closed", inserted: 4 }]);
  });

  it("misses the first batch of a gateway that began within the ledger's memory", async () => {
    const { bus } = await startBus();
    const producer = "gateway:edge-1/0c-0";
    await bus.publish(on("telemetry.logs", [logsBatch(1, { producer: "other/0a" }), logsBatch(2, { producer })]));
    const report: GatewayReport = {
      gateway: "gateway:edge-1/0c",
      at_unix_ms: NOW + 1,
      started_at_unix_ms: NOW + 1,
      receivers: [],
      topics: { "telemetry.logs": sent(6) },
      checkpoints: [checkpoint(2, producer)],
    };
    await bus.publish([{ topic: "ingest.gateways", key: report.gateway, value: Buffer.from(JSON.stringify(report)) }]);
    await drain(bus);
    const [found] = (await balances(bus)).filter(({ sender }) => sender === report.gateway);
    expect(found).toMatchObject({ state: "open", difference: 3 });
  });

  it("takes the lanes of a gateway together", async () => {
    const { bus } = await startBus();
    const gateway = "gateway:edge-1/0a-0b";
    const lanes = [1, 2].map((lane) => logsBatch(1, { producer: `${gateway}-${lane}`, rows: lane }));
    await bus.publish(on("telemetry.logs", lanes));
    const report: GatewayReport = {
      gateway,
      at_unix_ms: NOW,
      started_at_unix_ms: NOW,
      receivers: [],
      topics: { "telemetry.logs": sent(5, { delivered: 3, dropped: { refused: 2 } }) },
      checkpoints: [],
    };
    await bus.publish([{ topic: "ingest.gateways", key: gateway, value: Buffer.from(JSON.stringify(report)) }]);
    await drain(bus);
    expect(await balances(bus)).toMatchObject([{ sender: gateway, state: "closed", inserted: 3, difference: 0 }]);
  });
});
