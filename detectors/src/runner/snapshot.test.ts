import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FingerprintIndex } from "./fingerprint-index.ts";
import { decodeSnapshot, encodeSnapshot } from "./snapshot.ts";

describe("a snapshot", () => {
  test("comes back as it was, NaN and all", () => {
    const columns = {
      a: Float64Array.of(1, Number.NaN, Number.POSITIVE_INFINITY),
      empty: new Float64Array(),
      b: Float64Array.of(-0),
    };
    const json = { text: "größe", list: [1, null] };
    expect(decodeSnapshot(encodeSnapshot({ json, columns }))).toEqual({ json, columns });
  });

  test("is refused when it is torn or changed, whatever the bytes are", () => {
    const whole = encodeSnapshot({ json: { a: 1 }, columns: { a: Float64Array.of(1, 2, 3) } });
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = Uint8Array.from(whole);
        changed[at] = (changed[at] ?? 0) ^ flip;
        expect(() => decodeSnapshot(whole.subarray(0, at))).toThrow();
        try {
          // A bit of zstd's own header may mean nothing; then the content is as it was.
          expect(decodeSnapshot(changed)).toEqual(decodeSnapshot(whole));
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
    );
  });
});

describe("a fingerprint index", () => {
  test("gives each fingerprint its number, and -1 to strangers", () => {
    const half = fc.oneof(fc.nat(3), fc.integer({ min: 0, max: 0xffff_ffff }));
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(half, half), { selector: ([low, high]) => `${low} ${high}`, maxLength: 300 }),
        (all) => {
          const index = new FingerprintIndex();
          const [known, strangers] = [all.slice(0, all.length / 2), all.slice(all.length / 2)];
          for (const [number, [low, high]] of known.entries()) index.add(low, high, number);
          expect(known.map(([low, high]) => index.get(low, high))).toEqual([...known.keys()]);
          expect(strangers.every(([low, high]) => index.get(low, high) === -1)).toBe(true);
        },
      ),
    );
  });
});
