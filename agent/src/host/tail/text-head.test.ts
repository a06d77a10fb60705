import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { severityOf } from "./severity.ts";
import { TextHeadReader } from "./text-head.ts";
import { timestampOf } from "./timestamp.ts";

const NOW = Date.UTC(2026, 2, 1, 12);

const PIECES = [
  "2026-03-01T12:00:00Z",
  "2026-03-01 12:00:00.123456",
  "2026/03/01 12:00:60,5 +0100",
  "2026-02-31T23:59:59.123456789123-05:30",
  "1969-01-01T00:00:00Z",
  "2026-13-01T00:00:00Z",
  "2026-03-01T12:00:00 UTC",
  "2026-03-01T12:00:00U",
  "12026-03-01T12:00:00Z",
  "Mar  1 12:00:00",
  "01/Mar/2026:12:00:00 +0100",
  "INFO",
  "[info]",
  "<Warn>",
  "(error)",
  "[error",
  "ERRORS",
  "level=",
  'level: "warn"',
  "severity=ERR",
  "WARNING",
  "WARN_",
  "crit",
  "CRIT:",
  "Emerg",
  "FATAL",
  "é",
  "日本",
  " ",
  "  ",
  "x",
  "42",
  "[",
  "]",
  "=",
  ":",
  "worker-3",
] as const;
const line = fc
  .array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ maxLength: 6 })), { maxLength: 12 })
  .map((pieces) => pieces.join(" "));

describe("a line's head read from its bytes", () => {
  test("tells what the slow way tells, or leaves it to the slow way", () => {
    const reader = new TextHeadReader();
    fc.assert(
      fc.property(line, fc.nat(300), (text, padding) => {
        const whole = text + " ".repeat(padding);
        const bytes = Buffer.from(whole, "utf8");
        const head = reader.read(bytes, 0, bytes.length);
        if (!head.isKnown) return;
        expect(BigInt(head.unixMs) * 1_000_000n + BigInt(head.ns)).toBe(timestampOf(whole, NOW));
        expect(head.severity).toBe(severityOf(whole));
      }),
      { numRuns: 5_000 },
    );
  });

  test.each([
    [
      "2026-03-01T12:00:00.123456Z INFO [worker-3] request 7 took 3 ms",
      Date.UTC(2026, 2, 1, 12, 0, 0, 123),
      456_000,
      9,
    ],
    ["2026-03-01 12:00:00,5 +0100 [warn] disk is getting full, look at it", Date.UTC(2026, 2, 1, 11, 0, 0, 500), 0, 13],
    ["2026-03-01T12:00:00Z an error that says nothing of how bad it is", Date.UTC(2026, 2, 1, 12), 0, 0],
  ] as const)("is fast for %s", (text, unixMs, ns, severity) => {
    const bytes = Buffer.from(text);
    expect(new TextHeadReader().read(bytes, 0, bytes.length)).toEqual({ isKnown: true, unixMs, ns, severity });
  });
});
