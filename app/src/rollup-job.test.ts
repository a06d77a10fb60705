import { type RollupProgress, type Rollups, type SamplePart, StoreError } from "@homeostat/analytics";
import type { Log } from "@homeostat/schemas";
import { beforeEach, describe, expect, test } from "vitest";
import { createRollupJob } from "./rollup-job.ts";

const nothing = () => undefined;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
/** A quarter past five of a day, and a second. */
const NOW = (20_000 * 24 + 5) * HOUR_MS + 15 * MINUTE_MS + 1000;
const DAY = 20_000 * 24 * HOUR_MS;

let warnings: string[];
let done: string[];
let progress: RollupProgress | null;
let failing: Map<string, StoreError>;
let nowUnixMs: number;
const stay = new AbortController().signal;

beforeEach(() => {
  [warnings, done, progress, failing, nowUnixMs] = [[], [], null, new Map(), NOW];
});

const log: Log = {
  debug: nothing,
  info: nothing,
  error: nothing,
  warn: (_: object, text: string) => warnings.push(text),
} as never;
const hourOf = (unixMs: number): number => (unixMs - DAY) / HOUR_MS;

/** The store's part of the contract; what SQL does is tested on the engine. */
const job = (parts: readonly SamplePart[]) => {
  const sumUp =
    (what: string): Rollups["sumUpHours"] =>
    async ({ fromUnixMs, toUnixMs }) => {
      const range = `${what} ${hourOf(fromUnixMs)}-${hourOf(toUnixMs)}`;
      const error = failing.get(range);
      if (error !== undefined) throw error;
      done.push(range);
    };
  const rollups: Rollups = {
    enabled: { minutes: false, hours: true },
    sumUpMinutes: sumUp("minutes"),
    sumUpHours: sumUp("hours"),
    load: async () => progress,
    save: async (saved) => {
      progress = saved;
    },
    parts: async () => parts,
  };
  return createRollupJob({ store: () => ({ rollups }), now: () => nowUnixMs, log });
};
const hoursOf = (from: number, until: number, block: number): SamplePart => ({
  place: "p",
  minBlock: block,
  maxBlock: block,
  minUnixMs: DAY + from * HOUR_MS,
  maxUnixMs: DAY + until * HOUR_MS - 1,
});
const refused = (code: StoreError["code"]) => new StoreError(code, "no", { retryable: true });

describe("the summing up of samples", () => {
  test("goes on where it ended, and leaves the window that still runs", async () => {
    const parts = [hoursOf(0, 6, 1)];
    await job(parts)(stay);
    nowUnixMs = NOW + 2 * HOUR_MS;
    done = [];
    await job(parts)(stay);
    expect(done).toEqual(["hours 5-6", "hours 6-7"]);
  });

  test("waits a minute for what arrives after the end of its window", async () => {
    await job([])(stay);
    nowUnixMs = DAY + 6 * HOUR_MS + 59_999;
    await job([])(stay);
    expect(done).toEqual([]);
    nowUnixMs++;
    await job([])(stay);
    expect(done).toEqual(["hours 5-6"]);
  });

  test("does not go past an hour that the store could not do, and tries it again", async () => {
    await job([])(stay);
    nowUnixMs = NOW + 3 * HOUR_MS;
    failing.set("hours 6-7", refused("overloaded"));
    await job([])(stay);
    expect(done).toEqual(["hours 5-6"]);
    expect(progress?.hours.covered.untilUnixMs).toBe(DAY + 6 * HOUR_MS);
    expect(warnings).toHaveLength(1);
    failing.clear();
    await job([])(stay);
    expect(done).toEqual(["hours 5-6", "hours 6-7", "hours 7-8"]);
  });

  test("keeps late windows that could not be done", async () => {
    await job([hoursOf(0, 5, 1)])(stay);
    done = [];
    await job([hoursOf(0, 5, 1), hoursOf(2, 4, 2)])(stay);
    failing.set("hours 3-4", refused("timed_out"));
    await job([hoursOf(0, 5, 1), hoursOf(2, 4, 2)])(stay);
    expect(done).toEqual(["hours 2-3"]);
    failing.clear();
    await job([hoursOf(0, 5, 1), hoursOf(2, 4, 2)])(stay);
    expect(done).toEqual(["hours 2-3", "hours 3-4"]);
    expect(progress?.hours.late).toEqual([]);
  });

  test("fails as a whole while the store is away", async () => {
    await job([])(stay);
    nowUnixMs = NOW + 2 * HOUR_MS;
    failing.set("hours 5-6", refused("unreachable"));
    await expect(job([])(stay)).rejects.toThrow("no");
  });

  test("ends between two statements when it is told to, and remembers how far it came", async () => {
    await job([])(stay);
    nowUnixMs = NOW + 2 * HOUR_MS;
    await job([])(AbortSignal.abort());
    expect(done).toEqual([]);
    expect(progress?.hours.covered.untilUnixMs).toBe(DAY + 5 * HOUR_MS);
  });

  test("does nothing twice when the clock was ahead: what comes then is late", async () => {
    nowUnixMs = NOW + 10 * HOUR_MS;
    await job([])(stay);
    nowUnixMs = NOW;
    done = [];
    await job([hoursOf(5, 6, 1)])(stay);
    await job([hoursOf(5, 6, 1)])(stay);
    expect(done).toEqual(["hours 5-6"]);
    await job([hoursOf(5, 6, 1)])(stay);
    expect(done).toEqual(["hours 5-6"]);
  });

  test("runs once for all who ask while it runs", async () => {
    const run = job([hoursOf(4, 5, 1)]);
    await Promise.all([run(stay), run(stay), run(stay)]);
    expect(done).toEqual(["hours 4-5"]);
  });
});
