import { expect, test } from "vitest";
import { parseJson, parseText } from "./log-line.ts";
import { severityOf } from "./severity.ts";

const NOW = Date.UTC(2026, 2, 1, 12);
const local = (...parts: [number, number, number, number, number, number]) => new Date(...parts).getTime();

test.each([
  ["2026-03-01T12:00:00Z started", Date.UTC(2026, 2, 1, 12)],
  ["[2026-03-01T12:00:00.123456789+02:00] x", Date.UTC(2026, 2, 1, 10) + 123],
  ["2026-03-01 12:00:00,250 INFO x", local(2026, 2, 1, 12, 0, 0) + 250],
  ["2026/03/01 12:00:00 [error] 7#7: x", local(2026, 2, 1, 12, 0, 0)],
  ['127.0.0.1 - - [01/Mar/2026:12:00:00 +0100] "GET / HTTP/1.1" 200 1', Date.UTC(2026, 2, 1, 11)],
  ["Feb 28 23:59:59 host sshd[1]: x", local(2026, 1, 28, 23, 59, 59)],
  ["Dec 31 23:59:59 host sshd[1]: x", local(2025, 11, 31, 23, 59, 59)],
  ["2026-13-45T99:00:00Z nonsense", null],
  ["no time at all", null],
  ["0001-01-01T00:00:00Z before time", null],
])("the time of: %s", (line, expected) => {
  const ns = parseText(line, NOW).timestampNs;
  expect(ns === null ? null : Number(ns / 1_000_000n)).toBe(expected);
});

test("keeps nanoseconds", () => {
  expect((parseText("2026-03-01T12:00:00.123456789Z", NOW).timestampNs ?? 0n) % 1_000_000_000n).toBe(123_456_789n);
});

test.each([
  ["2026-03-01 ERROR x", 17],
  ["level=warn msg=x", 13],
  ["Level: Error", 17],
  ["[notice] 7#7: x", 10],
  ["<Debug> x", 5],
  ["FATAL: the database is gone", 21],
  ["an error occurred, warning: lower case prose", 0],
  ["TERRORIST INFORMATIONAL", 0],
  [`${"x".repeat(300)} ERROR`, 0],
])("the severity of: %s", (line, expected) => {
  expect(severityOf(line)).toBe(expected);
});

test.each([
  ['{"level":"error","message":"m"}', { severityNumber: 17, body: "m" }],
  [
    '{"level":30,"msg":"m","time":1772366400000}',
    { severityNumber: 9, body: "m", timestampNs: 1_772_366_400_000_000_000n },
  ],
  ['{"ts":1772366400.5,"msg":"m"}', { timestampNs: 1_772_366_400_500_000_000n }],
  ['{"msg":{"a":1}}', { body: '{"msg":{"a":1}}' }],
  ['{"msg":"m","a":{"b":1},"c":null,"__proto__":"x"}', { attributes: { a: '{"b":1}' } }],
  ["[1,2]", { body: "[1,2]" }],
  ['{"cut', { body: '{"cut' }],
])("the JSON line: %s", (line, expected) => {
  expect(parseJson(line, NOW)).toMatchObject(expected);
});
