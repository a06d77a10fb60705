import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEmbeddedBus } from "@homeostat/app";
import { createDeadLetters, TELEMETRY_GROUP } from "@homeostat/ingest";
import { topics } from "@homeostat/schemas";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { type Engine, silent, startEngine } from "../fixtures/batch/engine.ts";
import { type Run, startIngest } from "../fixtures/batch/ingest-run.ts";
import { HOST, logsBatch, NOW, on, poison } from "../fixtures/batch/telemetry-values.ts";

const DAY_MS = 86_400_000;

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.stop());
beforeEach(async () => {
  for (const table of ["logs", "ingest_ledger"]) await engine.query(`TRUNCATE TABLE ${table} SYNC`);
});

const startBus = async (now: () => number = () => NOW) => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-faults-"));
  const bus = await createEmbeddedBus({ dir, topics: topics(), now, log: silent });
  onTestFinished(async () => {
    await bus.stop();
    await rm(dir, { recursive: true, force: true });
  });
  return bus;
};
type World = Awaited<ReturnType<typeof startBus>>;

const drain = async (bus: World): Promise<Run> => {
  const run = await startIngest(bus, { insert: engine.store });
  await run.until(async () => (await bus.lag(TELEMETRY_GROUP, "telemetry.logs")).every((lag) => lag === 0));
  await run.ingest.stop();
  return run;
};

const told = ({ findings }: Run) => findings.map(({ rule, state, labels }) => [rule, state, labels.batches]);
const stored = () => engine.numbers("SELECT count(), uniqExact(body) FROM logs");
const batches = (count: number) => Array.from({ length: count }, (_, index) => logsBatch(index + 1));

describe("no acknowledged record is lost, none is doubled, and a finding says what happened", () => {
  it("when the engine refuses some batches of a range for ever", async () => {
    const bus = await startBus();
    await engine.query("ALTER TABLE logs ADD CONSTRAINT no_third CHECK body NOT LIKE '%0 row%'");
    onTestFinished(async () => {
      await engine.query("ALTER TABLE logs DROP CONSTRAINT IF EXISTS no_third");
    });
    await bus.publish(on("telemetry.logs", batches(40)));
    const run = await drain(bus);
    expect(await stored(), "36 of 40 batches of three rows").toEqual([108, 108]);
    expect(told(run)).toEqual([["telemetry_refused", "firing", "4"]]);
    expect(run.findings[0]?.summary).toContain("VIOLATED_CONSTRAINT");
    const dlq = createDeadLetters({ bus, log: silent, name: "test" });
    const { letters } = await dlq.list({ reason: "refused" });
    expect(letters.map(({ sequence }) => sequence)).toEqual([10, 20, 30, 40]);
    await engine.query("ALTER TABLE logs DROP CONSTRAINT no_third");
    await dlq.replay(
      letters.map(({ id }) => id),
      { by: "ann", dryRun: false },
    );
    await drain(bus);
    expect(await stored(), "the mended table takes the rest").toEqual([120, 120]);
  });

  it("when a poison message stands in the middle of a partition, and when a sender lies", async () => {
    const bus = await startBus();
    const values = batches(30);
    values.splice(15, 1, poison(logsBatch(16)));
    await bus.publish(on("telemetry.logs", values));
    const run = await drain(bus);
    expect(await stored()).toEqual([87, 87]);
    expect(run.findings).toMatchObject([
      {
        ...{ rule: "telemetry_malformed", state: "firing", category: "data_health" },
        labels: { topic: "telemetry.logs", from: `${HOST}/a`, batches: "1" },
        summary: expect.stringContaining("offset 15: malformed: row_count_mismatch"),
      },
    ]);
  });

  it("when rows come late in bulk: those in time are taken, the others kept", async () => {
    const bus = await startBus();
    const late = Array.from({ length: 2 }, (_, index) =>
      logsBatch(index + 1, { rows: 600, atUnixMs: NOW - 8 * DAY_MS }),
    );
    await bus.publish(on("telemetry.logs", [...late, logsBatch(3)]));
    const run = await drain(bus);
    expect(await stored()).toEqual([3, 3]);
    expect(told(run)).toEqual([["telemetry_outside_fences", "firing", "2"]]);
  });

  it("but what the bus's retention took before it was read is lost, and counted", async () => {
    let now = NOW;
    const bus = await startBus(() => now);
    await bus.publish(on("telemetry.logs", batches(2)));
    await drain(bus);
    await bus.publish(on("telemetry.logs", [logsBatch(3), logsBatch(4), logsBatch(5)]));
    now += 3 * DAY_MS;
    await bus.keepHouse();
    await bus.publish(on("telemetry.logs", [logsBatch(6)]));
    const run = await drain(bus);
    expect(await stored()).toEqual([9, 9]);
    expect(run.ingest.status().counts.messagesExpired).toBe(3);
    expect(told(run)).toEqual([["telemetry_expired", "firing", "3"]]);
  });
});
