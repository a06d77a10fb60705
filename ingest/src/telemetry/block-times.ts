import { type Batch, TELEMETRY, type TelemetrySchema, TIME_COLUMN } from "@homeostat/schemas";

const NS_PER_MS = 1_000_000n;

const isNanoseconds = (schema: TelemetrySchema): boolean =>
  TELEMETRY[schema].some(({ name, type }) => name === TIME_COLUMN[schema] && type === "DateTime64(9)");

/** Rows by the column that the header's time range speaks of; their times as they stand in the block. */
export const rowTimes = (batch: Batch): BigInt64Array => {
  const times = (batch.column as (name: string) => unknown)(TIME_COLUMN[batch.schema]);
  if (times instanceof BigInt64Array) return times;
  throw new TypeError(`the time column of ${batch.schema} holds no times`);
};

/** Whole milliseconds, rounded down, also before 1970. */
export const timeUnixMs = (schema: TelemetrySchema, time: bigint): number => {
  if (!isNanoseconds(schema)) return Number(time);
  const ms = time / NS_PER_MS;
  return Number(time < 0n && ms * NS_PER_MS !== time ? ms - 1n : ms);
};

interface Outermost {
  at: number;
  low: number;
  high: number;
}

const set = (outermost: Outermost, at: number, low: number, high: number): void => {
  outermost.at = at;
  outermost.low = low;
  outermost.high = high;
};

/**
 * The rows with the smallest and the largest time. Halves are compared: comparing BigInts takes thirty times as long. Mostly a row has the
 * time of the one before.
 */
const outermost = (times: BigInt64Array): { readonly oldest: number; readonly newest: number } => {
  const lows = new Uint32Array(times.buffer, times.byteOffset, 2 * times.length);
  const highs = new Int32Array(times.buffer, times.byteOffset, 2 * times.length);
  let low = lows[0] ?? 0;
  let high = highs[1] ?? 0;
  const first = { at: 0, low, high };
  const last = { at: 0, low, high };
  for (let at = 2; at < lows.length; at += 2) {
    const nextLow = lows[at] ?? 0;
    const nextHigh = highs[at + 1] ?? 0;
    if (nextLow === low && nextHigh === high) continue;
    low = nextLow;
    high = nextHigh;
    if (high < first.high || (high === first.high && low < first.low)) set(first, at, low, high);
    else if (high > last.high || (high === last.high && low > last.low)) set(last, at, low, high);
  }
  return { oldest: first.at / 2, newest: last.at / 2 };
};

/** null when the header's time range is the block's; otherwise where and by how much it lies. */
export const timeLie = (batch: Batch): string | null => {
  const times = rowTimes(batch);
  const { oldest, newest } = outermost(times);
  const [first, last] = [oldest, newest].map((row) => timeUnixMs(batch.schema, times[row] ?? 0n));
  const { time_min_unix_ms, time_max_unix_ms } = batch.header;
  if (first !== time_min_unix_ms)
    return `the header claims time_min_unix_ms ${time_min_unix_ms}, the oldest row (${oldest}) is of ${first}`;
  if (last !== time_max_unix_ms)
    return `the header claims time_max_unix_ms ${time_max_unix_ms}, the newest row (${newest}) is of ${last}`;
  return null;
};
