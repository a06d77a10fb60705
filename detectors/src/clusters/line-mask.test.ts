import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LINE_BYTES_MAX, LineMask } from "./line-mask.ts";

const mask = new LineMask();
const masked = (line: string | Uint8Array): string => {
  mask.scan(Buffer.from(line));
  return mask.text;
};
const keyOf = (line: string): number => {
  mask.scan(Buffer.from(line));
  return mask.key;
};

describe("a masked line", () => {
  test.each([
    ["order 1234 reserved in 12.5 ms, status 200", "order <num> reserved in <num> ms, status <num>"],
    ["took 12.5ms, 3s, 2h30m and -1.5µs", "took <dur>, <dur>, <dur> and <dur>"],
    ["2026-11-21T03:04:05.123Z INFO ready", "<time> INFO ready"],
    ["2026-11-21 03:04:05,123 +02:00 x", "<time> <time>,<num> <num> x"],
    ["2026-11-21T03:04:05+01:00 x", "<time> x"],
    ["connect ECONNREFUSED 127.0.0.1:5432", "connect ECONNREFUSED <ip>"],
    ["peer fe80::1ff:fe23:4567:890a left", "peer <ip> left"],
    ["id=550e8400-e29b-41d4-a716-446655440000;", "id=<id>;"],
    ["at 0x7ffd12345678 in deadbeef01", "at <hex> in <hex>"],
    ["open /var/log/app/2026.log: no such file", "open <path>: no such file"],
    ["GET https://example.org/a?b=1&c=x,2 done", "GET <url> done"],
    ["worker-12 of node3 uses eth0", "worker-<num> of node<num> uses eth<num>"],
    ["disk at 93% of 10MB (90 %)", "disk at <num> of <num> (<num> %)"],
    ['key "a"=1, list=[1,2,3]', 'key "a"=<num>, list=[<num>,<num>,<num>]'],
    ["read/write and/or yes", "read/write and/or yes"],
    ["token AbCd1234EfGh5678IjKl ok", "token <id> ok"],
    ["v1.2.3 released", "v<num>.<num>.<num> released"],
    ["  many   blanks\tand tabs  ", "many blanks and tabs"],
    ["first line\nsecond line 7", "first line"],
    ["\u001b[31mred\u001b[0m text", "red text"],
    ["größe 5 naïve", "größe <num> naïve"],
    ["", ""],
  ])("%s → %s", (line, expected) => {
    expect(masked(line)).toBe(expected);
  });

  test("has the same key exactly when it has the same text", () => {
    const lines = fc.array(fc.string({ unit: fc.constantFrom(..."ab 19./:-="), maxLength: 12 }), { maxLength: 60 });
    fc.assert(
      fc.property(lines, (texts) => {
        const byKey = new Map(texts.map((text) => [keyOf(text), masked(text)]));
        expect(byKey.size).toBe(new Set(texts.map(masked)).size);
      }),
    );
  });

  test("is bounded, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: LINE_BYTES_MAX * 3 }), (bytes) => {
        expect(Buffer.byteLength(masked(bytes))).toBeLessThanOrEqual(LINE_BYTES_MAX * 6 + 64);
      }),
    );
    expect(masked("x".repeat(10_000_000))).toHaveLength(LINE_BYTES_MAX);
  });
});
