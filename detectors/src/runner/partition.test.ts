import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DetectorsConfig } from "./config.ts";
import { type Told, World } from "./partition.fixture.ts";
import type { Partition } from "./partition.ts";

const UP: Told = { metric: "homeostat.service.up", labels: { "service.name": "shop" } };
const CPU: Told = { metric: "system.cpu.utilization", labels: { state: "user" } };

/** A second of a host: it says whether its service is up. */
const live = async (world: World, partition: Partition, value: number): Promise<void> => {
  await world.second(partition);
  world.sampled([
    [UP, value],
    [CPU, 0.1],
  ]);
  await world.pump(partition);
};

const running = async (): Promise<{ world: World; partition: Partition }> => {
  const world = new World();
  world.told([UP, CPU]);
  const partition = await world.open();
  for (let second = 0; second < 10; second++) await live(world, partition, 1);
  return { world, partition };
};

describe("a partition", () => {
  test("publishes what its rules find, keyed by host, and commits what it saved", async () => {
    const { world, partition } = await running();
    for (const value of [0, 0, 0, 1, 1, 1]) await live(world, partition, value);
    expect(world.story).toEqual(["service-down firing", "service-down resolved"]);
    expect(partition.status()).toMatchObject({ rows: 32, findings_published: 2, findings_waiting: 0, lag_messages: 0 });
    await partition.close();
    expect(world.commits.at(-1)).toBe(world.messages.length);
  });

  test("publishes in the end what the bus did not take at first, once and in order", async () => {
    const { world, partition } = await running();
    for (const value of [0, 0]) await live(world, partition, value);
    world.sampled([[UP, 0]], { time: world.nowUnixMs + 1000 });
    world.publishFailures = 3;
    for (let attempt = 0; attempt < 3; attempt++)
      await expect(world.pump(partition).then(() => partition.receive([], 0))).rejects.toThrow("away");
    await partition.receive(world.messages, world.messages.length);
    expect(partition.status().skipped.repeated_batches).toBe(0);
    await live(world, partition, 1);
    await live(world, partition, 1);
    await live(world, partition, 1);
    await live(world, partition, 1);
    expect(world.story).toEqual(["service-down firing", "service-down resolved"]);
  });

  test("keeps over a restart what the bus has not taken", async () => {
    const { world, partition } = await running();
    for (const value of [0, 0]) await live(world, partition, value);
    world.sampled([[UP, 0]], { time: world.nowUnixMs + 1000 });
    world.publishFailures = 2;
    await expect(world.pump(partition)).rejects.toThrow("away");
    await partition.close();
    expect(world.published).toEqual([]);
    const next = await world.open();
    await world.second(next);
    expect(world.story).toEqual(["service-down firing"]);
  });

  test("passes over what is malformed, and counts it", async () => {
    const { world, partition } = await running();
    world.message(Buffer.from("not a batch"));
    world.message(null);
    world.message(world.messages[3]?.value?.subarray(0, 40) ?? null);
    await world.pump(partition);
    expect(partition.status()).toMatchObject({ skipped: { malformed_batches: 2 }, next_offset: world.messages.length });
  });

  test("takes a batch that was published twice only once", async () => {
    const { world, partition } = await running();
    world.message(world.messages.at(-1)?.value ?? null);
    const { rows } = partition.status();
    await world.pump(partition);
    expect(partition.status()).toMatchObject({ rows, skipped: { repeated_batches: 1 } });
  });

  test("finds a host that went silent, by ticks alone, and hears it again", async () => {
    const { world, partition } = await running();
    for (let second = 0; second < 14; second++) await world.second(partition);
    expect(world.story).toEqual([]);
    for (let second = 0; second < 50; second++) await world.second(partition);
    expect(world.story).toEqual(["host-silent firing"]);
    await live(world, partition, 1);
    await world.second(partition);
    expect(world.story).toEqual(["host-silent firing", "host-silent resolved"]);
  });

  test("takes back what a tick found before a crash", async () => {
    const { world, partition } = await running();
    for (let second = 0; second < 16; second++) await world.second(partition);
    expect(world.story).toEqual(["host-silent firing"]);
    const next = await world.open();
    await live(world, next, 1);
    await world.second(next);
    // Saved as waiting, then published, then killed: it is published again, under the same id.
    expect(world.story).toEqual(["host-silent firing", "host-silent firing", "host-silent resolved"]);
    expect(new Set(world.published.map(({ finding_id }) => finding_id)).size).toBe(1);
  });

  test("does not take a long stop of its own for the silence of hosts", async () => {
    const { world, partition } = await running();
    await partition.close();
    world.nowUnixMs += 3_600_000;
    const next = await world.open();
    for (let second = 0; second < 10; second++) await world.second(next);
    for (let second = 0; second < 10; second++) await live(world, next, 1);
    expect(world.story).toEqual([]);
  });

  test("announces nothing of yesterday when it reads everything again", async () => {
    const { world, partition } = await running();
    for (const value of [0, 0, 0, 1, 1, 1]) await live(world, partition, value);
    expect(world.published).toHaveLength(2);
    world.snapshots.clear();
    world.nowUnixMs += 86_400_000;
    await world.pump(await world.open());
    expect(world.published).toHaveLength(2);
  });

  test("takes back what fires for a rule that is no more", async () => {
    const { world, partition } = await running();
    for (const value of [0, 0, 0]) await live(world, partition, value);
    await partition.close();
    world.config = DetectorsConfig.parse({ disabled_rules: ["service-down"] });
    await world.second(await world.open());
    expect(world.story).toEqual(["service-down firing", "service-down resolved"]);
    expect(world.published[1]?.summary).toBe("Rule service-down has changed or is gone.");
  });

  test("reads a younger log than its state from the beginning", async () => {
    const { world, partition } = await running();
    await partition.close();
    world.messages.length = 3;
    expect((await world.open()).startOffset).toBe(0);
  });

  test("says when there are more series than it watches, and watches the others on", async () => {
    const { world } = await running();
    world.snapshots.clear();
    world.config = DetectorsConfig.parse({ series_max: 1 });
    const partition = await world.open();
    await world.pump(partition);
    await world.second(partition);
    expect(world.story).toEqual(["series-cap firing"]);
    expect(world.published[0]).toMatchObject({ category: "data_health", entity: { host: "h1" }, value: 1 });
    expect(partition.status()).toMatchObject({
      subjects: 1,
      refused_subjects: 1,
      skipped: { unknown_series_rows: 10 },
    });
    for (const value of [0, 0, 0]) await live(world, partition, value);
    expect(world.story).toContain("service-down firing");
  });

  test("forgets what has been silent for long, and only that", async () => {
    const { world } = await running();
    world.config = DetectorsConfig.parse({ forget_after_s: 3600 });
    const partition = await world.open();
    await world.pump(partition);
    for (const value of [0, 0, 0]) await live(world, partition, value);
    for (let minute = 0; minute < 65; minute++) {
      for (let step = 0; step < 15; step++) {
        await world.second(partition);
        world.nowUnixMs += 3000;
      }
      world.sampled([[CPU, 0.1]]);
      await world.pump(partition);
    }
    expect(partition.status().subjects).toBe(1);
    expect(world.published.filter(({ rule }) => rule === "service-down").map(({ state }) => state)).toEqual([
      "firing",
      "no_data",
      "resolved",
    ]);
    world.told([UP]);
    await world.pump(partition);
    for (const value of [1, 1, 1, 1, 1, 1, 0, 0, 0]) await live(world, partition, value);
    expect(world.published.at(-1)).toMatchObject({ rule: "service-down", state: "firing" });
  });

  test("passes over samples from the future, so that one wrong clock does not hide a fault", async () => {
    const { world, partition } = await running();
    world.sampled([[UP, 0]], { time: world.nowUnixMs + 3_600_000 });
    await world.pump(partition);
    for (const value of [0, 0, 0]) await live(world, partition, value);
    expect(partition.status().skipped.future_rows).toBe(1);
    expect(world.story).toEqual(["service-down firing"]);
  });

  test("finds bursts of errors in logs, over a restart too", async () => {
    const world = new World();
    world.topic = "telemetry.logs";
    let partition = await world.open();
    const say = async (severity: number, text: string): Promise<void> => {
      world.logged(
        Array.from({ length: 10 }, (_, n) => ({
          severity,
          text: text.replace("#", String(n)),
          time: world.nowUnixMs + n,
        })),
      );
      await world.second(partition);
      await world.pump(partition);
    };
    for (let second = 0; second < 20; second++) await say(9, "order # reserved");
    await say(17, "order # failed");
    await partition.close();
    partition = await world.open();
    for (let second = 0; second < 4; second++) await say(17, "order # failed");
    for (let second = 0; second < 30; second++) await world.second(partition);
    expect(world.story).toEqual(["log-error-burst firing", "log-error-burst resolved"]);
  });

  test("finds the same however often it is killed: every episode ends as it would have, and there is none besides", async () => {
    const anyLife = fc.array(fc.record({ up: fc.constantFrom(1, 1, 0, 0, 0, null), isKilled: fc.boolean() }), {
      minLength: 20,
      maxLength: 80,
    });
    /** The last state of each episode; null is a second in which the host is silent. */
    const ends = async (life: readonly { up: number | null; isKilled: boolean }[], withKills: boolean) => {
      const { world, partition } = await running();
      let current = partition;
      for (const { up, isKilled } of life) {
        if (withKills && isKilled) current = await world.open();
        if (up === null) await world.second(current);
        else await live(world, current, up);
      }
      for (let second = 0; second < 5; second++) await live(world, current, 1);
      await world.second(current);
      return new Map(world.published.map(({ finding_id, rule, state }) => [finding_id, `${rule} ${state}`]));
    };
    await fc.assert(
      fc.asyncProperty(anyLife, async (life) => {
        expect(await ends(life, true)).toEqual(await ends(life, false));
      }),
      { numRuns: 25 },
    );
  });
});
