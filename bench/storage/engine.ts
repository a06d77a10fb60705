import { type Engine, startEngine } from "../../test/fixtures/batch/engine.ts";
import { cpuSeconds } from "../peers/peer-process.ts";

const MEMORY_BYTES = 1024 * 1_048_576;

/** The real engine with our tables, and what its process has used of the processor. */
export interface BenchEngine extends Engine {
  cpuSeconds(): number;
}

export const startBenchEngine = async (): Promise<BenchEngine> => {
  const engine = await startEngine({ memoryBytesMax: MEMORY_BYTES });
  return { ...engine, cpuSeconds: () => cpuSeconds(engine.pid) };
};

export interface Sized {
  readonly rows: number;
  readonly bytes: number;
  /** Compressed bytes by column. */
  readonly columns: Readonly<Record<string, number>>;
}

/** What a table takes once it is merged to one part a day: data, marks, indexes and all. */
export const sizeOf = async (engine: BenchEngine, table: string): Promise<Sized> => {
  await engine.query(`OPTIMIZE TABLE ${table} FINAL`);
  const where = `database = currentDatabase() AND table = '${table}' AND active`;
  const [rows = 0, bytes = 0] = await engine.numbers(
    `SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE ${where}`,
  );
  const columns = await engine.query(
    `SELECT column, sum(column_data_compressed_bytes) FROM system.parts_columns WHERE ${where} GROUP BY column ORDER BY column FORMAT TSV`,
  );
  return {
    rows,
    bytes,
    columns: Object.fromEntries(
      columns
        .trim()
        .split("\n")
        .map((line) => line.split("\t"))
        .map(([name = "", size]) => [name, Number(size)]),
    ),
  };
};

/** Frames of batches become bodies as ingest makes them. */
const FRAMES_PER_INSERT = 64;

export const bodiesOf = (frames: readonly Uint8Array[]): readonly Uint8Array[] =>
  Array.from({ length: Math.ceil(frames.length / FRAMES_PER_INSERT) }, (_, at) =>
    Buffer.concat(frames.slice(at * FRAMES_PER_INSERT, (at + 1) * FRAMES_PER_INSERT)),
  );

/** Inserts them all; answers the seconds of processor time that it took, without merges if the table has them stopped. */
export const insertAll = async (engine: BenchEngine, sql: string, bodies: readonly Uint8Array[]): Promise<number> => {
  const before = engine.cpuSeconds();
  for (const body of bodies) await engine.query(sql, body);
  return engine.cpuSeconds() - before;
};
