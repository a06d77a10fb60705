import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, truncateSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createSpace, createStore, logSearch, retention, type Store, StoreConfig } from "../../analytics/src/index.ts";
import { createEmbeddedBus } from "../../app/src/embedded/bus/index.ts";
import { type EmbeddedStore, startEmbeddedStore } from "../../app/src/embedded/store/index.ts";
import { Finding, topics } from "../../schemas/src/index.ts";
import { startIngest } from "../fixtures/batch/ingest-run.ts";
import { DAY_MS, type LogLine, logBatch, NOON, quietLog } from "./store-rows.ts";

/** A disk of its own wants a mount, and a mount wants root. */
const isRoot = process.getuid?.() === 0;
const DISK_BYTES = 256 * 1_048_576;
const DAYS = 4;

const dir = mkdtempSync(join(tmpdir(), "homeostat-space-"));
const filler = join(dir, "filler");
let engine: EmbeddedStore;
let store: Store;
const told: Finding[] = [];
const config = StoreConfig.parse({});

/** Text that does not compress, so that bytes are what they say. */
const noise = (bytes: number): string => {
  let text = "";
  for (let seed = bytes; text.length < bytes; seed = (seed * 48_271) % 2_147_483_647) text += `${seed.toString(36)} `;
  return text;
};

const LINES_PER_BATCH = 10;
const NOISY_LINES = 60;

const insert = (lines: readonly LogLine[], dedupToken: string): Promise<void> => {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < lines.length; at += LINES_PER_BATCH)
    frames.push(logBatch(lines.slice(at, at + LINES_PER_BATCH)));
  return store.insertNative({ table: "logs", frames, dedupToken, rowCount: lines.length });
};

/** Some megabytes. */
const noisyLines = (atMs: number): readonly LogLine[] =>
  Array.from({ length: NOISY_LINES }, (_, i) => ({ body: noise(50_000 + i), atMs }));

const freeBytes = (): number => {
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize;
};

/** Leaves so much free. */
const fillUntil = (free: number): void => {
  const file = openSync(filler, "a");
  try {
    for (const block = Buffer.alloc(65_536, 1); freeBytes() > free; ) writeSync(file, block);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
  } finally {
    closeSync(file);
  }
};

const daysOfLogs = async (): Promise<number> =>
  (await retention(store)).find(({ table_name }) => table_name === "logs")?.days ?? 0;

describe.runIf(isRoot)("the space of a store", () => {
  const space = () =>
    createSpace({
      store: () => store,
      config,
      host: "h1",
      now: Date.now,
      log: quietLog,
      publish: async (finding) => void told.push(Finding.parse(finding)),
    });
  let keeper: ReturnType<typeof space>;

  beforeAll(async () => {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES}`, "tmpfs", dir]);
    engine = await startEmbeddedStore({ dir: join(dir, "store"), log: quietLog });
    const { url, username, password } = engine;
    store = createStore({ url, username, password, config, now: Date.now, log: quietLog });
    await store.migrate();
    for (let day = 0; day < DAYS; day += 1) {
      await insert(noisyLines(NOON - day * DAY_MS), `day-${day}`);
    }
    await insert([{ body: "today", atMs: NOON + DAY_MS }], "today");
    keeper = space();
  });
  afterAll(async () => {
    await store?.close();
    await engine?.stop();
    execFileSync("umount", ["-l", dir]);
    rmSync(dir, { recursive: true, force: true });
  });

  test("is read back from the tables: days of retention, bytes, rows, the oldest day", async () => {
    const logs = (await retention(store)).find(({ table_name }) => table_name === "logs");
    expect(logs).toMatchObject({ ttl_days: 14, cold_after_days: null, rows: DAYS * NOISY_LINES + 1, days: DAYS + 1 });
    expect(logs?.oldest_day).toBe(new Date(NOON - (DAYS - 1) * DAY_MS).toISOString().slice(0, 10));
    expect(logs?.bytes).toBeGreaterThan(DAYS * 1_000_000);
  });

  test("is left alone while there is room", async () => {
    await keeper.check();
    expect(told).toEqual([]);
  });

  test("is made before the disk is full, from the oldest day on, and a finding says what went and why", async () => {
    const days = await daysOfLogs();
    fillUntil(DISK_BYTES * 0.1 - 1_000_000);
    await keeper.check();
    expect(await daysOfLogs()).toBeLessThan(days);
    const oldest = new Date(NOON - (DAYS - 1) * DAY_MS).toISOString().slice(0, 10);
    expect(told.at(-1)).toMatchObject({ rule: "space_reclaimed", category: "data_health", state: "firing" });
    expect(told.at(-1)?.summary).toMatch(new RegExp(`\\d\\.\\d %.*dropped logs of ${oldest} \\(\\d`));
    truncateSync(filler, 0);
    await keeper.check();
    expect(told.at(-1)).toMatchObject({ state: "resolved", finding_id: told.at(-2)?.finding_id });
  });

  test("of a full disk costs nothing that was acknowledged and nothing of today, and what waited goes in once", async () => {
    fillUntil(0);
    await keeper.check();
    expect(told.at(-1)).toMatchObject({ state: "firing", severity: "critical" });
    expect(told.at(-1)?.summary).toContain("telemetry is not inserted and waits on the bus");
    expect(() => keeper.admit()).toThrow(/telemetry waits/);
    const waiting = [{ body: "waited" }, { body: "waited too" }];
    await expect(insert(noisyLines(NOON), "large")).rejects.toMatchObject({ retryable: true });
    truncateSync(filler, 0);
    await keeper.check();
    expect(() => keeper.admit()).not.toThrow();
    for (let attempt = 0; attempt < 2; attempt += 1) await insert(waiting, "waiting");
    const range = { from_unix_ms: NOON - 30 * DAY_MS, to_unix_ms: NOON + 2 * DAY_MS };
    const found = await store.run(logSearch, { ...range, limit: 10_000 });
    expect(found.filter(({ body }) => body === "today")).toHaveLength(1);
    expect(found.filter(({ body }) => body.startsWith("waited"))).toHaveLength(2);
  });

  test("of a full disk holds ingest back until there is room, and then every row is there once", async () => {
    const busDir = mkdtempSync(join(tmpdir(), "homeostat-space-bus-"));
    const bus = await createEmbeddedBus({ dir: busDir, topics: topics(), now: Date.now, log: quietLog });
    onTestFinished(async () => {
      await bus.stop();
      rmSync(busDir, { recursive: true, force: true });
    });
    const publish = (round: number) => {
      const lines = noisyLines(Date.now()).map(({ body }, i) => ({
        body: `${round}-${i} ${body}`,
        service: "waiting",
      }));
      const values = Array.from({ length: NOISY_LINES / LINES_PER_BATCH }, (_, at) =>
        logBatch(
          lines
            .slice(at * LINES_PER_BATCH, (at + 1) * LINES_PER_BATCH)
            .map((line) => ({ ...line, atMs: Date.now() - 1000 })),
        ),
      );
      return bus.publish(values.map((value) => ({ topic: "telemetry.logs", key: "host-1", value })));
    };
    const run = await startIngest(bus, { insert: store });
    fillUntil(0);
    for (let round = 0; round < 3; round += 1) await publish(round);
    await run.until(() =>
      run.findings.some(({ rule, state }) => rule === "ingest_store_failing" && state === "firing"),
    );
    truncateSync(filler, 0);
    const inserted = () => run.ingest.status().counts.rowsInserted;
    await run.until(() => inserted() === 3 * NOISY_LINES);
    const range = { from_unix_ms: Date.now() - DAY_MS, to_unix_ms: Date.now() + DAY_MS };
    const found = await store.run(logSearch, { ...range, service_name: "waiting", limit: 10_000 });
    expect(found).toHaveLength(3 * NOISY_LINES);
    expect(new Set(found.map(({ body }) => body.split(" ")[0])).size).toBe(3 * NOISY_LINES);
    await expect.poll(() => run.findings.at(-1)).toMatchObject({ rule: "ingest_store_failing", state: "resolved" });
  });
});
