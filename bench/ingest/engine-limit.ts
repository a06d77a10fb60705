import { nativeInsert } from "@homeostat/analytics";
import { measureCpu } from "./cpu.ts";
import type { BenchEngine } from "./engine.ts";
import type { Load } from "./workload.ts";

/** Ingest's own: see ingest/src/telemetry/range.ts. */
const FRAMES_PER_INSERT = 100;
const INSERT_BYTES_MAX = 8 * 1_048_576;

/** Bodies as large as ingest makes them where a backlog lets it. */
const bodiesOf = (values: readonly Uint8Array[]): Buffer[] => {
  const groups: Uint8Array[][] = [];
  let bytes = 0;
  for (const value of values) {
    const group = groups.at(-1);
    if (group === undefined || group.length === FRAMES_PER_INSERT || bytes + value.length > INSERT_BYTES_MAX) {
      groups.push([value]);
      bytes = value.length;
    } else {
      group.push(value);
      bytes += value.length;
    }
  }
  return groups.map((group) => Buffer.concat(group));
};

export interface Measured {
  readonly rowsPerSecond: number;
  readonly seconds: number;
  /** Seconds of processor by process. */
  readonly cpu: Readonly<Record<string, number>>;
}

/**
 * The engine alone: the same batches into an equal table by the same statement and settings, a connection for each partition, in bodies that
 * are put together beforehand and sent from memory.
 */
export const measureEngine = async (engine: BenchEngine, load: Load): Promise<Measured> => {
  const table = `engine_${load.table}`;
  await engine.query(`DROP TABLE IF EXISTS ${table} SYNC`);
  await engine.query(`CREATE TABLE ${table} AS ${load.table}`);
  const statement = nativeInsert(load.table, table);
  const connections = load.byPartition.map(bodiesOf);
  let seconds = 0;
  const cpu = await measureCpu({ engine: engine.pid, sender: process.pid }, async () => {
    const startedAt = performance.now();
    await Promise.all(
      connections.map(async (bodies) => {
        for (const body of bodies) await engine.insert(statement, body);
      }),
    );
    const [count] = await engine.numbers(`SELECT count() FROM ${table}`);
    seconds = (performance.now() - startedAt) / 1000;
    if (count !== load.rows) throw new Error(`the engine has ${count} of ${load.rows} rows`);
  });
  await engine.query(`DROP TABLE ${table} SYNC`);
  return { rowsPerSecond: load.rows / seconds, seconds, cpu };
};
