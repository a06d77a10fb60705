import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createStore,
  hostSeconds,
  logHours,
  logReplay,
  metricHourBands,
  metricHours,
  type Store,
  StoreConfig,
  sampleHours,
} from "../../analytics/src/index.ts";
import { type EmbeddedStore, startEmbeddedStore } from "../../app/src/embedded/store/index.ts";
import { seriesFingerprint } from "../../schemas/src/index.ts";
import { insertSeries, logBatch, NOON, quietLog } from "./store-rows.ts";

const HOUR_MS = 3_600_000;
const LABELS = { "host.name": "host-1", state: "used" };
const TWO_HOURS = { from_unix_ms: NOON, to_unix_ms: NOON + 2 * HOUR_MS };

/** A sample every 20 seconds. */
const points = (hours: number, valueAt: (second: number) => number) =>
  Array.from({ length: hours * 180 }, (_, step) => [step * 20, valueAt(step * 20)] as const);
const fingerprintOf = (name: string): string => seriesFingerprint(name, LABELS).toString(16).padStart(16, "0");

describe("hours of series on a real engine", () => {
  let dir: string;
  let engine: EmbeddedStore;
  let store: Store;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "homeostat-hours-"));
    engine = await startEmbeddedStore({ dir, log: quietLog });
    const { url, username, password } = engine;
    store = createStore({ url, username, password, config: StoreConfig.parse({}), now: Date.now, log: quietLog });
    await store.migrate();
    await insertSeries(store, [
      // Minute means 0, 1, … 59 in the first hour; 100 in the second.
      { name: "mem", labels: LABELS, points: points(2, (second) => (second < 3600 ? Math.floor(second / 60) : 100)) },
      // Rises by 2 a second and is reset once.
      {
        name: "io",
        kind: "counter",
        labels: LABELS,
        points: points(2, (second) => 2 * (second < 1800 ? second + 1000 : second - 1800)),
      },
      { name: "mem", labels: { ...LABELS, state: "free" }, points: points(1, () => 7) },
    ]);
    await store.rollups.sumUpHours({ fromUnixMs: NOON, toUnixMs: NOON + HOUR_MS, version: 1 });
    await store.rollups.sumUpHours({ fromUnixMs: NOON + HOUR_MS, toUnixMs: NOON + 2 * HOUR_MS, version: 1 });
  });
  afterAll(async () => {
    await store.close();
    await engine.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const ask = { metric_name: "mem", labels: { state: "used" }, ...TWO_HOURS };

  it("are summed up by the quantiles of their minutes", async () => {
    const [bands, ...others] = await store.run(metricHourBands, ask);
    expect(others).toEqual([]);
    expect(bands).toEqual({
      fingerprint: fingerprintOf("mem"),
      hours: [NOON / HOUR_MS, NOON / HOUR_MS + 1],
      lows: [expect.closeTo(2.95, 9), 100],
      medians: [29.5, 100],
      highs: [expect.closeTo(56.05, 9), 100],
    });
  });

  it("are rates for a counter, its resets left out", async () => {
    const [io] = await store.run(metricHours, { ...ask, metric_name: "io" });
    expect(io).toMatchObject({ kind: "counter", unit: "By", host_name: "host-1", labels: LABELS });
    expect(io?.means).toEqual([2, 2]);
  });

  it("come with the series that they are of, a page at a time", async () => {
    const all = await store.run(metricHours, { ...ask, labels: {} });
    const first = await store.run(metricHours, { ...ask, labels: {}, limit: 1 });
    const after = first[0]?.fingerprint ?? "";
    const second = await store.run(metricHours, { ...ask, labels: {}, limit: 1, after_fingerprint: after });
    expect(all).toHaveLength(2);
    expect([...first, ...second]).toEqual(all);
    expect(await store.run(metricHours, { ...ask, fingerprints: [fingerprintOf("mem")] })).toHaveLength(1);
    expect(await store.run(metricHours, { ...ask, fingerprints: ["00000000000000aa"] })).toEqual([]);
  });

  it("are replaced when they are summed up again, and not by an older summing up", async () => {
    await insertSeries(store, [{ name: "late", labels: LABELS, points: points(1, () => 1) }]);
    const late = { ...ask, metric_name: "late" };
    for (const [version, value] of [
      [5, 3],
      [4, 9],
    ] as const) {
      if (version === 5)
        await insertSeries(store, [{ name: "late", labels: LABELS, points: points(1, () => value * 2 - 1) }]);
      await store.rollups.sumUpHours({ fromUnixMs: NOON, toUnixMs: NOON + HOUR_MS, version });
    }
    const [row] = await store.run(metricHours, late);
    expect(row?.means).toEqual([3]);
  });

  it("leave out hours with less than half of their minutes from what baselines learn", async () => {
    await insertSeries(store, [{ name: "short", labels: LABELS, points: points(1, () => 1).slice(0, 60) }]);
    await store.rollups.sumUpHours({ fromUnixMs: NOON, toUnixMs: NOON + HOUR_MS, version: 6 });
    expect(await store.run(metricHourBands, { ...ask, metric_name: "short" })).toEqual([]);
    expect(await store.run(metricHours, { ...ask, metric_name: "short" })).toHaveLength(1);
  });

  it("are counted for a replay, which reads the samples as they were", async () => {
    expect(await store.run(sampleHours, ask)).toEqual([
      { at_unix_ms: NOON, rows: 180, subjects: 1 },
      { at_unix_ms: NOON + HOUR_MS, rows: 180, subjects: 1 },
    ]);
    const samples = await store.samples({ metric_name: "mem", ...TWO_HOURS });
    expect(samples.count).toBe(540);
    const at = samples.timestamps.indexOf(BigInt(NOON + 120_000));
    const rows = [at, at + 1].map((row) => [samples.fingerprints[row], samples.values[row]]);
    expect(new Map(rows as [bigint, number][])).toEqual(
      new Map([
        [seriesFingerprint("mem", LABELS), 2],
        [seriesFingerprint("mem", { ...LABELS, state: "free" }), 7],
      ]),
    );
  });

  it("tell in which seconds a host was heard", async () => {
    const [host] = await store.run(hostSeconds, { from_unix_ms: NOON, to_unix_ms: NOON + 60_000 });
    expect(host).toEqual({ host_name: "host-1", seconds: [0, 20, 40] });
  });

  it("give log records in the order of their time", async () => {
    const lines = [5, 1, 3].map((second) => ({ body: `line ${second}`, atMs: NOON + second * 1000 }));
    await store.insertNative({ table: "logs", frames: [logBatch(lines)], dedupToken: "replay", rowCount: 3 });
    const replayed = await store.run(logReplay, TWO_HOURS);
    expect(replayed.map(({ body }) => body)).toEqual(["line 1", "line 3", "line 5"]);
    expect(await store.run(logHours, TWO_HOURS)).toEqual([{ at_unix_ms: NOON, rows: 3, subjects: 1 }]);
  });
});
