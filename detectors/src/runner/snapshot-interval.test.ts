import { describe, expect, test } from "vitest";
import { DetectorsConfig } from "./config.ts";
import { type Told, World } from "./partition.fixture.ts";
import type { Partition } from "./partition.ts";

const HOUR_S = 3600;

const quiet = async (world: World, partition: Partition, seconds: number): Promise<void> => {
  for (let second = 0; second < seconds; second++) await world.second(partition);
};

const fed = async (world: World, partition: Partition, told: Told, seconds: number): Promise<void> => {
  for (let second = 0; second < seconds; second++) {
    await world.second(partition);
    world.sampled([[told, 1]]);
    await world.pump(partition);
  }
};

const M: Told = { metric: "m" };

describe("snapshots of a partition", () => {
  test("come at their interval while it is fed", async () => {
    const world = new World();
    const partition = await world.open();
    world.told([M]);
    await fed(world, partition, M, 300);
    expect(world.saves).toBe(10);
  });

  test("come once an hour while nothing does", async () => {
    const world = new World();
    const partition = await world.open();
    await quiet(world, partition, 4 * HOUR_S);
    expect(world.saves).toBeGreaterThanOrEqual(3);
    expect(world.saves).toBeLessThanOrEqual(5);
  });

  test("come the less often the larger they are, but every ten minutes at least", async () => {
    const world = new World();
    const partition = await world.open();
    const many = Array.from({ length: 12_000 }, (_, n): Told => ({ metric: `m${n}`, labels: { id: `${n * 7919}` } }));
    world.told(many.slice(0, 6000));
    world.told(many.slice(6000));
    await fed(world, partition, { metric: "m0", labels: { id: "0" } }, 1830);
    const [bytes = 0] = [...world.snapshots.values()].map(({ length }) => length);
    const everyS = Math.min(600, bytes / 4096);
    expect(everyS).toBeGreaterThan(40);
    expect(world.saves).toBeLessThanOrEqual(Math.ceil(1800 / everyS) + 1);
    expect(world.saves).toBeGreaterThanOrEqual(3);
  });

  test("go on when the clock is set back", async () => {
    const world = new World();
    const partition = await world.open();
    world.told([M]);
    await fed(world, partition, M, 60);
    const { saves } = world;
    world.nowUnixMs -= 24 * HOUR_S * 1000;
    await fed(world, partition, M, 60);
    expect(world.saves - saves).toBeGreaterThanOrEqual(2);
  });

  test("take up another interval with other rules", async () => {
    const world = new World();
    const partition = await world.open();
    world.told([M]);
    world.config = DetectorsConfig.parse({ snapshot_interval_s: 5 });
    await partition.rearm(world.intake());
    const { saves } = world;
    await fed(world, partition, M, 60);
    expect(world.saves - saves).toBe(12);
  });
});
