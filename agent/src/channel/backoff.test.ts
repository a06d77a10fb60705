import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { backOffMs } from "./backoff.ts";

const bounds = { minMs: 1_000, maxMs: 30_000 };

describe("the wait before another attempt", () => {
  test("is half fixed and half random, doubles, and has a ceiling", () => {
    fc.assert(
      fc.property(fc.nat(2_000), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (failures, random) => {
        const ceiling = Math.min(30_000, 1_000 * 2 ** Math.min(failures, 30));
        const waitMs = backOffMs({ failures, ...bounds, random: () => random });
        expect(waitMs).toBeGreaterThanOrEqual(ceiling / 2);
        expect(waitMs).toBeLessThanOrEqual(ceiling);
      }),
    );
  });

  test("spreads ten thousand agents evenly: no tenth of the time sees more than an eighth of them", () => {
    const slots = new Array<number>(10).fill(0);
    let seed = 42;
    // A linear congruential generator (Numerical Recipes), so that the test is the same each time.
    const random = () => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return seed / 2 ** 32;
    };
    for (let agent = 0; agent < 10_000; agent += 1) {
      const waitMs = backOffMs({ failures: 0, ...bounds, random });
      const slot = Math.floor((waitMs - 500) / 50);
      slots[slot] = (slots[slot] ?? 0) + 1;
    }
    expect(Math.max(...slots)).toBeLessThan(1_250);
    expect(Math.min(...slots)).toBeGreaterThan(800);
  });
});
