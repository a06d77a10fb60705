import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newId } from "./new-id.ts";

const UNIX_MS_MAX = 2 ** 48 - 1;
const unixMs = fc.integer({ min: 0, max: UNIX_MS_MAX });

describe("an id", () => {
  it("has the form, the version and the variant of RFC 9562, and the time in front", () => {
    fc.assert(
      fc.property(unixMs, (ms) => {
        const id = newId(ms);
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        expect(Number.parseInt(id.slice(0, 13).replace("-", ""), 16)).toBe(ms);
      }),
    );
  });

  it("sorts by time, and no two of one time are the same", () => {
    fc.assert(
      fc.property(unixMs, unixMs, (a, b) => {
        fc.pre(a < b);
        expect(newId(a) < newId(b)).toBe(true);
      }),
    );
    expect(new Set(Array.from({ length: 1_000 }, () => newId(1))).size).toBe(1_000);
  });
});
