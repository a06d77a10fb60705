import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SYSLOG_BYTES_MAX, type SyslogFrame, SyslogFrames } from "./syslog-frames.ts";

const framesOf = (chunks: readonly Buffer[]): SyslogFrame[] => {
  const frames = new SyslogFrames();
  const taken: SyslogFrame[] = [];
  for (const chunk of chunks) {
    frames.push(chunk, (frame) => taken.push(frame));
    expect(frames.heldBytes).toBeLessThanOrEqual(SYSLOG_BYTES_MAX + 16 + chunk.length);
  }
  frames.end((frame) => taken.push(frame));
  return taken;
};
const texts = (...parts: readonly string[]): string[] =>
  framesOf(parts.map((part) => Buffer.from(part))).map(({ text }) => text);

describe("a stream of syslog", () => {
  it("has counted messages and lines, in any order", () => {
    expect(texts("5 <13>a<13>b\n<13>c\r\n6 <1>\nb\n<13>d\0\n")).toEqual(["<13>a", "<13>b", "<13>c", "<1>\nb", "<13>d"]);
  });

  it("may begin a line with a number that is no count", () => {
    expect(texts("2026-11-21 hello\n", "0 zero\n", "1234567890 too many digits\n")).toEqual([
      "2026-11-21 hello",
      "0 zero",
      "1234567890 too many digits",
    ]);
  });

  it("may end without an end", () => {
    expect(texts("<13>a\n<13>b")).toEqual(["<13>a", "<13>b"]);
    expect(framesOf([Buffer.from("10 <13>a")])).toEqual([{ text: "<13>a", isCut: true }]);
    expect(texts("12")).toEqual(["12"]);
  });

  it("keeps the beginning of what is too long, and goes on behind it", () => {
    const long = "x".repeat(SYSLOG_BYTES_MAX + 100_000);
    for (const stream of [`${long}\n<13>b\n`, `${long.length} ${long}<13>b\n`]) {
      const bytes = Buffer.from(stream);
      const chunks = Array.from({ length: Math.ceil(bytes.length / 7777) }, (_, at) =>
        bytes.subarray(at * 7777, (at + 1) * 7777),
      );
      const [first, second, ...more] = framesOf(chunks);
      expect([first?.text.length, first?.isCut]).toEqual([SYSLOG_BYTES_MAX, true]);
      expect([second, more]).toEqual([{ text: "<13>b", isCut: false }, []]);
    }
  });

  it("is read the same however it is cut into chunks", () => {
    const message = fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 40 }).map((text) => `<13>${text}`);
    const framed = fc
      .tuple(message, fc.boolean())
      .map(([text, isCounted]) => (isCounted ? `${text.length} ${text}` : `${text}\n`));
    fc.assert(
      fc.property(fc.array(framed, { maxLength: 20 }), fc.array(fc.nat(50), { maxLength: 50 }), (messages, cuts) => {
        const bytes = Buffer.from(messages.join(""));
        const chunks: Buffer[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(bytes.subarray(at, at + cut));
          at = Math.min(bytes.length, at + cut);
        }
        chunks.push(bytes.subarray(at));
        expect(framesOf(chunks)).toEqual(framesOf([bytes]));
        expect(framesOf(chunks)).toHaveLength(messages.length);
      }),
    );
  });
});
