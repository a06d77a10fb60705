import { decodeBatch, type Finding } from "@homeostat/schemas";
import { describe, expect, test } from "vitest";
import type { HourlySeries } from "../hourly.ts";
import { seriesNamed, T0 } from "../play.fixture.ts";
import { DetectorsConfig, Rule } from "./config.ts";
import { type Told, World } from "./partition.fixture.ts";
import { createReplay, type HourReplay, type StreamReplay } from "./replay.ts";

const HEAT: Told = { metric: "heat" };
const HOT = { detector: "threshold", name: "hot", title: "It is hot", metric: "heat", op: ">", value: 50 } as const;

const streamReplay = (rule: unknown): StreamReplay => {
  const replay = createReplay(Rule.parse(rule));
  if (replay.telemetry === "hours") throw new Error("want a rule on the stream");
  return replay;
};
const hourReplay = (rule: unknown): HourReplay => {
  const replay = createReplay(Rule.parse(rule));
  if (replay.telemetry !== "hours") throw new Error("want a rule on hours");
  return replay;
};

describe("a replay", () => {
  test("finds what the rule found when it was at work, under the same ids", async () => {
    const world = new World();
    world.config = DetectorsConfig.parse({ rules: [HOT] });
    world.told([HEAT]);
    const partition = await world.open();
    const replay = streamReplay(HOT);
    const replayed: Finding[] = [];
    for (const heat of [20, 90, 90, 90, 20, 20, 20, 20, 90, 90, 20, 20, 20, 20]) {
      world.nowUnixMs += 1000;
      const { length } = world.messages;
      world.sampled([[HEAT, heat]]);
      await world.pump(partition);
      for (const { key, value } of world.messages.slice(length === 1 ? 0 : length))
        replayed.push(...replay.take(decodeBatch(value ?? new Uint8Array()), { key, nowUnixMs: world.nowUnixMs }));
      await partition.tick(world.nowUnixMs);
      replayed.push(...replay.tick(world.nowUnixMs, T0));
    }
    expect(replayed.map(({ state }) => state)).toEqual(["firing", "resolved", "firing", "resolved"]);
    expect(replayed).toEqual(world.published.filter(({ rule }) => rule === "hot"));
    expect(replay.subjects()).toEqual({ watched: 1, refused: 0 });
  });

  test("says what it wants to be fed", () => {
    expect(streamReplay(HOT)).toMatchObject({
      telemetry: "metrics",
      looksAtHosts: false,
      selects: [{ metric: "heat" }],
    });
    expect(streamReplay({ detector: "silence", name: "s", for_s: 9 })).toMatchObject({
      looksAtHosts: true,
      selects: [],
    });
    expect(streamReplay({ detector: "log_templates", name: "l" })).toMatchObject({ telemetry: "logs" });
  });

  test("of a rule on hours sees at each moment only the hours before it", () => {
    const rule = {
      detector: "capacity",
      name: "c",
      title: "It fills up",
      metric: "system.filesystem.utilization",
      limit: 0.9,
    };
    const replay = hourReplay(rule);
    // Reaches the limit at hour 1000.
    const values = Float64Array.from({ length: 1000 }, (_, hour) => 0.2 + hour * 0.0007 + ((hour * 7) % 5) / 1000);
    const series = seriesNamed("system.filesystem.utilization", { labels: { mountpoint: "/" } });
    const rows: HourlySeries[] = [{ series, fromUnixMs: T0, values }];
    const at = (hour: number) => replay.look(rows, T0 + hour * 3_600_000).map(({ state }) => state);
    expect(at(600)).toEqual([]);
    expect(at(940)).toEqual(["firing"]);
    const again = hourReplay(rule);
    const cutRows = [{ series, fromUnixMs: T0, values: values.slice(0, 940) }];
    expect(again.look(cutRows, T0 + 940 * 3_600_000)).toMatchObject([{ state: "firing", value: values[939] }]);
  });
});
