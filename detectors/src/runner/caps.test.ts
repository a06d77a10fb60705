import { BATCH_ROWS_MAX } from "@homeostat/schemas";
import { describe, expect, test } from "vitest";
import { Cap } from "./cap.ts";
import { DetectorsConfig } from "./config.ts";
import { type Told, World } from "./partition.fixture.ts";
import type { Partition } from "./partition.ts";

const UP: Told = { metric: "homeostat.service.up", labels: { "service.name": "shop" } };
const request = (id: number): Told => ({ metric: "http.requests", labels: { "user.id": `u${id}` } });
const many = (count: number, from = 0): Told[] => Array.from({ length: count }, (_, id) => request(from + id));

describe("a metric whose labels explode", () => {
  test("fills its own place and not the others', and is named", async () => {
    const world = new World();
    world.config = DetectorsConfig.parse({ series_per_metric_max: 1000, series_max: 5000 });
    const partition = await world.open();
    for (let batch = 0; batch < 3; batch++) world.told(many(BATCH_ROWS_MAX, batch * BATCH_ROWS_MAX));
    world.told([UP]);
    await world.pump(partition);
    for (const up of [1, 1, 1, 1, 1, 1, 0, 0, 0]) {
      await world.second(partition);
      world.sampled([
        [UP, up],
        [request(5000), 1],
      ]);
      await world.pump(partition);
    }
    expect(partition.status()).toMatchObject({ subjects: 1001, refused_subjects: 29_000 });
    expect(world.story.filter((one) => one.endsWith("firing"))).toEqual(["series-cap firing", "service-down firing"]);
    expect(world.published[0]).toMatchObject({
      category: "data_health",
      labels: { metric: "http.requests" },
      summary: expect.stringContaining("series of one metric"),
    });
  });

  test("is named among others when the partition is full", async () => {
    const world = new World();
    world.config = DetectorsConfig.parse({ series_max: 10 });
    const partition = await world.open();
    const others = Array.from({ length: 50 }, (_, n): Told => ({ metric: `m${n}` }));
    for (let round = 0; round < 10; round++) world.told([...others, ...many(50, round * 50)]);
    await world.pump(partition);
    await world.second(partition);
    expect(world.published[0]?.labels).toEqual({ metric: "http.requests" });
  });
});

describe("a rule's own cap", () => {
  const config = DetectorsConfig.parse({
    rules: [{ detector: "baseline", name: "b", title: "B", metric: "http.requests", series_max: 3 }],
  });

  test("is told with the rule's name, over a restart too, and the rule watches the first of them on", async () => {
    const world = new World();
    world.config = config;
    const partition = await world.open();
    world.told(many(5));
    world.sampled(many(5).map((one) => [one, 1] as const));
    await world.pump(partition);
    await world.second(partition);
    expect(world.published.map(({ rule, summary }) => [rule, summary])).toEqual([
      ["series-cap", expect.stringContaining("More than 3 series of rule b")],
    ]);
    expect(partition.status().readiness).toMatchObject({ b: { ready: 0, warming_up: 3, stale: 0 } });
    await partition.close();
    const next = await world.open();
    expect(next.status()).toMatchObject({ subjects: 5, refused_subjects: 2 });
  });

  test("lets others in when those before them are forgotten", async () => {
    const world = new World();
    world.config = DetectorsConfig.parse({ ...config, forget_after_s: 3600 });
    const partition = await world.open();
    world.told(many(5));
    for (let step = 0; step < 1100; step++) {
      world.nowUnixMs += 3000;
      await world.second(partition);
      if (step % 5 === 0) world.sampled(many(3, 2).map((one) => [one, step] as const));
      await world.pump(partition);
    }
    expect(partition.status()).toMatchObject({ subjects: 3, readiness: { b: { warming_up: 3 } } });
  });
});

describe("what a rule's cap has announced", () => {
  const rule = { detector: "baseline", name: "b", title: "B", metric: "http.requests", series_max: 3 };
  const capped = async () => {
    const world = new World();
    world.config = DetectorsConfig.parse({ rules: [rule] });
    const partition = await world.open();
    world.told(many(5));
    await world.pump(partition);
    await world.second(partition);
    expect(world.story).toEqual(["series-cap firing"]);
    return { world, partition };
  };
  const minutes = async (world: World, partition: Partition, count: number): Promise<void> => {
    for (let minute = 0; minute < count; minute++) {
      world.nowUnixMs += 59_000;
      await world.second(partition);
    }
  };

  test("stays for as long as there are series that it keeps out, over a restart too", async () => {
    const { world, partition } = await capped();
    await minutes(world, partition, 15);
    await partition.close();
    await minutes(world, await world.open(), 15);
    expect(new Set(world.story)).toEqual(new Set(["series-cap firing"]));
    expect(world.published.at(-1)).toMatchObject({ value: 2, summary: expect.stringContaining("last refused: h1") });
  });

  test("is taken back with its rule", async () => {
    const { world, partition } = await capped();
    world.config = DetectorsConfig.parse({});
    await partition.rearm(world.intake());
    expect(world.story).toEqual(["series-cap firing", "series-cap resolved"]);
    expect(world.published[1]?.summary).toBe("Rule b has changed or is gone.");
  });

  test("is taken back when the rule has room for all, and comes when it has not any more", async () => {
    const { world, partition } = await capped();
    world.config = DetectorsConfig.parse({ rules: [{ ...rule, series_max: 5 }] });
    await partition.rearm(world.intake());
    await minutes(world, partition, 12);
    expect(world.story.at(-1)).toBe("series-cap resolved");
    world.config = DetectorsConfig.parse({ rules: [{ ...rule, series_max: 4 }] });
    await partition.rearm(world.intake());
    await minutes(world, partition, 2);
    expect(world.published.at(-1)).toMatchObject({ rule: "series-cap", state: "firing", value: 1 });
  });
});

test("a cap's account of names is bounded, and holds the one that has most", () => {
  const cap = new Cap({ rule: "c", what: "series", max: 1 });
  for (let n = 0; n < 100_000; n++) cap.refuse("h", 1, n % 3 === 0 ? "the one" : `other ${n}`);
  expect(cap.save().names.length).toBeLessThanOrEqual(8);
  expect(cap.tick(2)[0]?.labels).toEqual({ metric: "the one" });
});
