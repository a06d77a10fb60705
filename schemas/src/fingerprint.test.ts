import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { metricId, resourceId, seriesFingerprint } from "./fingerprint.ts";

const Vectors = z.array(
  z.strictObject({
    case: z.string(),
    name: z.string(),
    labels: z.record(z.string(), z.string()),
    metric_id: z.string(),
    fingerprint: z.string(),
  }),
);
const vectors = Vectors.parse(
  JSON.parse(readFileSync(new URL("../../test/fixtures/fingerprints.json", import.meta.url), "utf8")),
);

const hex = (id: bigint): string => id.toString(16).padStart(16, "0");

/** Names of characters around the surrogates, where the orders of code units and bytes part. */
const anyNames = fc.uniqueArray(
  fc.string({ unit: fc.constantFrom("a", "b", "é", "\ud7ff", "\ue000", "\uffff", "🙂", "\u{10ffff}"), maxLength: 3 }),
  { maxLength: 6 },
);
const withoutAstral = fc.uniqueArray(
  fc.string({ unit: fc.constantFrom("a", "B", "0", ".", "é", "\ud7ff", "\ue000", "\uffff"), maxLength: 3 }),
  { maxLength: 6 },
);
const fingerprintInOrder = (names: readonly string[]): string =>
  hex(metricId(["m", ...names.flatMap((name) => [name, "v"])].map((part) => `${part}\u0001`).join("")));
const labelsOf = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, "v"]));

describe("identities of metrics and series", () => {
  it.each(vectors.map((vector) => [vector.case, vector] as const))(
    "are what another implementation says: %s",
    (_, vector) => {
      expect(hex(metricId(vector.name))).toBe(vector.metric_id);
      expect(hex(seriesFingerprint(vector.name, vector.labels))).toBe(vector.fingerprint);
    },
  );

  it("are known of enough cases, each of its own but for one that only changes the order", () => {
    expect(vectors.length).toBeGreaterThanOrEqual(20);
    expect(new Set(vectors.map(({ fingerprint }) => fingerprint)).size).toBe(vectors.length - 1);
  });

  it("do not depend on the order in which labels are given", () => {
    fc.assert(
      fc.property(anyNames, (names) => {
        expect(seriesFingerprint("m", labelsOf(names.toReversed()))).toBe(seriesFingerprint("m", labelsOf(names)));
      }),
    );
  });

  it("take labels by the bytes of their names", () => {
    const byBytes = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other));
    fc.assert(
      fc.property(anyNames, (names) => {
        expect(hex(seriesFingerprint("m", labelsOf(names)))).toBe(fingerprintInOrder(names.toSorted(byBytes)));
      }),
    );
  });

  it("are what they were when code units were compared, for names without a character beyond U+FFFF", () => {
    fc.assert(
      fc.property(withoutAstral, (names) => {
        expect(hex(seriesFingerprint("m", labelsOf(names)))).toBe(fingerprintInOrder(names.toSorted()));
      }),
    );
  });

  it("of a resource are those of a series that is named so", () => {
    expect(resourceId({ a: "b" })).toBe(seriesFingerprint("resource", { a: "b" }));
  });
});
