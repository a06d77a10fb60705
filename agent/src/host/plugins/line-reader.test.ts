import fc from "fast-check";
import { expect, it } from "vitest";
import { LineReader } from "./line-reader.ts";

const read = (chunks: readonly Buffer[], lineBytesMax: number) => {
  const lines: string[] = [];
  let tooLong = 0;
  const reader = new LineReader({
    lineBytesMax,
    onLine: (line) => lines.push(line),
    onTooLong: () => {
      tooLong += 1;
    },
  });
  for (const chunk of chunks) reader.push(chunk);
  reader.end();
  return { lines, tooLong };
};

it("lines are the same however the stream was cut, and those that are too long are left out and counted", () => {
  const line = fc.string({ unit: fc.constantFrom("a", "é", "{", " "), maxLength: 12 });
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat(200)), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((one) => `${one}\n`).join(""));
      const at = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
      const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
      const isShort = (one: string) => Buffer.byteLength(one) <= 10;
      expect(read(chunks, 10)).toEqual({
        lines: lines.filter(isShort),
        tooLong: lines.filter((one) => !isShort(one)).length,
      });
    }),
  );
});

it("what comes last without a newline is a line too", () => {
  expect(read([Buffer.from("a\nb")], 10).lines).toEqual(["a", "b"]);
});
