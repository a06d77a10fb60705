import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createRunner,
  DetectorsConfig,
  type History,
  type HourlySeries,
  type HourMemory,
  type Runner,
  type Snapshots,
} from "@homeostat/detectors";
import {
  BatchBuilder,
  type Bus,
  type Consumer,
  Finding,
  type Log,
  metricId,
  seriesFingerprint,
  topics,
} from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createEmbeddedBus } from "../../app/src/embedded/bus/index.ts";

const HOST = "web-1";
const T0 = 1_795_219_200_000;
const LABELS = { "host.name": HOST, "service.name": "shop" };
const METRIC = "homeostat.service.up";

const nothing = () => undefined;
const silent: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

let dir: string;
let bus: Bus;
let reader: Consumer;
let findings: Finding[];
let arrival: PromiseWithResolvers<void>;
let saved: Map<string, Uint8Array>;
let nowUnixMs: number;
let sequence: number;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "homeostat-detectors-"));
  bus = await createEmbeddedBus({ dir, topics: topics(), now: () => nowUnixMs, log: silent });
  [findings, saved, nowUnixMs, sequence, arrival] = [[], new Map(), T0, 0, Promise.withResolvers()];
  reader = await bus.consume({
    group: "test",
    topics: ["detect.findings"],
    open: async ({ earliestOffset }) => ({
      startOffset: earliestOffset,
      receive: async (messages) => {
        for (const { key, value } of messages) {
          const finding = Finding.parse(JSON.parse(Buffer.from(value ?? []).toString()));
          expect(key).toBe(finding.entity.host);
          findings.push(finding);
        }
        arrival.resolve();
        arrival = Promise.withResolvers();
      },
    }),
  });
});

afterEach(async () => {
  await reader.stop();
  await bus.stop();
  await rm(dir, { recursive: true, force: true });
});

const snapshots: Snapshots = {
  load: async (name, key) => saved.get(`${name}/${key}`) ?? null,
  save: async (name, key, _, bytes) => void saved.set(`${name}/${key}`, bytes),
};

const start = async (memory: HourMemory | null = null, config = DetectorsConfig.parse({})): Promise<Runner> => {
  const runner = createRunner({
    bus,
    config,
    snapshots,
    memory,
    now: () => nowUnixMs,
    log: silent,
  });
  await runner.start();
  return runner;
};

const publish = async (topic: string, value: Uint8Array): Promise<void> => bus.publish([{ topic, key: HOST, value }]);
const stamp = () => ({ producer: `${HOST}/spool`, sequence: sequence++ });
const identity = { metric_id: metricId(METRIC), fingerprint: seriesFingerprint(METRIC, LABELS) };

const tellSeries = async (): Promise<void> => {
  const batch = new BatchBuilder("metric_series");
  batch.append({
    ...identity,
    seen_at: nowUnixMs,
    metric_name: METRIC,
    kind: "gauge",
    unit: "1",
    host_name: HOST,
    service_name: "shop",
    attributes: LABELS,
  });
  await publish("telemetry.metrics", batch.finish(stamp()));
};

const second = async (runner: Runner, up: number): Promise<void> => {
  nowUnixMs += 1000;
  const batch = new BatchBuilder("metric_samples");
  batch.append({ ...identity, timestamp: nowUnixMs, value: up });
  await publish("telemetry.metrics", batch.finish(stamp()));
  await caughtUp(runner);
  await runner.tick(nowUnixMs);
};

/** The bus delivers on its own; its own doings are the clock. */
const caughtUp = async (runner: Runner): Promise<void> => {
  const sum = async (): Promise<number> => {
    const rows = runner.status().partitions.filter(({ topic }) => topic === "telemetry.metrics");
    return rows.reduce((total, { next_offset }) => total + next_offset, 0);
  };
  while ((await sum()) < sequence) await new Promise((resolve) => setImmediate(resolve));
};

const until = async (count: number): Promise<void> => {
  while (findings.length < count) await arrival.promise;
};

const nobody = async function* (): AsyncGenerator<never> {
  yield* [];
};

describe("the detectors on the bus", () => {
  test("find a crash and its end, go on over a restart, and leave nothing unread", async () => {
    let runner = await start();
    await tellSeries();
    for (const up of [1, 1, 1, 1, 1, 1, 0, 0, 0]) await second(runner, up);
    await until(1);
    expect(findings[0]).toMatchObject({
      rule: "service-down",
      state: "firing",
      entity: { host: HOST, service: "shop" },
      started_at_unix_ms: T0 + 7000,
      detected_at_unix_ms: T0 + 9000,
    });
    await runner.stop();
    expect(await bus.lag("detectors", "telemetry.metrics")).toEqual([0, 0]);

    runner = await start();
    for (const up of [0, 1, 1, 1]) await second(runner, up);
    await until(2);
    expect(findings.map(({ state }) => state)).toEqual(["firing", "resolved"]);
    expect(findings[1]?.finding_id).toBe(findings[0]?.finding_id);
    await runner.stop();
  });

  test("find the same under the same id when their state was lost with the process", async () => {
    const lost = await start();
    await tellSeries();
    for (const up of [1, 1, 1, 1, 1, 1, 0, 0, 0]) await second(lost, up);
    await until(1);
    await lost.stop();
    saved.clear();
    const runner = await start();
    await second(runner, 0);
    await until(2);
    expect(findings.map(({ state }) => state)).toEqual(["firing", "firing"]);
    expect(new Set(findings.map(({ finding_id }) => finding_id)).size).toBe(1);
    await runner.stop();
  });

  test("start anew from the bus when their state is damaged", async () => {
    const before = await start();
    await tellSeries();
    for (const up of [1, 1, 1, 1, 1, 1, 0]) await second(before, up);
    await before.stop();
    for (const [key, bytes] of saved) saved.set(key, bytes.subarray(0, bytes.length - 5));
    const runner = await start();
    for (const up of [0, 0]) await second(runner, up);
    await until(1);
    expect(findings[0]).toMatchObject({ rule: "service-down", started_at_unix_ms: T0 + 7000 });
    await runner.stop();
  });

  test("pass over what is no batch, and say so", async () => {
    const runner = await start();
    await tellSeries();
    await publish("telemetry.metrics", Buffer.from("no batch"));
    sequence++;
    await second(runner, 1);
    const metrics = runner.status().partitions.filter(({ topic }) => topic === "telemetry.metrics");
    expect(metrics.reduce((sum, { skipped }) => sum + skipped.malformed_batches, 0)).toBe(1);
    expect(metrics.reduce((sum, { rows }) => sum + rows, 0)).toBe(1);
    await runner.stop();
  });

  const UP_RULE = { detector: "threshold", name: "up", title: "It is up", metric: METRIC, op: ">", value: 0 } as const;

  test("take other rules while they run: a new one fires, a removed one is taken back, another goes on", async () => {
    const runner = await start();
    await tellSeries();
    for (const up of [1, 1, 1, 1, 1, 1, 0, 0, 0]) await second(runner, up);
    await until(1);
    expect(await runner.reload(DetectorsConfig.parse({ rules: [UP_RULE] }))).toMatchObject({
      added: ["up"],
      removed: [],
    });
    await second(runner, 1);
    await until(2);
    for (const up of [1, 1]) await second(runner, up);
    await until(3);
    const without = DetectorsConfig.parse({ disabled_rules: ["service-down"] });
    expect(await runner.reload(without)).toMatchObject({ added: [], removed: ["service-down", "up"] });
    await until(4);
    expect(findings.map(({ rule, state }) => `${rule} ${state}`)).toEqual([
      "service-down firing",
      "up firing",
      "service-down resolved",
      "up resolved",
    ]);
    expect(runner.status().rules).not.toContain("service-down");
    await runner.stop();
  });

  test("ask the store once for what a baseline would have to wait for", async () => {
    const asked: unknown[] = [];
    const nowHour = Math.floor(T0 / 3_600_000);
    const hours = Float64Array.from({ length: 100 }, (_, past) => nowHour - 100 + past);
    const fingerprint = identity.fingerprint.toString(16).padStart(16, "0");
    const memory: HourMemory = {
      readHours: nobody,
      readHistories: async function* (ask): AsyncGenerator<History> {
        asked.push(ask);
        yield { fingerprint, hours, quantiles: new Float64Array(300).fill(1) };
      },
    };
    const rule = { detector: "baseline", name: "b", title: "B", metric: METRIC };
    const runner = await start(memory, DetectorsConfig.parse({ rules: [rule] }));
    await tellSeries();
    await second(runner, 1);
    expect(runner.status().readiness.b).toEqual({ ready: 0, warming_up: 1, stale: 0 });
    expect(await runner.recall()).toBe(1);
    expect(await runner.recall()).toBe(0);
    expect(asked).toEqual([{ metric: METRIC, labels: {}, fingerprints: [fingerprint], nowUnixMs: T0 + 1000 }]);
    nowUnixMs += 60_000;
    await second(runner, 1);
    expect(runner.status().readiness.b).toEqual({ ready: 1, warming_up: 0, stale: 0 });
    await runner.stop();
  });

  test("look at hours from one process, and publish what they find there", async () => {
    const asked: unknown[] = [];
    const filling = Float64Array.from({ length: 720 }, (_, hour) => 0.5 + hour / 1600 + ((hour * 7) % 5) / 1000);
    const memory: HourMemory = {
      readHours: async function* ({ metric, labels, fromUnixMs, toUnixMs }): AsyncGenerator<HourlySeries> {
        asked.push([metric, labels, (toUnixMs - fromUnixMs) / 3_600_000]);
        const series = { unit: "1", isCounter: false, host: HOST, service: "", labels: { ...labels, mountpoint: "/" } };
        yield { series: { fingerprint: "00000000000000aa", metric, ...series }, fromUnixMs, values: filling };
      },
      readHistories: nobody,
    };
    const runner = await start(memory);
    await tellSeries();
    await second(runner, 1);
    expect(await runner.lookAtHours(nowUnixMs)).toBe(1);
    await until(1);
    expect(asked).toEqual([["system.filesystem.utilization", { state: "used" }, 720]]);
    expect(findings[0]).toMatchObject({
      rule: "filesystem-filling",
      category: "capacity",
      entity: { host: HOST, path: "/" },
    });
    await runner.stop();
  });
});
