import { expect, test } from "vitest";
import { Wheel } from "./wheel.ts";

test("each member is asked once in a period, members are spread over it, and who left is not asked", () => {
  const wheel = new Wheel({ periodMs: 1_000, slots: 4 });
  const asked = new Array<number>(8).fill(0);
  const members = asked.map((_, index) => ({
    onPulse: () => {
      asked[index] = (asked[index] ?? 0) + 1;
    },
  }));
  for (const member of members) wheel.add(member);
  const [first] = members;
  if (first !== undefined) wheel.delete(first);
  wheel.turn();
  expect(asked.reduce((sum, count) => sum + count, 0)).toBe(1);
  for (let slot = 1; slot < 4; slot += 1) wheel.turn();
  expect(asked).toEqual([0, 1, 1, 1, 1, 1, 1, 1]);
  expect(wheel.periods(2_500)).toBe(3);
});
