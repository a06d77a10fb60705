import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { createStore, logSearch, type Query, type Store, StoreConfig } from "../../analytics/src/index.ts";
import { type EmbeddedStore, startEmbeddedStore } from "../../app/src/embedded/store/index.ts";
import { DAY_MS, logBatch, NOON, quietLog } from "./store-rows.ts";

const dir = mkdtempSync(join(tmpdir(), "homeostat-volumes-"));
const coldDir = join(dir, "cold");
const AGED_DAYS = 6;

const disks = {
  name: "disks_of_logs",
  params: z.strictObject({}),
  row: z.strictObject({ day: z.string(), disk_name: z.string() }),
  rowsMax: 10,
  sql: "SELECT partition AS day, disk_name FROM system.parts WHERE database = 'homeostat' AND table = 'logs' AND active ORDER BY day",
} satisfies Query;

const open = async (config: object, cold?: string): Promise<{ engine: EmbeddedStore; store: Store }> => {
  const engine = await startEmbeddedStore({
    dir: join(dir, "hot"),
    log: quietLog,
    ...(cold !== undefined && { coldDir: cold }),
  });
  const { url, username, password } = engine;
  const options = { url, username, password, now: Date.now, log: quietLog, config: StoreConfig.parse(config) };
  const store = createStore(options);
  await store.migrate();
  return { engine, store };
};

const insert = (store: Store, body: string, atMs: number) =>
  store.insertNative({ table: "logs", frames: [logBatch([{ body, atMs }])], dedupToken: body, rowCount: 1 });

const all = { from_unix_ms: NOON - 30 * DAY_MS, to_unix_ms: NOON + DAY_MS };

afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("a store with a cold directory", () => {
  it("moves days there when they are old enough, those from before it was set too, and answers from both", async () => {
    const before = await open({});
    await insert(before.store, "aged", NOON - AGED_DAYS * DAY_MS);
    await insert(before.store, "young", NOON);
    expect((await before.store.run(disks, {})).map(({ disk_name }) => disk_name)).toEqual(["default", "default"]);
    await before.store.close();
    await before.engine.stop();

    const { engine, store } = await open({ cold: { after_days: { logs: 3 } } }, coldDir);
    try {
      const day = (atMs: number) => new Date(atMs).toISOString().slice(0, 10);
      await expect
        .poll(() => store.run(disks, {}))
        .toEqual([
          { day: day(NOON - AGED_DAYS * DAY_MS), disk_name: "cold" },
          { day: day(NOON), disk_name: "default" },
        ]);
      await insert(store, "late", NOON - (AGED_DAYS + 1) * DAY_MS);
      expect((await store.run(disks, {}))[0]).toEqual({
        day: day(NOON - (AGED_DAYS + 1) * DAY_MS),
        disk_name: "cold",
      });
      expect(readdirSync(coldDir, { recursive: true }).some((name) => String(name).includes("data"))).toBe(true);
      expect((await store.run(logSearch, all)).map(({ body }) => body)).toEqual(["young", "aged", "late"]);
    } finally {
      await store.close();
      await engine.stop();
    }
  });
});
