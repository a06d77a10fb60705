import { BatchBuilder, type BatchHeader, decodeHeader } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { RANGE_MESSAGES_MAX, rangeLength, rangeName } from "./range.ts";
import type { ReadMessage } from "./triage.ts";

const builder = new BatchBuilder("metric_samples");
builder.append({ metric_id: 1n, fingerprint: 1n, timestamp: 1, value: 0 });
const HEADER = decodeHeader(builder.finish({ producer: "a/b", sequence: 1 }));

const read = (bytes: number, over: Partial<BatchHeader> = {}, offset = 0): ReadMessage => {
  const value = new Uint8Array(bytes);
  const message = {
    ...{ topic: "telemetry.metrics", partition: 0, offset, key: null, value, headers: {}, timestampUnixMs: 0 },
  };
  return { message, value, header: { ...HEADER, ...over } };
};

const many = (count: number, one: ReadMessage): ReadMessage[] => Array.from({ length: count }, () => one);
const MIB = 1_048_576;

describe("a range", () => {
  const cases: readonly [string, readonly ReadMessage[], number][] = [
    ["nothing", [], 0],
    ["few small messages", many(3, read(10)), 3],
    ["many small messages", many(RANGE_MESSAGES_MAX + 1, read(10)), RANGE_MESSAGES_MAX],
    ["compressed bytes up to the cap", many(20, read(MIB / 2)), 16],
    ["uncompressed bytes up to the cap", many(4, read(10, { uncompressed_bytes: 30 * MIB })), 2],
    ["one message beyond every cap", [read(9 * MIB, { uncompressed_bytes: 90 * MIB }), read(1)], 1],
  ];
  it.each(cases)("takes of %s the first that fit", (_name, messages, length) => {
    expect(rangeLength(messages)).toBe(length);
  });

  it("has a name that depends on its place and on who sent what, and on nothing else", () => {
    const name = (over: Partial<BatchHeader>, start = 4) =>
      rangeName("telemetry.metrics:0", { start, end: 9, messages: [read(10, over), read(20)] });
    expect(name({})).toMatch(/^telemetry\.metrics:0:4-9:[0-9a-f]+$/);
    expect(name({})).toBe(name({ row_count: 3 }));
    expect(new Set([name({}), name({ sequence: 2 }), name({ producer: "c/d" }), name({}, 5)]).size).toBe(4);
  });
});
