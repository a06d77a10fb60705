import { BatchBuilder, type BusMessage } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readMessage, triage } from "./triage.ts";

const NOW = 1_760_000_000_000;
const LIMITS = { lateMaxMs: 60_000, futureMaxMs: 1000 };

const value = (options: { producer?: string; sequence?: number; timesUnixMs?: readonly number[] } = {}): Uint8Array => {
  const { producer = "web-1/a", sequence = 1, timesUnixMs = [NOW] } = options;
  const builder = new BatchBuilder("metric_samples");
  for (const timestamp of timesUnixMs) builder.append({ metric_id: 1n, fingerprint: 1n, timestamp, value: 0 });
  return builder.finish({ producer, sequence });
};

const message = (offset: number, over: Partial<BusMessage> = {}): BusMessage => ({
  topic: "telemetry.metrics",
  partition: 0,
  offset,
  key: "web-1",
  value: value({ sequence: offset }),
  headers: {},
  timestampUnixMs: NOW,
  ...over,
});

const decide = (messages: readonly BusMessage[], known: ReadonlyMap<string, number> = new Map()) =>
  triage(messages.map(readMessage), known, LIMITS).map((each) => (each.kind === "dead" ? each.reason : each.kind));

describe("triage", () => {
  const cases: readonly [string, Partial<BusMessage>, string][] = [
    ["a good batch", {}, "accepted"],
    ["no value", { value: null }, "malformed"],
    ["other bytes", { value: Buffer.from("hello") }, "malformed"],
    ["a schema of another topic", { topic: "telemetry.logs" }, "wrong_schema"],
    ["a row exactly at the late fence", { value: value({ timesUnixMs: [NOW - 60_000, NOW] }) }, "accepted"],
    ["one row behind the late fence", { value: value({ timesUnixMs: [NOW - 60_001, NOW] }) }, "late"],
    ["a row exactly at the future fence", { value: value({ timesUnixMs: [NOW, NOW + 1000] }) }, "accepted"],
    ["one row beyond the future fence", { value: value({ timesUnixMs: [NOW, NOW + 1001] }) }, "future"],
    ["a row of 1970", { value: value({ timesUnixMs: [0] }) }, "late"],
    ["a row of 2262", { value: value({ timesUnixMs: [9_223_372_036_854] }) }, "future"],
  ];
  it.each(cases)("of %s", (_name, over, decision) => {
    expect(decide([message(1, over)])).toEqual([decision]);
  });

  it("drops what is not above the last sequence of its own producer", () => {
    const of = (producer: string, sequence: number) => message(0, { value: value({ producer, sequence }) });
    const messages = [of("a/1", 5), of("a/1", 6), of("b/1", 1), of("a/1", 6), of("a/1", 9), of("a/1", 8)];
    const known = new Map([["a/1", 5]]);
    expect(decide(messages, known)).toEqual([
      "duplicate",
      "accepted",
      "accepted",
      "duplicate",
      "accepted",
      "duplicate",
    ]);
    expect(known).toEqual(new Map([["a/1", 5]]));
  });

  it("counts a late batch's sequence as seen, so that its repetition is not buried twice", () => {
    const late = message(1, { value: value({ sequence: 3, timesUnixMs: [0] }) });
    expect(decide([late, late])).toEqual(["late", "duplicate"]);
  });

  it("accepts each sequence at most once and never steps back, whatever order they come in", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 12 }), { maxLength: 30 }), fc.nat({ max: 6 }), (sequences, last) => {
        const messages = sequences.map((sequence, offset) => message(offset, { value: value({ sequence }) }));
        const decisions = decide(messages, new Map([["web-1/a", last]]));
        const accepted = sequences.filter((_, index) => decisions[index] === "accepted");
        expect(accepted).toEqual([...new Set(accepted)].sort((a, b) => a - b));
        expect(accepted.every((sequence) => sequence > last)).toBe(true);
        const highest = Math.max(last, ...sequences);
        expect(highest > last ? accepted.at(-1) : undefined).toBe(highest > last ? highest : undefined);
      }),
      { numRuns: 200 },
    );
  });
});
