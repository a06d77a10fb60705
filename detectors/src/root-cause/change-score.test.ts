import fc from "fast-check";
import { expect, test } from "vitest";
import { type ScoredMetric, scoreMetrics } from "./change-score.ts";
import { DETECTED_MS, metric, TIMES_MS } from "./incident.fixture.ts";
import type { MetricSeries } from "./incident.ts";

const only = (series: MetricSeries): ScoredMetric => {
  const [scored] = scoreMetrics([series], DETECTED_MS);
  if (scored === undefined) throw new Error("no score");
  return scored;
};

test("a level that rises at the detection is many spreads away, one that stays is not", () => {
  expect(only(metric("a", "cpu", { level: 10, to: 60 })).z).toBeGreaterThan(20);
  expect(only(metric("a", "cpu", { level: 10 })).z).toBeLessThan(2);
});

test("a fall counts as much as a rise, with its sign", () => {
  const fall = only(metric("a", "cpu", { level: 60, to: 10 }));
  expect(fall.shift).toBeLessThan(-40);
  expect(fall.z).toBeGreaterThan(10);
});

test("a single value is a blip", () => {
  const calm = metric("a", "cpu", { level: 10 });
  const values = Float64Array.from(calm.values);
  values[12] = 500;
  expect(only({ ...calm, values }).z).toBeLessThan(2);
});

test("a series that stood still in normal times does not outscore everything by a tremor", () => {
  const flat = {
    service: "a",
    kind: "cpu",
    timesUnixMs: TIMES_MS,
    values: TIMES_MS.map(() => 10.1),
    normalValues: new Float64Array(60).fill(10),
  };
  expect(only(flat).z).toBeLessThan(1);
});

test("a peer that moves a lot lends its spread to one that hardly ever did", () => {
  const still = { ...metric("still", "cpu", { level: 1, to: 3 }), normalValues: new Float64Array(60).fill(1) };
  const lively = Array.from({ length: 5 }, (_, at) => metric(`lively${at}`, "cpu", { level: 500 }));
  const [alone] = scoreMetrics([still], DETECTED_MS);
  const [among] = scoreMetrics([still, ...lively], DETECTED_MS);
  expect(among?.z).toBeLessThan((alone?.z ?? 0) / 2);
});

test("what stood there before the detection, unmoved, counts for little", () => {
  const drifted = {
    ...metric("a", "mem", { level: 30 }),
    normalValues: metric("a", "mem", { level: 20 }).normalValues,
  };
  const moved = { ...metric("a", "mem", { level: 20, to: 30 }) };
  expect(only(drifted).z).toBeLessThan(only(moved).z / 2);
});

test("without normal values those before the detection are the normal ones", () => {
  const rise = { ...metric("a", "cpu", { level: 10, to: 60 }), normalValues: [] };
  expect(only(rise).z).toBeGreaterThan(20);
});

test("without any normal value, or without any value in the window, there is no score", () => {
  const calm = metric("a", "cpu", { level: 10 });
  expect(scoreMetrics([{ ...calm, normalValues: [] }], 0)).toEqual([]);
  expect(scoreMetrics([{ ...calm, values: TIMES_MS.map(() => Number.NaN) }], DETECTED_MS)).toEqual([]);
});

const Values = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 20, maxLength: 20 });

test("the unit of a metric does not matter", () => {
  fc.assert(
    fc.property(Values, Values, fc.integer({ min: -9, max: 9 }), (values, normalValues, exponent) => {
      const unit = 2 ** exponent;
      const scaled = (list: readonly number[]) => Float64Array.from(list, (value) => value * unit);
      const series = { service: "a", kind: "cpu", timesUnixMs: TIMES_MS };
      const one = only({ ...series, values, normalValues });
      const other = only({ ...series, values: scaled(values), normalValues: scaled(normalValues) });
      expect(other.z).toBeCloseTo(one.z, 6);
      expect(other.shift).toBeCloseTo(one.shift * unit, 3);
    }),
  );
});

test("whatever the values are, a score is a finite number from 0 on", () => {
  const anything = fc.array(fc.double(), { maxLength: 30 });
  fc.assert(
    fc.property(anything, anything, (values, normalValues) => {
      for (const { z, shift } of scoreMetrics(
        [{ service: "a", kind: "x", timesUnixMs: TIMES_MS, values, normalValues }],
        DETECTED_MS,
      )) {
        expect(z).toBeGreaterThanOrEqual(0);
        expect(Number.isNaN(shift)).toBe(false);
      }
    }),
  );
});
