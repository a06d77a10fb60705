import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStore, StoreConfig } from "@homeostat/analytics";
import { startEmbeddedStore } from "@homeostat/app";
import type { Log } from "@homeostat/schemas";

const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const MEMORY_BYTES = 1024 * 1_048_576;
/** USER_HZ of Linux. */
const TICKS_PER_SECOND = 100;

/** The real engine with our tables, statements over HTTP, and what its process has used of the processor. */
export interface BenchEngine {
  query(sql: string, body?: Uint8Array): Promise<string>;
  /** The first row's cells. */
  numbers(sql: string): Promise<readonly number[]>;
  cpuSeconds(): number;
  stop(): Promise<void>;
}

export const startBenchEngine = async (): Promise<BenchEngine> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-storage-"));
  const { url, username, password, pid, stop } = await startEmbeddedStore({
    dir,
    log: quiet,
    memoryBytesMax: MEMORY_BYTES,
  });
  const store = createStore({ url, username, password, config: StoreConfig.parse({}), now: Date.now, log: quiet });
  await store.migrate();
  await store.close();
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  const query: BenchEngine["query"] = async (sql, body) => {
    const parameters = new URLSearchParams({ database: "homeostat", ...(body === undefined ? {} : { query: sql }) });
    const response = await fetch(`${url}/?${parameters}`, {
      method: "POST",
      body: body === undefined ? sql : new Uint8Array(body),
      headers: { authorization, ...(body === undefined ? {} : { "content-encoding": "zstd" }) },
    });
    const answer = await response.text();
    if (!response.ok) throw new Error(answer.slice(0, 1000));
    return answer;
  };
  return {
    query,
    numbers: async (sql) => (await query(`${sql} FORMAT TSV`)).trim().split(/\s+/).filter(Boolean).map(Number),
    cpuSeconds: () => {
      // proc(5): after the name in parentheses come the state and, eleven and twelve fields on, user and system time.
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    },
    stop: async () => {
      await stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
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

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
