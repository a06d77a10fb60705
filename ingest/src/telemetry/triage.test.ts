import { crc32 } from "node:zlib";
import { BatchBuilder, type BatchHeader, type BusMessage, decodeBatch, decodeHeader } from "@homeostat/schemas";
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

/** The value with another header around the same block, its checksums made to fit. */
const relabel = (bytes: Uint8Array, over: Partial<BatchHeader>): Uint8Array => {
  const header = decodeHeader(bytes);
  const frame = bytes.subarray(bytes.length - header.frame_bytes);
  const json = Buffer.from(JSON.stringify({ ...header, ...over }));
  const prefix = Buffer.alloc(12);
  prefix.writeUInt32LE(0x184d2a50, 0);
  prefix.writeUInt32LE(4 + json.length, 4);
  prefix.writeUInt32LE(crc32(json), 8);
  return Buffer.concat([prefix, json, frame]);
};

const decide = (messages: readonly BusMessage[], known: ReadonlyMap<string, number> = new Map()) =>
  triage(messages.map(readMessage), known, LIMITS).map((each) => (each.kind === "dead" ? each.reason : each.kind));

describe("triage", () => {
  const cases: readonly [string, Partial<BusMessage>, string][] = [
    ["a good batch", {}, "accepted"],
    ["no value", { value: null }, "malformed"],
    ["other bytes", { value: Buffer.from("hello") }, "malformed"],
    ["a schema of another topic", { topic: "telemetry.logs" }, "wrong_schema"],
    ["a row exactly at the late fence", { value: value({ timesUnixMs: [NOW - 60_000, NOW] }) }, "accepted"],
    ["rows all behind the late fence", { value: value({ timesUnixMs: [NOW - 60_002, NOW - 60_001] }) }, "late"],
    ["a row exactly at the future fence", { value: value({ timesUnixMs: [NOW, NOW + 1000] }) }, "accepted"],
    ["rows all beyond the future fence", { value: value({ timesUnixMs: [NOW + 1001, NOW + 1002] }) }, "future"],
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

  const times = (bytes: Uint8Array | null): number[] => {
    const batch = decodeBatch(bytes ?? new Uint8Array());
    return batch.schema === "metric_samples" ? [...batch.column("timestamp")].map(Number) : [];
  };

  it("of a batch that lies across the fences takes the rows inside, and buries those outside by their reason", () => {
    const timesUnixMs = [NOW + 1001, NOW - 60_001, NOW, NOW - 60_000, NOW - 70_000, NOW + 1000];
    const mixed = message(7, { value: value({ sequence: 7, timesUnixMs }) });
    const decisions = triage([readMessage(mixed)], new Map(), LIMITS);
    const told = decisions.map((each) =>
      each.kind === "duplicate" ? [] : [each.kind === "dead" ? each.reason : each.kind, ...times(each.value)],
    );
    expect(told).toEqual([
      ["late", NOW - 60_001, NOW - 70_000],
      ["future", NOW + 1001],
      ["accepted", NOW, NOW - 60_000, NOW + 1000],
    ]);
    for (const each of decisions) expect(each.header).toMatchObject({ producer: "web-1/a", sequence: 7 });
    expect(decisions[0]).toMatchObject({ detail: expect.stringMatching(/^2 of 6 rows: its oldest row is of /) });
    expect(triage([readMessage(mixed)], new Map(), LIMITS), "the redo of the range").toEqual(decisions);
  });

  it("divides any batch by its rows' times, and loses and doubles none", () => {
    const time = fc.integer({ min: NOW - 120_000, max: NOW + 5000 });
    fc.assert(
      fc.property(fc.array(time, { minLength: 1, maxLength: 40 }), (timesUnixMs) => {
        const decisions = triage([readMessage(message(1, { value: value({ timesUnixMs }) }))], new Map(), LIMITS);
        const sides: Record<string, number[]> = { accepted: [], late: [], future: [] };
        for (const each of decisions)
          if (each.kind !== "duplicate")
            sides[each.kind === "dead" ? each.reason : each.kind]?.push(...times(each.value));
        expect(sides).toEqual({
          accepted: timesUnixMs.filter((at) => at >= NOW - 60_000 && at <= NOW + 1000),
          late: timesUnixMs.filter((at) => at < NOW - 60_000),
          future: timesUnixMs.filter((at) => at > NOW + 1000),
        });
      }),
      { numRuns: 100 },
    );
  });

  it("takes late rows, but none of the future, from a message that says it is a replay", () => {
    const timesUnixMs = [0, NOW - 60_001, NOW + 1001];
    const replay = message(1, { value: value({ timesUnixMs }), headers: { replay_of: "telemetry.metrics.dlq/0/3" } });
    const decisions = triage([readMessage(replay)], new Map(), LIMITS);
    expect(decisions.map((each) => (each.kind === "duplicate" ? [] : [each.kind, ...times(each.value)]))).toEqual([
      ["dead", NOW + 1001],
      ["accepted", 0, NOW - 60_001],
    ]);
  });

  it("does not believe a header about times or counts, and names place and value", () => {
    const lies: readonly [Parameters<typeof relabel>[1], RegExp][] = [
      [
        { time_min_unix_ms: NOW - 5 },
        /^lying_header: .*time_min_unix_ms 1759999999995, the oldest row \(1\) is of 1759999999990$/,
      ],
      [
        { time_max_unix_ms: NOW + 7 },
        /^lying_header: .*time_max_unix_ms 1760000000007, the newest row \(2\) is of 1760000000000$/,
      ],
      [{ row_count: 2 }, /^row_count_mismatch: the block has 3 rows, the header claims 2$/],
    ];
    for (const [lie, detail] of lies) {
      const lying = relabel(value({ sequence: 4, timesUnixMs: [NOW - 1, NOW - 10, NOW] }), lie);
      const [decision] = triage([readMessage(message(1, { value: lying }))], new Map(), LIMITS);
      expect(decision).toMatchObject({ kind: "dead", reason: "malformed", detail: expect.stringMatching(detail) });
      expect(decision?.header, "whose it is can be told").toMatchObject({ producer: "web-1/a", sequence: 4 });
    }
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
