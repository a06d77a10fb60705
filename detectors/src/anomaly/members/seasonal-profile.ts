import { C, DAY_HOURS, N, WEEK_HOURS } from "../state.ts";

/**
 * What a series is like at an hour: a slow mean by hour of the day and one by hour of the week (UTC). Whichever is nearer to the value explains it:
 * a series that has no week is not made to have one, and a weekend needs no calendar.
 */

const HOUR_MS = 3_600_000;

/** An hour counts as known when all of it, less rounding, has been seen. */
const KNOWN_HOURS = 0.99;

/** Visits that a mean goes back to: about a week of days, a month of weeks. */
const DAY_VISITS = 8;
const WEEK_VISITS = 4;

/** One sample stands for the time since the one before, within these. */
const SAMPLE_MS_MIN = 1000;

export const hourOf = (timeUnixMs: number): number => Math.floor(timeUnixMs / HOUR_MS);

const modulo = (hour: number, hours: number): number => ((hour % hours) + hours) % hours;

/** The expected value that is nearer to `value`; NaN while this hour has never been seen. */
export const expectedAt = (cells: Float32Array, c: number, hour: number, value: number): number => {
  const day = modulo(hour, DAY_HOURS);
  const week = modulo(hour, WEEK_HOURS);
  const byDay =
    (cells[c + C.daySeen + day] as number) >= KNOWN_HOURS ? (cells[c + C.dayMean + day] as number) : Number.NaN;
  if ((cells[c + C.weekSeen + week] as number) < KNOWN_HOURS) return byDay;
  const byWeek = cells[c + C.weekMean + week] as number;
  return Math.abs(value - byWeek) < Math.abs(value - byDay) ? byWeek : byDay;
};

const learnMean = (
  cells: Float32Array,
  meanAt: number,
  seenAt: number,
  value: number,
  hours: number,
  visits: number,
): void => {
  const seen = (cells[seenAt] as number) + hours;
  const mean = cells[meanAt] as number;
  cells[seenAt] = Math.min(seen, visits);
  cells[meanAt] = mean + (value - mean) * Math.min(1, hours / Math.min(seen, visits));
};

/** Takes the value in; `elapsedMs` is the time since the sample before. */
export const learnProfile = (cells: Float32Array, c: number, hour: number, value: number, elapsedMs: number): void => {
  const hours = Math.min(HOUR_MS, Math.max(SAMPLE_MS_MIN, elapsedMs)) / HOUR_MS;
  const day = modulo(hour, DAY_HOURS);
  const week = modulo(hour, WEEK_HOURS);
  learnMean(cells, c + C.dayMean + day, c + C.daySeen + day, value, hours, DAY_VISITS);
  learnMean(cells, c + C.weekMean + week, c + C.weekSeen + week, value, hours, WEEK_VISITS);
};

/** While the residual has been on one side for longer, nothing is learnt: it is a fault that will end, or a shift. */
const RUN_ROWS_LEARNT = 12;

export const isLearning = (numbers: Float64Array, n: number): boolean =>
  (numbers[n + N.run] as number) < RUN_ROWS_LEARNT;

/** So many rows in a row on one side, and the level is a new one. */
const RUN_ROWS = 144;

/** The mean residual of a run goes back so far. */
const RUN_MEAN_ROWS = 64;

const shiftProfile = (cells: Float32Array, c: number, by: number): void => {
  for (let hour = 0; hour < DAY_HOURS; hour++)
    cells[c + C.dayMean + hour] = (cells[c + C.dayMean + hour] as number) + by;
  for (let hour = 0; hour < WEEK_HOURS; hour++)
    cells[c + C.weekMean + hour] = (cells[c + C.weekMean + hour] as number) + by;
};

/** Re-baselines after a level shift: when the residual has stayed on one side, larger than usual, the whole profile moves there; true then. */
export const followShift = (
  { numbers, cells }: { readonly numbers: Float64Array; readonly cells: Float32Array },
  n: number,
  c: number,
  { residual, usual }: { readonly residual: number; readonly usual: number },
): boolean => {
  const side = Math.sign(residual);
  if (side !== numbers[n + N.runSide] || !(Math.abs(residual) > usual)) {
    numbers[n + N.run] = 0;
    numbers[n + N.runSide] = side;
    numbers[n + N.runMean] = 0;
    return false;
  }
  const run = (numbers[n + N.run] as number) + 1;
  const mean =
    (numbers[n + N.runMean] as number) + (residual - (numbers[n + N.runMean] as number)) / Math.min(run, RUN_MEAN_ROWS);
  const isShift = run >= RUN_ROWS;
  if (isShift) shiftProfile(cells, c, mean);
  numbers[n + N.run] = isShift ? 0 : run;
  numbers[n + N.runMean] = isShift ? 0 : mean;
  return isShift;
};
