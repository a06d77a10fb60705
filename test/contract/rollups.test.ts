import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { metricHours, metricRange, type Rollups } from "../../analytics/src/index.ts";
import { createRollupJob } from "../../app/src/index.ts";
import { insertSamples, type MetricStore, type SamplesOf, startMetricStore } from "./metric-rows.ts";
import { NOON, quietLog } from "./store-rows.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
/** Some hundred queries, on a machine that may be busy. */
const PROPERTY_MS_MAX = 120_000;
const LABELS = { "host.name": "host-1" };
const KINDS = ["gauge", "counter", "delta"] as const;
const AGGREGATES = ["avg", "min", "max", "sum", "last"] as const;
const stay = new AbortController().signal;

describe("rollups on a real engine", () => {
  let engine: MetricStore;
  let nowUnixMs: number;
  let summedUp: string[];

  beforeAll(async () => {
    engine = await startMetricStore();
  });
  afterAll(() => engine.stop());
  beforeEach(() => {
    summedUp = [];
    nowUnixMs = NOON + 5 * HOUR_MS;
  });
  afterEach(async () => {
    for (const table of ["metric_samples", "metric_series", "metric_minutes", "metric_hours", "metric_rollups"])
      await engine.ask(`TRUNCATE TABLE ${table}`);
  });

  /** The job, and what it summed up; `changes` are the faults of a test. */
  const job = (changes: Partial<Rollups> = {}): (() => Promise<void>) => {
    const { rollups } = engine.store;
    const noting = (what: string, run: Rollups["sumUpHours"]): Rollups["sumUpHours"] => {
      return (range) => {
        const [from, to] = [range.fromUnixMs, range.toUnixMs].map((at) => (at - NOON) / MINUTE_MS);
        summedUp.push(`${what} ${from}-${to}`);
        return run(range);
      };
    };
    const watched = {
      ...rollups,
      sumUpMinutes: noting("minutes", rollups.sumUpMinutes),
      sumUpHours: noting("hours", rollups.sumUpHours),
      ...changes,
    };
    const run = createRollupJob({ store: () => ({ rollups: watched }), now: () => nowUnixMs, log: quietLog });
    return () => run(stay);
  };

  type Asked = { name: string; from?: number; to?: number; step: number; aggregate?: (typeof AGGREGATES)[number] };
  const read = (resolution: "raw" | "auto", { name, from = 0, to = 4 * HOUR_MS, step, aggregate = "avg" }: Asked) =>
    engine.store.run(metricRange, {
      metric_name: name,
      from_unix_ms: NOON + from,
      to_unix_ms: NOON + to,
      step_ms: step,
      aggregate,
      resolution,
    });
  const expectSame = async (asked: Asked): Promise<void> => {
    const [raw, auto] = [await read("raw", asked), await read("auto", asked)];
    const near = (value: number | null) => (value === null ? null : expect.closeTo(value, 6));
    expect(auto).toEqual(
      raw.map((row) => ({ ...row, value: near(row.value), resolution: expect.stringMatching(/^(raw|1m|1h)$/) })),
    );
  };
  const resolutions = async (asked: Asked) =>
    (await read("auto", asked)).map(({ at_unix_ms, resolution }) => [(at_unix_ms - NOON) / MINUTE_MS, resolution]);

  /** Every ten seconds for so many hours. */
  const steady = (kind: SamplesOf["kind"], hours: number, valueAt: (second: number) => number): SamplesOf => ({
    name: `steady.${kind}`,
    kind,
    labels: LABELS,
    points: Array.from({ length: hours * 360 }, (_, step) => [step * 10_000, valueAt(step * 10)]),
  });

  it(
    "say the same as samples: any gauge, counter or delta, with gaps, resets, staleness markers and infinities",
    async () => {
      const anyValue = fc.oneof(
        { weight: 30, arbitrary: fc.integer({ min: -1000, max: 1000 }).map((value) => value / 8) },
        { weight: 1, arbitrary: fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY) },
      );
      const anyPoints = fc.array(fc.tuple(fc.nat(4 * HOUR_MS - 1), anyValue), { maxLength: 120 });
      // Times of one series differ: of two values at one time nobody can say which came last.
      const points = anyPoints.map((all) => [...new Map(all)].sort(([one], [other]) => one - other));
      const someSeries = fc.array(fc.tuple(fc.constantFrom(...KINDS), points), { minLength: 1, maxLength: 4 });
      const minutes = fc.integer({ min: -10, max: 250 }).map((minute) => minute * MINUTE_MS);
      const asked = fc.record({
        step: fc.constantFrom(30_000, MINUTE_MS, 5 * MINUTE_MS, HOUR_MS, 2 * HOUR_MS),
        aggregate: fc.constantFrom(...AGGREGATES),
        from: fc.integer({ min: -HOUR_MS, max: HOUR_MS }),
        length: fc.integer({ min: 1, max: 5 * HOUR_MS }),
      });
      const covered = fc.record({ minutes, hours: minutes });
      let run = 0;
      const property = fc.asyncProperty(
        someSeries,
        covered,
        fc.array(asked, { minLength: 1, maxLength: 2 }),
        async (all, until, questions) => {
          run++;
          const series = all.map(([kind, of], at) => ({
            name: `any.${run}.${kind}`,
            kind,
            labels: { n: String(at) },
            points: of,
          }));
          await insertSamples(engine.store, series);
          const { rollups } = engine.store;
          const range = { fromUnixMs: NOON - HOUR_MS, toUnixMs: NOON + 5 * HOUR_MS, version: run };
          await rollups.sumUpMinutes(range);
          await rollups.sumUpHours(range);
          const hour = (unixMs: number) => Math.floor(unixMs / HOUR_MS) * HOUR_MS;
          await rollups.save({
            seen: {},
            minutes: { covered: { fromUnixMs: NOON - HOUR_MS, untilUnixMs: NOON + until.minutes }, late: [] },
            hours: { covered: { fromUnixMs: NOON - HOUR_MS, untilUnixMs: hour(NOON + until.hours) }, late: [] },
          });
          for (const name of new Set(series.map((one) => one.name)))
            for (const { from, length, ...question } of questions)
              await expectSame({ name, from, to: from + length, ...question });
        },
      );
      await fc.assert(property, { numRuns: 8 });
    },
    PROPERTY_MS_MAX,
  );

  it("serve whole windows as far as they have come, the coarsest that the step allows; samples serve the end", async () => {
    nowUnixMs = NOON + 2 * HOUR_MS + 31.5 * MINUTE_MS;
    await insertSamples(engine.store, [steady("counter", 3, (second) => second % 1000)]);
    await job()();
    const name = "steady.counter";
    expect(await resolutions({ name, step: HOUR_MS, to: 3 * HOUR_MS })).toEqual([
      [0, "1h"],
      [60, "1h"],
      [120, "1m"],
    ]);
    const byMinutes = await resolutions({ name, step: 10 * MINUTE_MS, from: 110 * MINUTE_MS, to: 150 * MINUTE_MS + 1 });
    expect(byMinutes).toEqual([
      [110, "1m"],
      [120, "1m"],
      [130, "1m"],
      [140, "1m"],
      [150, "raw"],
    ]);
    expect(new Set((await resolutions({ name, step: 90_000 })).map(([, resolution]) => resolution))).toEqual(
      new Set(["raw"]),
    );
    for (const step of [HOUR_MS, 10 * MINUTE_MS, 90_000]) await expectSame({ name, step, to: 3 * HOUR_MS });
  });

  it("serve when the samples are gone", async () => {
    await insertSamples(engine.store, [steady("gauge", 4, (second) => second)]);
    await job()();
    const asked = { name: "steady.gauge", step: HOUR_MS, aggregate: "last" } as const;
    const before = (await read("raw", asked)).map(({ value }) => value);
    await engine.ask("TRUNCATE TABLE metric_samples");
    expect((await read("auto", asked)).map(({ value }) => value)).toEqual(before);
  });

  it("hold each window once, however often it is summed up", async () => {
    await insertSamples(
      engine.store,
      KINDS.map((kind) => steady(kind, 4, (second) => second % 700)),
    );
    await job()();
    await job()();
    await engine.store.rollups.sumUpMinutes({ fromUnixMs: NOON, toUnixMs: NOON + HOUR_MS, version: nowUnixMs + 1 });
    await engine.store.rollups.sumUpHours({ fromUnixMs: NOON, toUnixMs: NOON + HOUR_MS, version: nowUnixMs + 1 });
    for (const kind of KINDS)
      for (const step of [MINUTE_MS, HOUR_MS]) await expectSame({ name: `steady.${kind}`, step, aggregate: "sum" });
    await engine.ask("OPTIMIZE TABLE metric_minutes FINAL");
    expect(await engine.ask("SELECT count(), uniqExact(fingerprint, minute) FROM metric_minutes")).toBe("720\t720");
  });

  it("are done again by the next run when a run is killed before it could say how far it came", async () => {
    await insertSamples(
      engine.store,
      KINDS.map((kind) => steady(kind, 4, (second) => second % 700)),
    );
    nowUnixMs = NOON + 2 * HOUR_MS;
    await job()();
    nowUnixMs = NOON + 5 * HOUR_MS;
    const killed = job({ save: () => Promise.reject(new Error("killed")) });
    await expect(killed()).rejects.toThrow("killed");
    expect((await engine.store.rollups.load())?.hours.covered.untilUnixMs).toBe(NOON + HOUR_MS);
    await job()();
    for (const kind of KINDS)
      for (const step of [MINUTE_MS, HOUR_MS]) await expectSame({ name: `steady.${kind}`, step, aggregate: "sum" });
    expect((await read("auto", { name: "steady.gauge", step: HOUR_MS })).map(({ resolution }) => resolution)).toEqual([
      "1h",
      "1h",
      "1h",
      "1h",
    ]);
  });

  it.each([
    ["in a part of its own", ""],
    ["in a part that was merged with older ones", "OPTIMIZE TABLE metric_samples FINAL"],
  ])("take in what comes late, %s", async (_, between) => {
    await insertSamples(
      engine.store,
      KINDS.map((kind) => steady(kind, 4, (second) => second % 700)),
    );
    await job()();
    summedUp = [];
    const late = KINDS.map((kind) => ({
      ...steady(kind, 0, () => 0),
      points: [
        [90.6 * MINUTE_MS, 3000],
        [91.6 * MINUTE_MS, 1],
      ] as const,
    }));
    await insertSamples(engine.store, late);
    if (between !== "") await engine.ask(between);
    // One run finds it, and waits for more; the next finds nothing more.
    await job()();
    expect(summedUp).toEqual([]);
    await job()();
    expect(summedUp).toEqual(["minutes 90-92", "hours 60-120"]);
    for (const kind of KINDS)
      for (const step of [MINUTE_MS, HOUR_MS]) await expectSame({ name: `steady.${kind}`, step, aggregate: "sum" });
    expect(await resolutions({ name: "steady.gauge", step: HOUR_MS })).toContainEqual([60, "1h"]);
  });

  it("read no sample when nothing has come", async () => {
    await insertSamples(engine.store, [steady("gauge", 4, () => 1)]);
    await job()();
    summedUp = [];
    await job()();
    expect(summedUp).toEqual([]);
  });

  it("of before the first run are done newest first, hours before minutes, and at last serve any range", async () => {
    await insertSamples(engine.store, [steady("gauge", 4, () => 1)]);
    await job()();
    const backwards = ["180-240", "120-180", "60-120", "0-60"];
    const rest = summedUp.filter((what) => !what.includes("240-"));
    expect(rest).toEqual([
      ...backwards.map((range) => `hours ${range}`),
      ...backwards.map((range) => `minutes ${range}`),
    ]);
    expect(await resolutions({ name: "steady.gauge", step: HOUR_MS, from: -24 * HOUR_MS, to: HOUR_MS })).toEqual([
      [0, "1h"],
    ]);
  });

  it("of hours say what baselines and forecasts want of a delta: its rate", async () => {
    await insertSamples(engine.store, [steady("delta", 1, () => 20)]);
    await job()();
    const [row] = await engine.store.run(metricHours, {
      metric_name: "steady.delta",
      from_unix_ms: NOON,
      to_unix_ms: NOON + HOUR_MS,
    });
    expect(row).toMatchObject({ unit: "s/s", means: [2] });
  });

  it("that are switched off serve nothing, and are not summed up", async () => {
    await insertSamples(engine.store, [steady("gauge", 4, () => 1)]);
    await job()();
    summedUp = [];
    nowUnixMs += HOUR_MS;
    await job({ enabled: { minutes: false, hours: true } })();
    expect(summedUp).toEqual(["hours 240-300"]);
    expect(new Set((await resolutions({ name: "steady.gauge", step: MINUTE_MS })).map(([, used]) => used))).toEqual(
      new Set(["raw"]),
    );
  });
});
