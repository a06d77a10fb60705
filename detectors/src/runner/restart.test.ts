import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DetectorsConfig, Rule } from "./config.ts";
import { type Told, World } from "./partition.fixture.ts";
import type { Partition } from "./partition.ts";

const WATCHED: Told = { metric: "m" };
const OTHER: Told = { metric: "other" };

/** How a detector is brought to find something: a step of its world is calm, or a fault, or silence. */
interface Life {
  readonly rule: Readonly<Record<string, unknown>>;
  readonly topic: "telemetry.metrics" | "telemetry.logs";
  readonly stepMs: number;
  /** Calm steps before, so that it knows what calm is. */
  readonly before: number;
  /** An observer that was away knows nothing of silence: it must hear again for as long as the rule waits. */
  readonly isKilledInSilence?: false;
  readonly act: (world: World, step: "calm" | "fault" | "silence", n: number) => void;
}

const metricAct: Life["act"] = (world, step, n) => {
  if (step === "silence") world.sampled([[OTHER, 1]]);
  else
    world.sampled([
      [WATCHED, (step === "fault" ? 90 : 20) + (n % 3)],
      [OTHER, 1],
    ]);
};

const metrics = { topic: "telemetry.metrics", stepMs: 1000, before: 10, act: metricAct } as const;
const base = { name: "r", title: "R", metric: "m" };

/** One for each detector on the stream. */
const LIVES: Readonly<Record<string, Life>> = {
  threshold: { ...metrics, rule: { ...base, op: ">", value: 50, for_s: 2 } },
  absence: { ...metrics, rule: { ...base, for_s: 3 } },
  silence: {
    ...metrics,
    rule: { name: "r", for_s: 3 },
    isKilledInSilence: false,
    act: (world, step, n) => {
      if (step !== "silence") metricAct(world, step, n);
    },
  },
  baseline: {
    ...metrics,
    rule: { ...base, warm_up_hours: 1, for_s: 60, clear_for_s: 60, shift_after_s: 1800 },
    stepMs: 60_000,
    before: 130,
  },
  series_anomaly: {
    ...metrics,
    rule: { ...base, warm_up_hours: 1, step_s: 60 },
    stepMs: 60_000,
    before: 150,
  },
  host_anomaly: {
    ...metrics,
    rule: { name: "r", title: "R", metrics: ["m", "other"], step_s: 300 },
    stepMs: 300_000,
    before: 300,
    act: (world, step, n) => {
      if (step === "silence") return;
      const value = (step === "fault" ? 900 : 20) + (n % 3);
      world.sampled([
        [WATCHED, value],
        [OTHER, value + (n % 2)],
      ]);
    },
  },
  log_templates: {
    rule: { name: "r", clear_for_s: 5 },
    topic: "telemetry.logs",
    stepMs: 1000,
    before: 40,
    // A burst ends, and in silence is judged, by ticks; those are not replayed.
    isKilledInSilence: false,
    act: (world, step, n) => {
      if (step === "silence") return;
      const [severity, text] = step === "fault" ? [17, "order # failed"] : [9, "order # reserved"];
      world.logged(Array.from({ length: 8 }, (_, line) => ({ severity, text: text.replace("#", `${n}${line}`) })));
    },
  },
};

/** Detectors on hours keep nothing between two looks but what is saved. */
const ON_HOURS = ["capacity"];

const DEFAULTS_OFF = ["service-down", "path-filling", "filesystem-full", "inodes-exhausted", "memory-exhausted"];

test("every detector that can be configured has a life here", () => {
  const names = Rule.options.map((option) => [...option.shape.detector.values][0]);
  expect([...Object.keys(LIVES), ...ON_HOURS].sort()).toEqual(names.sort());
});

type Steps = readonly { readonly step: "calm" | "fault" | "silence"; readonly isKilled: boolean }[];

/** The last state of each episode. */
const ends = async (detector: string, life: Life, steps: Steps): Promise<Map<string, string>> => {
  const world = new World();
  world.topic = life.topic;
  world.config = DetectorsConfig.parse({
    rules: [{ detector, ...life.rule }],
    disabled_rules: DEFAULTS_OFF,
    // A kill loses some steps, but none that is history by the time that it is read again.
    snapshot_interval_s: Math.max(30, (2 * life.stepMs) / 1000),
  });
  if (life.topic === "telemetry.metrics") world.told([WATCHED, OTHER]);
  let partition: Partition = await world.open();
  const calm = (length: number): Steps => Array.from({ length }, () => ({ step: "calm", isKilled: false }));
  for (const [n, { step, isKilled }] of [...calm(life.before), ...steps, ...calm(20)].entries()) {
    if (isKilled && (step !== "silence" || life.isKilledInSilence !== false)) partition = await world.open();
    world.nowUnixMs += life.stepMs;
    await partition.tick(world.nowUnixMs);
    life.act(world, step, n);
    await world.pump(partition);
  }
  const own = world.published.filter(({ rule }) => rule === "r");
  return new Map(own.map(({ finding_id, state }) => [finding_id, state]));
};

/** Faults and silences last some steps: a single one is nothing to most detectors. */
const anySteps = fc
  .array(
    fc.record({
      step: fc.constantFrom("calm" as const, "fault" as const, "silence" as const),
      length: fc.integer({ min: 1, max: 12 }),
      killedAt: fc.option(fc.nat(11), { nil: null }),
    }),
    { minLength: 2, maxLength: 6 },
  )
  .map((runs) =>
    runs.flatMap(({ step, length, killedAt }) =>
      Array.from({ length }, (_, at) => ({ step, isKilled: at === killedAt })),
    ),
  );

describe.each(Object.entries(LIVES))("a %s rule that is killed at any moment", (detector, life) => {
  test("finds and ends what it would have found and ended", async () => {
    let found = 0;
    await fc.assert(
      fc.asyncProperty(anySteps, async (steps) => {
        const unharmed = await ends(
          detector,
          life,
          steps.map(({ step }) => ({ step, isKilled: false })),
        );
        found += unharmed.size;
        expect(await ends(detector, life, steps)).toEqual(unharmed);
      }),
      { numRuns: 5, seed: 3 },
    );
    expect(found).toBeGreaterThan(0);
  });
});
