import { type Store, StoreError, sampleDays, summedHours } from "@homeostat/analytics";
import type { Log } from "@homeostat/schemas";
import { describe, expect, test } from "vitest";
import { createHourSummary } from "./hour-summary.ts";

const nothing = () => undefined;
const silent: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

const HOUR_MS = 3_600_000;
const DAY = 20_000;
/** A quarter past five of the day. */
const NOW = (DAY * 24 + 5) * HOUR_MS + 900_000;

/** A store that has samples of some days, and remembers which hours were summed up. */
const storeOf = (
  days: readonly number[],
  { failing = new Set<number>(), code = "unreachable" as "unreachable" | "overloaded" } = {},
) => {
  const summed: number[] = [];
  const asked: number[] = [];
  const store = {
    run: async (query: unknown, params: { from_unix_ms: number }) => {
      if (query === summedHours) asked.push(params.from_unix_ms / HOUR_MS);
      if (query === sampleDays) return days.map((day) => ({ day }));
      if (query === summedHours) return summed.map((hour_number) => ({ hour_number, series: 1, newest_version: 1 }));
      throw new Error("not asked for here");
    },
    sumUpHours: async ({ fromUnixMs, toUnixMs }: { fromUnixMs: number; toUnixMs: number }) => {
      expect(toUnixMs - fromUnixMs).toBe(HOUR_MS);
      if (failing.delete(fromUnixMs / HOUR_MS)) throw new StoreError(code, "the store is away", { retryable: true });
      summed.push(fromUnixMs / HOUR_MS);
    },
  };
  return { summed, asked, store: () => store as never as Pick<Store, "run" | "sumUpHours"> };
};

const stay = new AbortController().signal;

describe("the summary of hours", () => {
  test("does what is there already, newest first and no hour that still runs", async () => {
    const { summed, store } = storeOf([DAY - 1, DAY]);
    await createHourSummary({ store, now: () => NOW, log: silent })(stay);
    expect(summed).toEqual(Array.from({ length: 29 }, (_, back) => DAY * 24 + 4 - back));
  });

  test("does the last two hours again, and others once, whether they had samples or not", async () => {
    const { summed, store } = storeOf([DAY]);
    const sumUp = createHourSummary({ store, now: () => NOW, log: silent });
    await sumUp(stay);
    summed.length = 0;
    await sumUp(stay);
    expect(summed).toEqual([DAY * 24 + 4, DAY * 24 + 3]);
  });

  test("does at the next call what failed at this one", async () => {
    const { summed, store } = storeOf([DAY], { failing: new Set([DAY * 24 + 1]) });
    const sumUp = createHourSummary({ store, now: () => NOW, log: silent });
    await expect(sumUp(stay)).rejects.toThrow("away");
    await sumUp(stay);
    expect(new Set(summed)).toEqual(new Set([0, 1, 2, 3, 4].map((hour) => DAY * 24 + hour)));
  });

  test("does the hours beside one that the store cannot do, and that one again at the next call", async () => {
    const { summed, store } = storeOf([DAY], { failing: new Set([DAY * 24 + 3]), code: "overloaded" });
    const sumUp = createHourSummary({ store, now: () => NOW, log: silent });
    await sumUp(stay);
    expect(summed).toEqual([4, 2, 1, 0].map((hour) => DAY * 24 + hour));
    await sumUp(stay);
    expect(summed.slice(4)).toContain(DAY * 24 + 3);
  });

  test("asks for the weeks behind once, and again when the clock was ahead", async () => {
    let now = NOW + 1000 * HOUR_MS;
    const { summed, asked, store } = storeOf([DAY]);
    const sumUp = createHourSummary({ store, now: () => now, log: silent });
    await sumUp(stay);
    now += HOUR_MS;
    await sumUp(stay);
    now = NOW;
    await sumUp(stay);
    const end = DAY * 24 + 5;
    expect(asked).toEqual([end + 1000 - 840, end + 1000, end - 840]);
    expect(new Set(summed.filter((hour) => hour < end))).toEqual(
      new Set([0, 1, 2, 3, 4].map((hour) => DAY * 24 + hour)),
    );
  });

  test("ends between two hours when it is told to", async () => {
    const { summed, store } = storeOf([DAY]);
    await createHourSummary({ store, now: () => NOW, log: silent })(AbortSignal.abort());
    expect(summed).toEqual([]);
  });

  test("does not go back further than a baseline remembers", async () => {
    const { summed, store } = storeOf([DAY - 400, DAY]);
    await createHourSummary({ store, now: () => NOW, log: silent })(stay);
    expect(Math.min(...summed)).toBe(DAY * 24);
  });
});
