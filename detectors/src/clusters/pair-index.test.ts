import fc from "fast-check";
import { expect, test } from "vitest";
import { find, insert, makeIndex } from "./pair-index.ts";

test("an index finds what a map finds, however many there are and whatever the keys", () => {
  const anyKey = fc.oneof(fc.nat(50), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
  fc.assert(
    fc.property(fc.uniqueArray(anyKey, { maxLength: 500 }), fc.array(anyKey), (keys, others) => {
      const index = makeIndex();
      const map = new Map(keys.map((key, at) => [key, at]));
      for (const [key, at] of map) insert(index, key, at);
      for (const key of [...keys, ...others]) expect(find(index, key)).toBe(map.get(key) ?? -1);
    }),
  );
});
