import { setTimeout as delay } from "node:timers/promises";
import { measureCpu } from "./cpu.ts";
import type { BenchEngine } from "./engine.ts";
import type { Measured } from "./engine-limit.ts";
import { type Load, messagesOf, PARTITIONS } from "./workload.ts";
import type { World } from "./world.ts";

export interface Piped extends Measured {
  readonly lost: number;
  readonly doubled: number;
}

const PUBLISH_MESSAGES = 16;
const STALLED_MS_MAX = 30_000;
const POLL_MS = 2;

const publishAll = async ({ bus }: World, load: Load): Promise<void> => {
  const producers = load.byPartition.map(async (_, partition) => {
    const messages = messagesOf(load, partition);
    for (let at = 0; at < messages.length; at += PUBLISH_MESSAGES) {
      await bus.publish(messages.slice(at, at + PUBLISH_MESSAGES));
    }
  });
  await Promise.all(producers);
};

const untilInserted = async ({ ingest }: World, wanted: number): Promise<void> => {
  let [seen, seenAt] = [-1, 0];
  for (;;) {
    const { rowsInserted } = ingest.status().counts;
    if (rowsInserted >= wanted) return;
    if (rowsInserted !== seen) [seen, seenAt] = [rowsInserted, performance.now()];
    if (performance.now() - seenAt > STALLED_MS_MAX)
      throw new Error(`ingest stands still at ${seen} of ${wanted} rows`);
    await delay(POLL_MS);
  }
};

/** Every row of the load, once; the table is empty again afterwards. */
const settle = async (engine: BenchEngine, load: Load): Promise<Pick<Piped, "lost" | "doubled">> => {
  const [count = 0, distinct = 0] = await engine.numbers(
    `SELECT count(), uniqExact(${load.identity}) FROM ${load.table}`,
  );
  await engine.query(`TRUNCATE TABLE ${load.table} SYNC`);
  return { lost: load.rows - distinct, doubled: count - distinct };
};

/** From the first publish, by as many producers as partitions, until a query counts every row. */
export const measurePipeline = async (world: World, engine: BenchEngine, load: Load): Promise<Piped> => {
  await engine.query(`TRUNCATE TABLE ${load.table} SYNC`);
  const before = world.ingest.status().counts.rowsInserted;
  let seconds = 0;
  const cpu = await measureCpu(world.pids, async () => {
    const startedAt = performance.now();
    await Promise.all([publishAll(world, load), untilInserted(world, before + load.rows)]);
    await engine.numbers(`SELECT count() FROM ${load.table}`);
    seconds = (performance.now() - startedAt) / 1000;
  });
  return { rowsPerSecond: load.rows / seconds, seconds, cpu, ...(await settle(engine, load)) };
};

/**
 * The consumer's share alone: everything is on the bus before ingest starts. Joining a group takes seconds in which nothing happens, so the
 * measurement begins when the first range is in, and takes the other partitions' first ranges for done as well.
 */
export const measureDrain = async (world: World, engine: BenchEngine, load: Load): Promise<Piped> => {
  await engine.query(`TRUNCATE TABLE ${load.table} SYNC`);
  const before = world.ingest.status().counts.rowsInserted;
  await world.ingest.stop();
  await publishAll(world, load);
  await world.ingest.start();
  await untilInserted(world, before + 1);
  const begun = (world.ingest.status().counts.rowsInserted - before) * PARTITIONS;
  let seconds = 0;
  const cpu = await measureCpu(world.pids, async () => {
    const startedAt = performance.now();
    await untilInserted(world, before + load.rows);
    await engine.numbers(`SELECT count() FROM ${load.table}`);
    seconds = (performance.now() - startedAt) / 1000;
  });
  if (begun >= load.rows) throw new Error(`${load.rows} rows are too few to see them drain: they came in one range`);
  return { rowsPerSecond: (load.rows - begun) / seconds, seconds, cpu, ...(await settle(engine, load)) };
};
