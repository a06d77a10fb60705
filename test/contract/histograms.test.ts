import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { metricQuantile } from "../../analytics/src/index.ts";
import {
  type HistogramsOf,
  insertHistograms,
  insertSamples,
  type MetricStore,
  type SamplesOf,
  startMetricStore,
} from "./metric-rows.ts";
import { NOON } from "./store-rows.ts";

const MINUTE_MS = 60_000;
const HOST = { "host.name": "host-1" };
const BOUNDS = [0.1, 0.5, 1, 5, 10, Number.POSITIVE_INFINITY];

/** How many observations fall into each bucket: above the bound before, up to and with its own. */
const countsOf = (observations: readonly number[], bounds: readonly number[]): number[] =>
  bounds.map(
    (bound, at) =>
      observations.filter((value) => value <= bound && value > (bounds[at - 1] ?? Number.NEGATIVE_INFINITY)).length,
  );
const cumulated = (counts: readonly number[]): number[] => {
  let sum = 0;
  return counts.map((count) => {
    sum += count;
    return sum;
  });
};

describe("quantiles of histograms on a real engine", () => {
  let engine: MetricStore;
  beforeAll(async () => {
    engine = await startMetricStore();
  });
  afterAll(() => engine.stop());

  const RANGE = { from_unix_ms: NOON, to_unix_ms: NOON + 10 * MINUTE_MS, step_ms: 10 * MINUTE_MS };
  const quantilesOf = async (metric_name: string, quantiles: number[], more: object = {}) =>
    (await engine.store.run(metricQuantile, { metric_name, ...RANGE, quantiles, ...more })).map(({ value }) => value);

  /** The same observations as each kind of sender tells them. */
  type Sender = (
    name: string,
    labels: Record<string, string>,
    observations: readonly number[],
    bounds?: readonly number[],
  ) => Promise<void>;
  const senders: Readonly<Record<string, Sender>> = {
    "a cumulative histogram": (name, labels, observations, bounds = BOUNDS) => {
      const counts = countsOf(observations, bounds);
      const points = [
        { at: -10_000, bounds, counts: bounds.map(() => 7) },
        { at: MINUTE_MS, bounds, counts: counts.map((count) => 7 + Math.floor(count / 2)) },
        { at: 2 * MINUTE_MS, bounds, counts: counts.map((count) => 7 + count) },
      ];
      return insertHistograms(engine.store, [{ name, kind: "histogram", labels, points }]);
    },
    "a histogram that began anew twice": (name, labels, observations, bounds = BOUNDS) => {
      const third = Math.floor(observations.length / 3);
      const parts = [observations.slice(0, third), observations.slice(third, 2 * third), observations.slice(2 * third)];
      const points = parts.flatMap((part, at) => [
        { at: at * MINUTE_MS, bounds, counts: bounds.map(() => 0) },
        { at: at * MINUTE_MS + 30_000, bounds, counts: countsOf(part, bounds) },
      ]);
      return insertHistograms(engine.store, [{ name, kind: "histogram", labels, points }]);
    },
    "a delta histogram": (name, labels, observations, bounds = BOUNDS) => {
      const half = Math.floor(observations.length / 2);
      const points = [observations.slice(0, half), observations.slice(half)].map((part, at) => ({
        at: at * MINUTE_MS,
        bounds,
        counts: countsOf(part, bounds),
      }));
      return insertHistograms(engine.store, [{ name, kind: "delta_histogram", labels, points }]);
    },
    "Prometheus' series of a classic histogram": (name, labels, observations, bounds = BOUNDS) => {
      const counts = cumulated(countsOf(observations, bounds));
      const series = bounds.map(
        (bound, at): SamplesOf => ({
          name: `${name}_bucket`,
          kind: "counter",
          labels: { ...labels, le: bound === Number.POSITIVE_INFINITY ? "+Inf" : String(bound) },
          points: [
            [-10_000, 5],
            [MINUTE_MS, 5 + Math.floor((counts[at] ?? 0) / 2)],
            [2 * MINUTE_MS, 5 + (counts[at] ?? 0)],
          ],
        }),
      );
      return insertSamples(engine.store, series);
    },
  };
  let run = 0;
  const fresh = (): string => `latency.${++run}`;

  describe.each(Object.entries(senders))("from %s", (_, send) => {
    // 10 up to 0.1, 30 up to 0.5, 40 up to 1, 10 up to 5, 10 beyond 10.
    const observations = [
      ...Array(10).fill(0.05),
      ...Array(30).fill(0.3),
      ...Array(40).fill(0.8),
      ...Array(10).fill(3),
      ...Array(10).fill(99),
    ] as number[];

    it("lie evenly within their buckets, and where the last bucket begins beyond it", async () => {
      const name = fresh();
      await send(name, HOST, observations);
      // Worked by hand: rank 50 is the 10th of 40 between 0.5 and 1; rank 5 the 5th of 10 between 0 and 0.1.
      expect(await quantilesOf(name, [0.05, 0.25, 0.5, 0.85, 0.99])).toEqual(
        [0.05, 0.3, 0.625, 3, 10].map((value) => expect.closeTo(value, 9)),
      );
    });

    it("are off by no more than the bucket's width, whatever is observed", async () => {
      const bounds = [...Array.from({ length: 20 }, (__, at) => (at + 1) / 2), Number.POSITIVE_INFINITY];
      const anyObservations = fc.array(fc.double({ min: 0.001, max: 9.99, noNaN: true }), {
        minLength: 3,
        maxLength: 200,
      });
      const property = fc.asyncProperty(
        anyObservations,
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        async (all, quantile) => {
          const name = fresh();
          await send(name, HOST, all, bounds);
          const exact =
            all.toSorted((one, other) => one - other)[Math.max(0, Math.ceil(quantile * all.length) - 1)] ?? 0;
          const [value] = await quantilesOf(name, [quantile]);
          expect(Math.abs((value ?? Number.NaN) - exact)).toBeLessThanOrEqual(0.5 + 1e-9);
        },
      );
      await fc.assert(property, { numRuns: 6 });
    });

    it("are of all series of a group together", async () => {
      const name = fresh();
      await send(name, { ...HOST, path: "/a" }, observations.slice(0, 50));
      await send(name, { ...HOST, path: "/b" }, observations.slice(50));
      expect(await quantilesOf(name, [0.5], { group_by: ["host.name"] })).toEqual([expect.closeTo(0.625, 9)]);
      expect(await quantilesOf(name, [0.5])).toHaveLength(2);
      expect(await quantilesOf(name, [0.5], { labels: { path: "/a" } })).toHaveLength(1);
    });
  });

  it("are near those of a known distribution, in exponential buckets", async () => {
    // Base 2^(1/8), as OpenTelemetry's scale 3; the 2000 quantiles of an exponential distribution with mean 1.
    const bounds = Array.from({ length: 120 }, (_, at) => 2 ** ((at - 90) / 8));
    const observations = Array.from({ length: 2000 }, (_, at) => -Math.log(1 - (at + 0.5) / 2000));
    const name = fresh();
    const counts = countsOf(observations, bounds);
    // Sparse, as they come: a bucket with nothing in it stands only where another begins.
    const kept = bounds.map((_, at) => (counts[at] ?? 0) > 0 || (counts[at + 1] ?? 0) > 0);
    const points = [{ at: 0, bounds: bounds.filter((_, at) => kept[at]), counts: counts.filter((_, at) => kept[at]) }];
    await insertHistograms(engine.store, [{ name, kind: "delta_histogram", labels: HOST, points }]);
    const [median = 0, high = 0] = await quantilesOf(name, [0.5, 0.99]);
    expect((median ?? 0) / Math.LN2).toBeCloseTo(1, 1);
    expect((high ?? 0) / -Math.log(0.01)).toBeCloseTo(1, 1);
  });

  it("go on when the bounds change: exponential buckets that were joined", async () => {
    const name = fresh();
    const points: HistogramsOf["points"] = [
      { at: -10_000, bounds: [1, 2, 4, 8], counts: [0, 10, 10, 10] },
      { at: MINUTE_MS, bounds: [1, 4, 16], counts: [0, 20, 50] },
    ];
    await insertHistograms(engine.store, [{ name, kind: "histogram", labels: HOST, points }]);
    const rows = await engine.store.run(metricQuantile, { metric_name: name, ...RANGE, quantiles: [0.5] });
    expect(rows).toMatchObject([{ count: 40 }]);
    expect(rows[0]?.value).toBeGreaterThan(4);
    expect(rows[0]?.value).toBeLessThanOrEqual(16);
  });

  it("are of each step by itself, and of none without observations", async () => {
    const name = fresh();
    const bounds = [1, 2, Number.POSITIVE_INFINITY];
    const points: HistogramsOf["points"] = [
      { at: 0, bounds, counts: [0, 0, 0] },
      { at: 30_000, bounds, counts: [10, 0, 0] },
      { at: 90_000, bounds, counts: [10, 0, 0] },
      { at: 150_000, bounds, counts: [10, 10, 0] },
    ];
    await insertHistograms(engine.store, [{ name, kind: "histogram", labels: HOST, points }]);
    const ask = { metric_name: name, ...RANGE, step_ms: MINUTE_MS, quantiles: [1] };
    const rows = await engine.store.run(metricQuantile, ask);
    expect(rows.map(({ at_unix_ms, value, count }) => [(at_unix_ms - NOON) / MINUTE_MS, value, count])).toEqual([
      [0, 1, 10],
      [2, 2, 10],
    ]);
  });

  it("of negative observations go up to the first bound, below which nothing is known", async () => {
    const name = fresh();
    const points: HistogramsOf["points"] = [{ at: 0, bounds: [-4, -2, 0, 2], counts: [10, 10, 0, 20] }];
    await insertHistograms(engine.store, [{ name, kind: "delta_histogram", labels: HOST, points }]);
    expect(await quantilesOf(name, [0.1, 0.375, 0.75])).toEqual([-4, -3, 1]);
  });
});
