import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LINE_BYTES_MAX, LineScanner, TOKENS_MAX } from "./line-scanner.ts";
import { EMPTY, isVariable, typeName } from "./token-kind.ts";

const scanner = new LineScanner();
const masked = (line: string | Uint8Array): string => {
  const bytes = Buffer.from(line);
  scanner.scan(bytes);
  let text = "";
  for (let at = 0; at < scanner.count; at++) {
    const kind = scanner.kinds[at] ?? 0;
    if (scanner.gaps[at] === 1) text += " ";
    if (isVariable(kind)) text += `<${typeName(kind)}>`;
    else text += kind === EMPTY ? "∅" : bytes.toString("utf8", scanner.starts[at], scanner.ends[at]);
  }
  return text;
};
const keyOf = (line: string): string => {
  scanner.scan(Buffer.from(line));
  return `${scanner.hash} ${scanner.otherHash}`;
};

describe("a scanned line", () => {
  test.each([
    ["order 1234 reserved in 12.5 ms, status -200", "order <number> reserved in <number> ms, status <number>"],
    ["took 12.5ms, 3s, 16K and 512MB", "took <duration>, <duration>, <size> and <size>"],
    ["1.5e-07 and 100%", "<number> and <number>%"],
    ["2026-11-21T03:04:05.123Z INFO ready", "<time> INFO ready"],
    ["2026-11-21 03:04:05,123 +0200 x", "<time> x"],
    ["Sat Jun 18 02:23:10 2005 began", "<time> began"],
    ["until Fri Jul 01 08:16:53 PDT 2005.", "until <time>."],
    ["May 5 apples", "May <number> apples"],
    ["connect ECONNREFUSED 127.0.0.1:5432", "connect ECONNREFUSED <ip>:<number>"],
    ["from /10.2.3.4:77 to db-1/10.2.3.4:77", "from <ip>:<number> to <id>"],
    ["peer fe80::1ff:fe23:4567:890a left", "peer <ip> left"],
    ["mac 0a:1b:2c:3d:4e:5f", "mac <ip>"],
    ["via 10.0.0.1,10.0.0.2,10.0.0.3 ok", "via <ip> ok"],
    ["id=550e8400-e29b-41d4-a716-446655440000;", "id=<id>;"],
    ["at 0x7ffd12345678 in deadbeef", "at <hex> in <hex>"],
    ["open /var/log/app/2026.log: no such file", "open <path>: no such file"],
    ["load C:\\Windows\\x.dll and ./y", "load <path> and <path>"],
    ["GET https://example.org/a?b=1&c=x,2 done", "GET <url> done"],
    ['"GET /a/b?c=1 HTTP/1.1" 200', '"GET <url>" <number>'],
    ["read/write and/or yes 3/10", "read/write and/or yes <number>/<number>"],
    ["job attempt_1445_0020_m_1 lost", "job <id> lost"],
    ["generating core.4711 by jetty-6.1", "generating core.<number> by jetty-<number>"],
    ["org.example.v2.FooBar on host-1.example.org:8080", "org.example.v2.FooBar on <host>"],
    ["main.c:42 of lib.py:7: x", "main.c:<number> of lib.py:<number>: x"],
    ["ok=true, no=NULL", "ok=<literal>, no=<literal>"],
    ["user= id=7 f() of ()", "user=∅ id=<number> f() of (∅)"],
    ['tag="two words" name="one"', 'tag="two words" name="one"'],
    ['msg="two words" x', 'msg="two words" x'],
    [
      '127.0.0.1 - ann [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 23 "-" "Mozilla/4.08 [en] (X; I)"',
      '<ip> - ann [<time>] "GET <path>" <number> <number> "∅" "<id>"',
    ],
    ["eth0 is IPv6", "eth0 is IPv6"],
    ["1 2 3 4 5 6 7 8 9 10 11 12 end", "<number> end"],
    ["1 2 3 4 5a6b7c8 6 7 8 9 10 end", "<number> end"],
    ["delete blk_1234 blk_1235, blk_1236 blk_1237 now", "delete <id> now"],
    ["1, 2, 3 end", "<number>, <number>, <number> end"],
    ["x......0", "x......<number>"],
    ["\\042disk7a\\042 failed", "\\042disk7a\\042 failed"],
    ["a <memory:5, cores:-3>", "a <memory:<number>, cores:<number>>"],
    ["  many   blanks\tand tabs  ", "many blanks and tabs"],
    ["\n\nsecond is first\nthird 7", "second is first"],
    ["\u001b[31mred\u001b[0m text", "red text"],
    ["größe 5 naïve", "größe <number> naïve"],
    ["=== ;;; ---", "=== ;;; ---"],
    ["", ""],
  ])("%j → %j", (line, expected) => {
    expect(masked(line)).toBe(expected);
  });

  test("has the same hashes exactly when it has the same text, blanks aside", () => {
    const lines = fc.array(fc.string({ unit: fc.constantFrom(...'ab 19./:-="'), maxLength: 12 }), { maxLength: 60 });
    const bare = (line: string): string => {
      const bytes = Buffer.from(line);
      scanner.scan(bytes);
      return Array.from({ length: scanner.count }, (_, at) => {
        const kind = scanner.kinds[at] ?? 0;
        return isVariable(kind)
          ? `<${kind}>`
          : `${kind}${bytes.toString("utf8", scanner.starts[at], scanner.ends[at])}`;
      }).join("\n");
    };
    fc.assert(
      fc.property(lines, (texts) => {
        const byText = new Map(texts.map((text) => [bare(text), keyOf(text)]));
        expect(new Set(texts.map(keyOf)).size).toBe(byText.size);
        for (const text of texts) expect(keyOf(text)).toBe(byText.get(bare(text)));
      }),
    );
  });

  test("covers its bytes in order, whatever they are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        scanner.scan(bytes);
        for (let at = 0, end = 0; at < scanner.count; at++) {
          expect(scanner.starts[at]).toBeGreaterThanOrEqual(end);
          end = scanner.ends[at] ?? 0;
          expect(end).toBeGreaterThanOrEqual(scanner.starts[at] ?? 0);
          expect(end).toBeLessThanOrEqual(bytes.length);
        }
      }),
    );
  });

  test("of ten megabytes is cut, and says how much of it", () => {
    scanner.scan(Buffer.alloc(10_000_000, "abc def "));
    expect(scanner.count).toBe(TOKENS_MAX + 1);
    scanner.scan(Buffer.alloc(10_000_000, "x"));
    expect(scanner.count).toBe(1);
    expect(scanner.cutBytes).toBe(10_000_000 - LINE_BYTES_MAX);
    scanner.scan(Buffer.from("short"));
    expect(scanner.cutBytes).toBe(0);
  });

  test("of too many tokens ends in one that takes the rest", () => {
    const line = "a ".repeat(TOKENS_MAX + 50);
    expect(masked(line)).toHaveLength(TOKENS_MAX * 2 - 1 + masked(line).length - (TOKENS_MAX * 2 - 1));
    expect(scanner.count).toBe(TOKENS_MAX + 1);
    expect(keyOf(line)).toBe(keyOf("a ".repeat(TOKENS_MAX + 70)));
  });
});
