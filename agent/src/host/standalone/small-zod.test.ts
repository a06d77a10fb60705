import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z as real } from "zod";
import { z as small } from "./small-zod.ts";

/* The small one stands in for zod in the agent's release: every verdict and every value has to be the same. */

type Maker = (z: typeof real) => { safeParse(value: unknown): { success: boolean; data?: unknown } };
const smallZod = small as unknown as typeof real;

const SHAPES: readonly (readonly [string, Maker])[] = [
  [
    "strings",
    (z) =>
      z
        .string()
        .min(2)
        .max(5)
        .regex(/^[a-z]+$/, "letters"),
  ],
  ["whole numbers", (z) => z.int().min(-3).max(9)],
  ["numbers", (z) => z.number().gt(0).max(1)],
  ["base64", (z) => z.base64().max(12)],
  ["base64url", (z) => z.base64url().max(12)],
  ["literals", (z) => z.literal("a")],
  ["enumerations", (z) => z.enum(["a", "b"])],
  ["JSON", (z) => z.json()],
  ["records", (z) => z.record(z.string().max(2), z.int())],
  ["arrays", (z) => z.array(z.boolean()).min(1).max(2)],
  ["tuples", (z) => z.tuple([z.string(), z.int()])],
  ["unions", (z) => z.union([z.int(), z.strictObject({ a: z.string() })])],
  [
    "strict objects",
    (z) =>
      z.strictObject({
        a: z.string().optional(),
        b: z.int().default(3),
        c: z.boolean().nullable(),
        d: z.strictObject({ e: z.int().default(1) }).prefault({}),
      }),
  ],
  ["open objects", (z) => z.object({ a: z.int().nullable().default(null) })],
  [
    "discriminated unions",
    (z) =>
      z.discriminatedUnion("type", [
        z.strictObject({ type: z.literal("x"), a: z.int() }),
        z.strictObject({ type: z.literal("y"), b: z.string() }),
      ]),
  ],
  ["refinements", (z) => z.array(z.int()).refine((all) => all.length !== 1, { error: "not one" })],
  ["transforms", (z) => z.union([z.string().transform((text) => text.length), z.int()])],
];

/** Values near what the shapes ask for, so that both verdicts come up. */
const near = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom<unknown>(
      null,
      undefined,
      "",
      "a",
      "ab",
      "abcdef",
      "x",
      "y",
      "QUJD",
      "QUI=",
      "_-A",
      "A",
      true,
      NaN,
      1.5,
      0.5,
    ),
    fc.integer({ min: -5, max: 12 }),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("a", "b", "c", "d", "e", "type", "abc", "__proto__"), tie("value"), { maxKeys: 4 }),
  ),
})).value;

describe("small zod", () => {
  test.each(SHAPES)("says of %s what zod says, and gives what zod gives", (_, make) => {
    const [ours, theirs] = [make(smallZod), make(real)];
    fc.assert(
      fc.property(near, (value) => {
        const [mine, other] = [ours.safeParse(value), theirs.safeParse(value)];
        expect(mine.success).toBe(other.success);
        if (mine.success) expect(mine.data).toEqual(other.data);
      }),
      { numRuns: 400 },
    );
  });

  test("refuses what it does not have when the schema is made, so that a release with it cannot be built", () => {
    expect(() => (smallZod as unknown as { ipv4(): unknown }).ipv4()).toThrow(TypeError);
  });

  test("does not follow JSON deeper than its cap", () => {
    const deep = JSON.parse(`${"[".repeat(5_000)}${"]".repeat(5_000)}`) as unknown;
    expect(small.json().safeParse(deep).success).toBe(false);
  });
});
