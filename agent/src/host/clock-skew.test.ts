import { expect, test } from "vitest";
import { clockSkewMs } from "./clock-skew.ts";

test.each([
  ["behind by a minute, 100 ms there and back", { asked_at_unix_ms: 1_000, control_unix_ms: 61_050 }, 1_100, -60_000],
  ["ahead by a minute", { asked_at_unix_ms: 100_000, control_unix_ms: 40_050 }, 100_100, 60_000],
  ["a clock that was set back in between", { asked_at_unix_ms: 1_000, control_unix_ms: 1_000 }, 900, null],
  ["an answer that took too long", { asked_at_unix_ms: 1_000, control_unix_ms: 1_000 }, 12_000, null],
])("the clock is %s", (_name, answer, now, skew) => {
  expect(clockSkewMs(answer, now)).toBe(skew);
});
