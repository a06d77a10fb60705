import { type AssignedPartition, type Bus, Finding, type PartitionHandler } from "@homeostat/schemas";
import { describe, expect, test } from "vitest";
import type { HourlySeries } from "../hourly.ts";
import { seriesNamed, T0 } from "../play.fixture.ts";
import { DetectorsConfig } from "./config.ts";
import { HOUR_MS } from "./hourly-rule.ts";
import { createRunner } from "./runner.ts";

const nothing = () => undefined;
const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

const FULL = { detector: "capacity", name: "full", title: "F", metric: "disk", limit: 1 };
const DEFAULTS_OFF = { disabled_rules: ["filesystem-filling"] };
const hourlyConfig = (limit: number) => DetectorsConfig.parse({ ...DEFAULTS_OFF, rules: [{ ...FULL, limit }] });

/** A runner that has the partition which looks at hours, and a store in which a disk is at 2. */
const running = async (config: DetectorsConfig) => {
  const published: Finding[] = [];
  const saved = new Map<string, Uint8Array>();
  let reads = 0;
  let handler: PartitionHandler | null = null;
  const bus = {
    consume: async ({ open }: { open: (assigned: AssignedPartition) => Promise<PartitionHandler> }) => {
      handler = await open({
        topic: "telemetry.metrics",
        partition: 0,
        committed: null,
        earliestOffset: 0,
        endOffset: 0,
        signal: new AbortController().signal,
        commit: async () => undefined,
      });
      return { stop: async () => handler?.close?.() };
    },
    publish: async (messages: Parameters<Bus["publish"]>[0]) => {
      for (const { value } of messages) published.push(Finding.parse(JSON.parse(Buffer.from(value ?? []).toString())));
    },
  } as unknown as Bus;
  const readHours = async function* (): AsyncGenerator<HourlySeries> {
    reads++;
    const values = Float64Array.from({ length: 720 }, (_, hour) => 2 + (hour % 7) / 1000);
    yield { series: seriesNamed("disk"), fromUnixMs: T0 - 720 * HOUR_MS, values };
  };
  const runner = createRunner({
    bus,
    config,
    snapshots: {
      load: async (_, key) => saved.get(key) ?? null,
      save: async (_, key, __, bytes) => void saved.set(key, bytes),
    },
    memory: {
      readHours,
      readHistories: async function* () {
        yield* [];
      },
    },
    now: () => T0,
    log,
  });
  await runner.start();
  return { runner, story: () => published.map(({ rule, state }) => `${rule} ${state}`), reads: () => reads };
};

describe("a look at the hours after a reload", () => {
  test("takes back at once what fired for a rule that is gone", async () => {
    const { runner, story } = await running(hourlyConfig(1));
    await runner.lookAtHours(T0);
    expect(story()).toEqual(["full firing"]);
    await runner.reload(DetectorsConfig.parse(DEFAULTS_OFF));
    await runner.lookAfterReload(T0);
    expect(story()).toEqual(["full firing", "full resolved"]);
    await runner.stop();
  });

  test("is not worth its time when other rules changed", async () => {
    const { runner, reads } = await running(hourlyConfig(1));
    await runner.lookAtHours(T0);
    await runner.reload({ ...hourlyConfig(1), disabled_rules: ["filesystem-filling", "host-silent"] });
    expect(await runner.lookAfterReload(T0)).toBe(0);
    expect(reads()).toBe(1);
    await runner.stop();
  });

  test("waits for a look that is under way", async () => {
    const { runner, story } = await running(hourlyConfig(1));
    await Promise.all([runner.lookAtHours(T0), runner.lookAtHours(T0 + HOUR_MS)]);
    expect(story()).toEqual(["full firing", "full firing"]);
    const first = runner.lookAtHours(T0 + 2 * HOUR_MS);
    await runner.reload(DetectorsConfig.parse(DEFAULTS_OFF));
    await Promise.all([first, runner.lookAfterReload(T0 + 2 * HOUR_MS)]);
    expect(story().at(-1)).toBe("full resolved");
    await runner.stop();
  });
});
