import type { LateWindows, SamplePart } from "@homeostat/analytics";

/** Half open, in Unix milliseconds. */
export interface Interval {
  readonly fromUnixMs: number;
  readonly untilUnixMs: number;
}

/** Beyond this many the late windows of a rollup become one that spans them all. */
const LATE_MAX = 1000;

/** Late windows that samples keep coming to are done again after this time all the same. */
const LATE_WAIT_MS_MAX = 3_600_000;

/** The same times as intervals that neither overlap nor touch, ascending. */
export const union = (intervals: readonly Interval[]): readonly Interval[] => {
  const joined: Interval[] = [];
  for (const interval of intervals.toSorted((one, other) => one.fromUnixMs - other.fromUnixMs)) {
    const last = joined.at(-1);
    if (last === undefined || interval.fromUnixMs > last.untilUnixMs) joined.push(interval);
    else if (interval.untilUnixMs > last.untilUnixMs)
      joined[joined.length - 1] = { fromUnixMs: last.fromUnixMs, untilUnixMs: interval.untilUnixMs };
  }
  return joined;
};

/** Whole windows around each interval, of those that lie within `bounds`. */
export const windowsWithin = (
  intervals: readonly Interval[],
  bounds: Interval,
  windowMs: number,
): readonly Interval[] =>
  intervals.flatMap(({ fromUnixMs, untilUnixMs }) => {
    const from = Math.max(bounds.fromUnixMs, Math.floor(fromUnixMs / windowMs) * windowMs);
    const until = Math.min(bounds.untilUnixMs, Math.ceil(untilUnixMs / windowMs) * windowMs);
    return from < until ? [{ fromUnixMs: from, untilUnixMs: until }] : [];
  });

const HOUR_MS = 3_600_000;

/** Pieces that a statement sums up at once: none goes beyond its hour. */
export const byHour = ({ fromUnixMs, untilUnixMs }: Interval): readonly Interval[] => {
  const pieces: Interval[] = [];
  for (let from = fromUnixMs; from < untilUnixMs; ) {
    const until = Math.min(untilUnixMs, (Math.floor(from / HOUR_MS) + 1) * HOUR_MS);
    pieces.push({ fromUnixMs: from, untilUnixMs: until });
    from = until;
  }
  return pieces;
};

const timesOf = ({ minUnixMs, maxUnixMs }: SamplePart): Interval => ({
  fromUnixMs: minUnixMs,
  untilUnixMs: maxUnixMs + 1,
});

/** Whether every block of (seen, maxBlock] is in one of the parts. */
const holdAll = (parts: readonly SamplePart[], seen: number, maxBlock: number): boolean => {
  let upTo = seen;
  for (const { minBlock, maxBlock: last } of parts.toSorted((one, other) => one.minBlock - other.minBlock))
    if (minBlock <= upTo + 1) upTo = Math.max(upTo, last);
  return upTo >= maxBlock;
};

/**
 * Times of what was inserted behind block `seen`. A merge joins new blocks with old ones and takes over the times of both: then the new blocks'
 * own parts tell, which stay listed for some minutes; if they do not, all of the merged part counts as new.
 */
const newTimes = (parts: readonly SamplePart[], seen: number): readonly Interval[] => {
  const wholly = parts.filter(({ minBlock }) => minBlock > seen);
  const partly = parts.filter(({ minBlock, maxBlock }) => minBlock <= seen && maxBlock > seen);
  return [...wholly, ...partly.filter(({ maxBlock }) => !holdAll(wholly, seen, maxBlock))].map(timesOf);
};

/** What the parts hold that `seen` does not know of, and what is seen now. */
export const arrivals = (
  parts: readonly SamplePart[],
  seen: Readonly<Record<string, number>>,
): { readonly seen: Readonly<Record<string, number>>; readonly times: readonly Interval[] } => {
  const places = new Map<string, SamplePart[]>();
  for (const part of parts) {
    const known = places.get(part.place);
    if (known === undefined) places.set(part.place, [part]);
    else known.push(part);
  }
  const newest = new Map([...places].map(([place, of]) => [place, Math.max(...of.map(({ maxBlock }) => maxBlock))]));
  const times = [...places].flatMap(([place, of]) => {
    const before = seen[place] ?? -1;
    // A table that was emptied counts from the beginning again.
    return newTimes(of, before > (newest.get(place) ?? 0) ? -1 : before);
  });
  return { seen: Object.fromEntries(newest), times: union(times) };
};

/**
 * Which late windows are done again now, and which wait: those that samples came to just now wait for more, but no longer than an hour.
 * So a host that sends what it kept for a day has each hour of it summed up once or twice, and not every few minutes.
 */
export const sortLate = (
  late: readonly LateWindows[],
  touched: readonly Interval[],
  nowUnixMs: number,
): { readonly due: readonly LateWindows[]; readonly waiting: readonly LateWindows[] } => {
  const overlaps = (one: Interval) => (other: Interval) =>
    one.fromUnixMs < other.untilUnixMs && other.fromUnixMs < one.untilUnixMs;
  const all = union([...late, ...touched]).map((interval) => {
    const since = late.filter(overlaps(interval)).map(({ sinceUnixMs }) => sinceUnixMs);
    return { ...interval, sinceUnixMs: Math.min(nowUnixMs, ...since) };
  });
  const isDue = (windows: LateWindows): boolean =>
    !touched.some(overlaps(windows)) || nowUnixMs - windows.sinceUnixMs >= LATE_WAIT_MS_MAX;
  const waiting = all.filter((windows) => !isDue(windows));
  return { due: all.filter(isDue), waiting: waiting.length > LATE_MAX ? [spanOf(waiting)] : waiting };
};

const spanOf = (late: readonly LateWindows[]): LateWindows => ({
  fromUnixMs: Math.min(...late.map(({ fromUnixMs }) => fromUnixMs)),
  untilUnixMs: Math.max(...late.map(({ untilUnixMs }) => untilUnixMs)),
  sinceUnixMs: Math.min(...late.map(({ sinceUnixMs }) => sinceUnixMs)),
});
