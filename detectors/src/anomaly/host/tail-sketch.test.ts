import fc from "fast-check";
import { quantileSorted } from "simple-statistics";
import { describe, expect, test } from "vitest";
import { ageTailSketches, exceedance, loadTailSketches, makeTailSketches, saveTailSketches } from "./tail-sketch.ts";

const shares = { bound: 0.05, far: 0.01, spreadShare: 0 };
const feed = (values: readonly number[], weight = 1) => {
  const sketches = makeTailSketches(1);
  const beyond = values.map((value) => exceedance(sketches, 0, value, { weight, shares }));
  return { sketches, beyond };
};

/** Quantiles of a normal distribution in a scattered order. */
const bell = (count: number, center: number, spread: number): number[] =>
  Array.from({ length: count }, (_, index) => {
    const share = (((index * 7919) % count) + 0.5) / count;
    return center + (spread * Math.log(share / (1 - share))) / 1.7;
  });

describe("a tail sketch", () => {
  test.each([
    { name: "around zero", center: 0, spread: 1 },
    { name: "far from zero", center: 1e6, spread: 3 },
    { name: "tiny", center: 1e-6, spread: 1e-9 },
    { name: "huge", center: -1e12, spread: 1e9 },
  ])("knows the quantiles of values $name to a twentieth of their spread", ({ center, spread }) => {
    const values = bell(5000, center, spread);
    const { sketches } = feed(values);
    const sorted = values.toSorted((a, b) => a - b);
    expect(Math.abs((sketches.low[0] as number) - quantileSorted(sorted, 0.05))).toBeLessThan(spread * 0.15);
    expect(Math.abs((sketches.high[0] as number) - quantileSorted(sorted, 0.95))).toBeLessThan(spread * 0.15);
  });

  test("finds a constant inside its own bounds, and anything else far outside", () => {
    const { beyond } = feed([...new Array(500).fill(42), 42.5, 42]);
    expect(beyond.slice(0, 500).every((one) => one === 0)).toBe(true);
    expect(beyond[500]).toBeGreaterThan(100);
    expect(beyond[501]).toBe(0);
  });

  test("still knows its values after one freak value", () => {
    const values = bell(3000, 10, 1);
    const { sketches } = feed([...values.slice(0, 1000), 1e35, ...values.slice(1000)]);
    expect(sketches.high[0]).toBeLessThan(13);
  });

  test("learns values of little weight slowly", () => {
    const old = bell(1000, 0, 1);
    const highAfter = (weight: number): number => {
      const { sketches } = feed(old);
      for (const value of bell(200, 100, 1)) exceedance(sketches, 0, value, { weight, shares });
      return sketches.high[0] as number;
    };
    expect(highAfter(1)).toBeGreaterThan(90);
    expect(highAfter(0.01)).toBeLessThan(5);
  });

  test("forgets what is many half-lives old", () => {
    const { sketches } = feed(bell(2000, 0, 1));
    ageTailSketches(sketches, 12);
    for (const value of bell(300, 50, 1)) exceedance(sketches, 0, value, { weight: 1, shares });
    expect(sketches.low[0]).toBeGreaterThan(40);
  });

  test("goes on the same after being saved and loaded", () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 200 }),
        (values) => {
          const { sketches } = feed(values);
          const loaded = loadTailSketches(saveTailSketches(sketches), 1);
          const next = (value: number) =>
            [sketches, loaded].map((one) => exceedance(one, 0, value, { weight: 1, shares }));
          for (const value of values) {
            const [as, again] = next(value * 2);
            expect(again).toBe(as);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test("does not load what is not its own", () => {
    expect(() => loadTailSketches(saveTailSketches(makeTailSketches(2)), 1)).toThrow(RangeError);
  });
});
