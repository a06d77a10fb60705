import type { Log } from "@homeostat/schemas";
import { beforeEach, expect, test } from "vitest";
import { sparingLog } from "./sparing-log.ts";

let lines: [string, string, unknown][];
let nowUnixMs: number;
let log: Log;

beforeEach(() => {
  lines = [];
  nowUnixMs = 1_000_000;
  const at = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) =>
    void lines.push([level, message, fields]);
  const whole = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  log = sparingLog(whole, () => nowUnixMs);
});

test("a text that comes again and again has a few lines, and then one that says how many were left out", () => {
  for (let n = 0; n < 1_000; n += 1) log.warn({ n }, "a result could not be published");
  expect(lines).toHaveLength(20);
  expect(lines.at(-1)).toEqual(["warn", "a result could not be published", { n: 19 }]);
  nowUnixMs += 10_000;
  log.warn({ n: 1_000 }, "a result could not be published");
  expect(lines.slice(20)).toEqual([
    ["warn", expect.any(String), { text: "a result could not be published", left_out: 980 }],
    ["warn", "a result could not be published", { n: 1_000 }],
  ]);
});

test("what is said of other things stands beside it", () => {
  for (let n = 0; n < 1_000; n += 1) log.error({ n }, "a record that no control has written does not count");
  log.error({}, "the audit log does not hold what it held before: verify it");
  expect(lines.at(-1)?.[1]).toBe("the audit log does not hold what it held before: verify it");
});

test("a clock that is set back keeps nothing out of the log", () => {
  for (let n = 0; n < 21; n += 1) log.warn({}, "x");
  nowUnixMs -= 3_600_000;
  log.warn({ after: true }, "x");
  expect(lines.at(-1)).toEqual(["warn", "x", { after: true }]);
});
