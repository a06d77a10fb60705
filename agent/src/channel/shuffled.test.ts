import fc from "fast-check";
import { expect, test } from "vitest";
import { shuffled } from "./shuffled.ts";

test("the same items, and each as likely in the first place", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(9)), (items) => {
      expect(shuffled(items, Math.random).sort()).toEqual([...items].sort());
    }),
  );
  const first = new Map<string, number>();
  let seed = 7;
  const random = () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };
  for (let run = 0; run < 3_000; run += 1) {
    const [name = ""] = shuffled(["a", "b", "c"], random);
    first.set(name, (first.get(name) ?? 0) + 1);
  }
  for (const count of first.values()) expect(Math.abs(count - 1_000)).toBeLessThan(150);
});
