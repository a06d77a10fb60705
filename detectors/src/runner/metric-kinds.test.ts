import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DEFAULT_RULES } from "../default-rules.ts";
import { DetectorsConfig } from "./config.ts";
import { type Told, World } from "./partition.fixture.ts";
import type { Partition } from "./partition.ts";

const M: Told = { metric: "m" };
const OTHER: Told = { metric: "other" };
const base = { name: "r", title: "R", metric: "m" };

/** A world with this one rule, whose series are told. */
const watching = async (rule: object, told: readonly Told[] = [M, OTHER]) => {
  const world = new World();
  const disabled_rules = DEFAULT_RULES.map(({ name }) => name);
  world.config = DetectorsConfig.parse({ disabled_rules, rules: [{ ...base, ...rule }] });
  const partition = await world.open();
  world.told(told);
  await world.pump(partition);
  return { world, partition };
};
const live = async (world: World, partition: Partition, samples: Parameters<World["sampled"]>[0], seconds = 1) => {
  for (let second = 0; second < seconds; second++) await world.second(partition);
  if (samples.length > 0) world.sampled(samples);
  await world.pump(partition);
};

describe("a staleness marker", () => {
  test("does not keep a series from being absent: its absence is counted from its last sample", async () => {
    const { world, partition } = await watching({ detector: "absence", for_s: 10 });
    await live(world, partition, [[M, 1]]);
    const lastAt = world.nowUnixMs;
    await live(world, partition, [
      [M, Number.NaN],
      [OTHER, 1],
    ]);
    for (let second = 0; second < 10; second++)
      await live(world, partition, [
        [M, Number.NaN],
        [OTHER, 1],
      ]);
    await live(world, partition, []);
    expect(world.story).toEqual(["r firing"]);
    expect(world.published[0]?.started_at_unix_ms).toBe(lastAt);
    expect(partition.status().skipped.staleness_markers).toBe(11);
    await live(world, partition, [
      [M, 1],
      [OTHER, 1],
    ]);
    expect(world.story).toEqual(["r firing", "r resolved"]);
  });

  test.each([
    ["a threshold", { detector: "threshold", op: ">", value: 50 }],
    ["a baseline", { detector: "baseline", warm_up_hours: 1 }],
    ["a series' anomaly", { detector: "series_anomaly", warm_up_hours: 1, step_s: 60 }],
  ])("teaches %s nothing, wherever it comes", async (_, rule) => {
    const samples = fc.array(fc.tuple(fc.integer({ min: 0, max: 60 }), fc.boolean()), { minLength: 1, maxLength: 40 });
    const property = fc.asyncProperty(samples, async (all) => {
      const plain = await watching(rule);
      const marked = await watching(rule);
      for (const [value, isMarked] of all) {
        for (const { world, partition } of [plain, marked]) await live(world, partition, [[M, value]], 30);
        if (isMarked) marked.world.sampled([[M, Number.NaN]], { time: marked.world.nowUnixMs + 1 });
        await marked.world.pump(marked.partition);
      }
      for (const { partition } of [plain, marked]) await partition.close();
      expect(marked.world.published).toEqual(plain.world.published);
    });
    await fc.assert(property, { numRuns: 5 });
  });
});

describe("a delta", () => {
  const DELTA: Told = { metric: "m", kind: "delta" };
  const rule = { detector: "threshold", op: ">", value: 5, for_s: 0 };

  test("is looked at as its rate over the time since the point before, whatever the interval is", async () => {
    const { world, partition } = await watching(rule, [DELTA]);
    // The first has no time behind it.
    await live(world, partition, [[DELTA, 1_000_000]], 10);
    await live(world, partition, [[DELTA, 40]], 10);
    await live(world, partition, [[DELTA, 90]], 20);
    expect(world.story).toEqual([]);
    await live(world, partition, [[DELTA, 60]], 10);
    expect(world.published).toMatchObject([{ value: 6, unit: "1/s", state: "firing" }]);
  });

  test("counts a point once: what is no newer than the last one is passed over", async () => {
    const { world, partition } = await watching(rule, [DELTA]);
    await live(world, partition, [[DELTA, 10]], 10);
    await live(
      world,
      partition,
      [
        [DELTA, 40],
        [DELTA, 1_000_000],
      ],
      10,
    );
    world.sampled([[DELTA, 1_000_000]], { time: world.nowUnixMs - 5000 });
    await world.pump(partition);
    expect(world.story).toEqual([]);
  });

  test("is one still after a restart", async () => {
    const { world, partition } = await watching(rule, [DELTA]);
    await live(world, partition, [[DELTA, 10]], 10);
    await partition.close();
    const again = await world.open();
    await live(world, again, [[DELTA, 60]], 10);
    expect(world.published).toMatchObject([{ value: 6 }]);
  });
});

test("a histogram takes no place among series: its count and sum are series of their own", async () => {
  const told = ["histogram", "delta_histogram"].map((kind, n): Told => ({ metric: `latency${n}`, kind }));
  const { partition } = await watching({ detector: "absence", for_s: 10 }, [
    ...told,
    { metric: "latency0_count", kind: "counter" },
  ]);
  expect(partition.status().subjects).toBe(1);
});
