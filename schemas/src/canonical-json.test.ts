import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson } from "./canonical-json.ts";

const Text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.string({ unit: "grapheme", maxLength: 300 }),
  fc.string({ unit: fc.constantFrom('"', "\\", "\n", "\u007f", "\u2028", "/", "a", " "), maxLength: 10 }),
);

test("a text stands as JSON writes it, as a value and as a name", () => {
  fc.assert(
    fc.property(Text, (text) => {
      fc.pre(text.isWellFormed());
      expect(canonicalJson(text)).toBe(JSON.stringify(text));
      expect(canonicalJson({ [text]: 1 })).toBe(JSON.stringify({ [text]: 1 }));
    }),
    { numRuns: 1_000 },
  );
});

test("objects with the same members have one form, which says the same as they do", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const reversed = (from: unknown): unknown => {
        if (Array.isArray(from)) return from.map(reversed);
        if (typeof from !== "object" || from === null) return from;
        return Object.fromEntries(
          Object.entries(from)
            .toReversed()
            .map(([key, member]) => [key, reversed(member)]),
        );
      };
      const text = canonicalJson(value);
      expect(canonicalJson(reversed(value))).toBe(text);
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});

test.each([
  ["a lone surrogate", "\ud800"],
  ["a name with a lone surrogate", { "\udc00": 1 }],
  ["infinity", 1 / 0],
  ["a hole", Array(1)],
])("%s has no canonical form", (_, value) => {
  expect(() => canonicalJson(value)).toThrow(TypeError);
});
