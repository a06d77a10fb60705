import type { SamplePart } from "@homeostat/analytics";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arrivals, byHour, type Interval, sortLate, union, windowsWithin } from "./rollup-windows.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

const part = (
  minBlock: number,
  maxBlock: number,
  [from, until]: readonly [number, number],
  place = "20261120",
): SamplePart => ({
  place,
  minBlock,
  maxBlock,
  minUnixMs: from,
  maxUnixMs: until,
});
const interval = (fromUnixMs: number, untilUnixMs: number): Interval => ({ fromUnixMs, untilUnixMs });
const contains = (all: readonly Interval[], at: number): boolean =>
  all.some(({ fromUnixMs, untilUnixMs }) => fromUnixMs <= at && at < untilUnixMs);

describe("what has arrived", () => {
  test("is all that a partition holds, when nothing of it was seen", () => {
    expect(arrivals([part(1, 4, [100, 200]), part(5, 5, [300, 300])], {})).toEqual({
      seen: { "20261120": 5 },
      times: [interval(100, 201), interval(300, 301)],
    });
  });

  test("is nothing when there was only a merge", () => {
    expect(arrivals([part(1, 5, [100, 300])], { "20261120": 5 }).times).toEqual([]);
  });

  test("is told by its own part, also when a merge has taken it in", () => {
    const parts = [part(1, 6, [100, 900]), part(6, 6, [150, 160])];
    expect(arrivals(parts, { "20261120": 5 }).times).toEqual([interval(150, 161)]);
  });

  test("is the whole of a merged part when its own is no longer listed", () => {
    expect(arrivals([part(1, 6, [100, 900])], { "20261120": 5 }).times).toEqual([interval(100, 901)]);
    // Block 7 is listed, 6 is not.
    expect(arrivals([part(1, 7, [100, 900]), part(7, 7, [5, 5])], { "20261120": 5 }).times).toContainEqual(
      interval(100, 901),
    );
  });

  test("is looked for in each partition by itself", () => {
    const parts = [part(1, 3, [100, 200]), part(4, 4, [10, 20], "20261119")];
    expect(arrivals(parts, { "20261120": 3 })).toEqual({
      seen: { "20261119": 4, "20261120": 3 },
      times: [interval(10, 21)],
    });
  });

  test("is everything when the table was emptied and counts anew", () => {
    expect(arrivals([part(1, 2, [100, 200])], { "20261120": 9 })).toEqual({
      seen: { "20261120": 2 },
      times: [interval(100, 201)],
    });
  });

  test("is found whatever is merged in between, and whenever it is looked for", () => {
    // An insert at some time, a merge of two neighbours, the forgetting of merged parts, or a look.
    const step = fc.oneof(
      fc.record({ insert: fc.nat(10_000) }),
      fc.record({ merge: fc.nat(20) }),
      fc.constant({ forget: true } as const),
      fc.constant({ look: true } as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const active: SamplePart[] = [];
        let merged: SamplePart[] = [];
        let seen: Readonly<Record<string, number>> = {};
        let news: number[] = [];
        let block = 0;
        for (const one of [...steps, { look: true } as const]) {
          if ("insert" in one) {
            active.push(part(++block, block, [one.insert, one.insert]));
            news.push(one.insert);
          } else if ("merge" in one && active.length > 1) {
            const at = one.merge % (active.length - 1);
            const [left, right] = active.slice(at, at + 2) as [SamplePart, SamplePart];
            const times = [
              Math.min(left.minUnixMs, right.minUnixMs),
              Math.max(left.maxUnixMs, right.maxUnixMs),
            ] as const;
            active.splice(at, 2, part(left.minBlock, right.maxBlock, times));
            merged.push(left, right);
          } else if ("forget" in one) merged = [];
          else if ("look" in one) {
            const found = arrivals([...merged, ...active], seen);
            for (const at of news) expect(contains(found.times, at)).toBe(true);
            if (news.length === 0) expect(found.times).toEqual([]);
            [seen, news] = [found.seen, []];
          }
        }
      }),
    );
  });
});

describe("windows", () => {
  test("are whole ones around a time, within what is covered", () => {
    const covered = interval(10 * MINUTE_MS, 20 * MINUTE_MS);
    const times = [
      interval(12 * MINUTE_MS + 1, 12 * MINUTE_MS + 2),
      interval(5, 11 * MINUTE_MS),
      interval(19.5 * MINUTE_MS, HOUR_MS),
    ];
    expect(windowsWithin(times, covered, MINUTE_MS)).toEqual([
      interval(12 * MINUTE_MS, 13 * MINUTE_MS),
      interval(10 * MINUTE_MS, 11 * MINUTE_MS),
      interval(19 * MINUTE_MS, 20 * MINUTE_MS),
    ]);
    expect(windowsWithin([interval(0, 5)], covered, MINUTE_MS)).toEqual([]);
  });

  const anyIntervals = fc.array(
    fc.tuple(fc.nat(500), fc.integer({ min: 1, max: 50 })).map(([from, length]) => interval(from, from + length)),
    { maxLength: 20 },
  );

  test("that overlap or touch become one, and hold the same times", () => {
    fc.assert(
      fc.property(anyIntervals, fc.nat(600), (intervals, at) => {
        const all = union(intervals);
        expect(contains(all, at)).toBe(contains(intervals, at));
        all.slice(1).forEach(({ fromUnixMs }, before) => {
          expect(fromUnixMs).toBeGreaterThan(all[before]?.untilUnixMs ?? 0);
        });
      }),
    );
  });

  test("are cut by the hour, without a gap", () => {
    const pieces = byHour(interval(HOUR_MS / 2, 2.25 * HOUR_MS));
    expect(pieces).toEqual([
      interval(HOUR_MS / 2, HOUR_MS),
      interval(HOUR_MS, 2 * HOUR_MS),
      interval(2 * HOUR_MS, 2.25 * HOUR_MS),
    ]);
    expect(byHour(interval(5, 5))).toEqual([]);
  });
});

describe("late windows", () => {
  const late = (from: number, until: number, since: number) => ({ ...interval(from, until), sinceUnixMs: since });

  test("wait while samples come to them, and are due when a look finds no more", () => {
    expect(sortLate([], [interval(0, 10)], 1000)).toEqual({ due: [], waiting: [late(0, 10, 1000)] });
    expect(sortLate([late(0, 10, 1000)], [interval(5, 20)], 2000)).toEqual({ due: [], waiting: [late(0, 20, 1000)] });
    expect(sortLate([late(0, 20, 1000)], [interval(50, 60)], 3000)).toEqual({
      due: [late(0, 20, 1000)],
      waiting: [late(50, 60, 3000)],
    });
  });

  test("wait no longer than an hour", () => {
    expect(sortLate([late(0, 10, 1000)], [interval(5, 10)], 1000 + HOUR_MS).due).toEqual([late(0, 10, 1000)]);
  });

  test("are never forgotten, and become one when they are too many", () => {
    const touched = Array.from({ length: 1500 }, (_, at) => interval(at * 100, at * 100 + 10));
    expect(sortLate([], touched, 7)).toEqual({ due: [], waiting: [late(0, 149_910, 7)] });
  });
});
