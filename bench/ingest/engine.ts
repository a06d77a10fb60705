import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStore, type Store, StoreConfig } from "@homeostat/analytics";
import { startEmbeddedStore } from "@homeostat/app";
import type { Log } from "@homeostat/schemas";

const nothing = (): void => undefined;

/** The engine grumbles about merges that end with their table: what matters comes back as the answer to a statement. */
const silent: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

const shown = (fields: object): string =>
  JSON.stringify(fields, (_key, value: unknown) => (value instanceof Error ? value.message : value));

/** Says what goes wrong in the bus and ingest; a measurement with retries in it is none. */
export const benchLog: Log = {
  debug: nothing,
  info: nothing,
  warn: (fields, message) => void process.stderr.write(`warning: ${message} ${shown(fields)}\n`),
  error: (fields, message) => void process.stderr.write(`error: ${message} ${shown(fields)}\n`),
};

/** The engine with our tables in it, the store that the platform uses, and statements over HTTP with nothing of ours in between. */
export interface BenchEngine {
  readonly pid: number;
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly store: Store;
  query(sql: string): Promise<string>;
  /** Every cell of the answer, row by row. */
  numbers(sql: string): Promise<number[]>;
  /** `statement` ends with its format; `body` is zstd. */
  insert(statement: string, body: Buffer): Promise<void>;
  stop(): Promise<void>;
}

/** One block an insert, as large as its body; by a token, for without one the engine would hash all of it. */
const INSERT_SETTINGS = {
  max_insert_block_size: "1048449",
  min_insert_block_size_rows: "1048449",
  min_insert_block_size_bytes: "1073741824",
};

export const startBenchEngine = async (memoryBytesMax = 1_073_741_824): Promise<BenchEngine> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-bench-engine-"));
  const { url, username, password, pid, stop } = await startEmbeddedStore({ dir, log: silent, memoryBytesMax });
  const store = createStore({ url, username, password, config: StoreConfig.parse({}), now: Date.now, log: benchLog });
  await store.migrate();
  const connections = new Agent({ keepAlive: true });
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  /** The leanest way in: one buffer of known length through a socket that stays open. */
  const send = (parameters: Record<string, string>, body: Buffer, encoding: Record<string, string>): Promise<string> =>
    new Promise((resolve, reject) => {
      const target = `${url}/?${new URLSearchParams({ database: "homeostat", ...parameters })}`;
      const headers = { authorization, "content-length": body.length, ...encoding };
      const outgoing = request(target, { method: "POST", agent: connections, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("error", reject);
        response.once("end", () => {
          const answer = Buffer.concat(chunks).toString();
          if (response.statusCode === 200) resolve(answer);
          else reject(new Error(answer.slice(0, 1000)));
        });
      });
      outgoing.once("error", reject);
      outgoing.end(body);
    });
  const query = (sql: string): Promise<string> => send({}, Buffer.from(sql), {});
  return {
    pid,
    url,
    username,
    password,
    store,
    query,
    numbers: async (sql) => (await query(`${sql} FORMAT TSV`)).trim().split(/\s+/).filter(Boolean).map(Number),
    insert: async (statement, body) => {
      await send({ query: statement, ...INSERT_SETTINGS, insert_deduplication_token: randomUUID() }, body, {
        "content-encoding": "zstd",
      });
    },
    stop: async () => {
      connections.destroy();
      await store.close();
      await stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
};
