import { describe, expect, test } from "vitest";
import { DetectorsConfig } from "./config.ts";
import { type Told, World } from "./partition.fixture.ts";
import type { Partition } from "./partition.ts";
import { ruleChanges } from "./runner.ts";

const UP: Told = { metric: "homeostat.service.up", labels: { "service.name": "shop" } };
const HEAT: Told = { metric: "heat" };

const HOT = { detector: "threshold", name: "hot", title: "It is hot", metric: "heat", op: ">", value: 50 } as const;
const withRules = (...rules: readonly object[]) => DetectorsConfig.parse({ rules });

const live = async (world: World, partition: Partition, up: number, heat: number): Promise<void> => {
  await world.second(partition);
  world.sampled([
    [UP, up],
    [HEAT, heat],
  ]);
  await world.pump(partition);
};

const running = async (config: DetectorsConfig): Promise<{ world: World; partition: Partition }> => {
  const world = new World();
  world.config = config;
  world.told([UP, HEAT]);
  const partition = await world.open();
  for (let second = 0; second < 10; second++) await live(world, partition, 1, 20);
  return { world, partition };
};

/** What a reload does to each partition. */
const reload = async (world: World, partition: Partition, config: DetectorsConfig): Promise<void> => {
  world.config = config;
  await partition.rearm(world.intake());
};

describe("other rules on a partition that runs", () => {
  test("see the series that were told long ago", async () => {
    const { world, partition } = await running(withRules());
    await reload(world, partition, withRules(HOT));
    await live(world, partition, 1, 90);
    await live(world, partition, 1, 90);
    expect(world.story).toEqual(["hot firing"]);
  });

  test("leave an unchanged rule's state as it was, in the middle of an episode", async () => {
    const { world, partition } = await running(withRules());
    for (let second = 0; second < 3; second++) await live(world, partition, 0, 20);
    await reload(world, partition, withRules(HOT));
    await live(world, partition, 0, 20);
    for (let second = 0; second < 4; second++) await live(world, partition, 1, 20);
    expect(world.story).toEqual(["service-down firing", "service-down resolved"]);
    expect(new Set(world.published.map(({ finding_id }) => finding_id)).size).toBe(1);
  });

  test("take back what fires for a rule that is gone, or is another now", async () => {
    const { world, partition } = await running(withRules(HOT));
    for (let second = 0; second < 2; second++) await live(world, partition, 1, 90);
    await reload(world, partition, withRules({ ...HOT, value: 95 }));
    expect(world.story).toEqual(["hot firing", "hot resolved"]);
    expect(world.published[1]?.summary).toBe("Rule hot has changed or is gone.");
    for (let second = 0; second < 3; second++) await live(world, partition, 1, 90);
    expect(world.story).toHaveLength(2);
  });

  test("do not say it twice when the process dies right after", async () => {
    const { world, partition } = await running(withRules(HOT));
    for (let second = 0; second < 2; second++) await live(world, partition, 1, 90);
    await reload(world, partition, withRules());
    const next = await world.open();
    for (let second = 0; second < 3; second++) await live(world, next, 1, 90);
    expect(new Set(world.story)).toEqual(new Set(["hot firing", "hot resolved"]));
    expect(world.published.at(-1)?.state).toBe("resolved");
  });

  test("keep the account of what was read", async () => {
    const { world, partition } = await running(withRules());
    const { rows, subjects, next_offset } = partition.status();
    await reload(world, partition, withRules(HOT));
    expect(partition.status()).toMatchObject({ rows, subjects, next_offset });
  });

  test("wait with their findings for a bus that is away", async () => {
    const { world, partition } = await running(withRules(HOT));
    for (let second = 0; second < 2; second++) await live(world, partition, 1, 90);
    world.publishFailures = 1;
    await reload(world, partition, withRules());
    expect(partition.status()).toMatchObject({ findings_waiting: 1, last_error: "the bus is away" });
    await world.second(partition);
    expect(world.story).toEqual(["hot firing", "hot resolved"]);
  });
});

test("changes of rules are told by name", () => {
  const { rules: before } = withRules(HOT, { ...HOT, name: "same" }, { ...HOT, name: "old" });
  const { rules: after } = withRules({ ...HOT, value: 1 }, { ...HOT, name: "same" }, { ...HOT, name: "new" });
  expect(ruleChanges(before, after)).toEqual({
    added: ["new"],
    changed: ["hot"],
    removed: ["old"],
    unchanged: ["same"],
  });
});
