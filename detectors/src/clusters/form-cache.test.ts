import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FormCache } from "./form-cache.ts";

describe("the cache of masked lines", () => {
  test("answers what was set, by both hashes", () => {
    // Places of templates: the cache holds one more than each in 32 bits.
    const place = fc.nat({ max: 2 ** 31 - 2 });
    const entry = fc.tuple(fc.integer({ min: -5, max: 5 }), fc.integer({ min: -5, max: 5 }), place);
    fc.assert(
      fc.property(fc.array(entry), (entries) => {
        const cache = new FormCache();
        const expected = new Map<string, number>();
        for (const [hash, other, value] of entries) {
          cache.set(hash, other, value);
          expected.set(`${hash} ${other}`, value);
        }
        for (let hash = -6; hash <= 6; hash++)
          for (let other = -6; other <= 6; other++)
            expect(cache.get(hash, other)).toBe(expected.get(`${hash} ${other}`) ?? -1);
      }),
      { numRuns: 20 },
    );
  });

  test("is bounded, and keeps what is asked for again", () => {
    const cache = new FormCache();
    cache.set(-1, -1, 7);
    for (let hash = 0; hash < 200_000; hash++) {
      cache.set(hash, hash, hash);
      if (hash % 10_000 === 0) expect(cache.get(-1, -1)).toBe(7);
    }
    expect(cache.get(0, 0)).toBe(-1);
    expect(cache.get(199_999, 199_999)).toBe(199_999);
    expect(cache.entries().length / 3).toBeLessThanOrEqual(65_536);
  });

  test("follows when places move, and forgets those that went", () => {
    const cache = new FormCache();
    cache.set(1, 1, 10);
    cache.set(2, 2, 20);
    cache.renumber((place) => (place === 10 ? 3 : -1));
    expect([cache.get(1, 1), cache.get(2, 2)]).toEqual([3, -1]);
  });
});
