import { describe, expect, it } from "vitest";
import { readIntent, writeIntent } from "./intent.ts";

describe("an intent", () => {
  it("is read as it was written", () => {
    expect(readIntent(5, writeIntent({ end: 9, split: [] }))).toEqual({ start: 5, end: 9, split: [] });
    const split = readIntent(5, writeIntent({ end: 9, split: ["metric_samples"] }));
    expect(split).toEqual({ start: 5, end: 9, split: ["metric_samples"] });
  });

  it("is written as short as the protocol's description has it", () => {
    expect(writeIntent({ end: 9, split: [] })).toBe('{"end":9}');
  });

  it("is not there after a plain commit", () => {
    expect(readIntent(5, "")).toBeNull();
  });

  it.each(["hello", "{}", "[]", '{"end":5}', '{"end":"9"}', '{"end":9,"colour":1}', '{"end":9,"split":["traces"]}'])(
    "is unreadable in %s",
    (metadata) => {
      expect(readIntent(5, metadata)).toBe("unreadable");
    },
  );
});
