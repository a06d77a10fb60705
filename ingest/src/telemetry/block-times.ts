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

/** The rows with the smallest and the largest time. Halves are compared: comparing BigInts takes thirty times as long. */
const outermost = (times: BigInt64Array): { readonly oldest: number; readonly newest: number } => {
  const halves = {
    low: new Uint32Array(times.buffer, times.byteOffset),
    high: new Int32Array(times.buffer, times.byteOffset),
  };
  const isBefore = (a: number, b: number): boolean => {
    const [highA = 0, highB = 0] = [halves.high[2 * a + 1], halves.high[2 * b + 1]];
    return highA < highB || (highA === highB && (halves.low[2 * a] ?? 0) < (halves.low[2 * b] ?? 0));
  };
  let oldest = 0;
  let newest = 0;
  for (let row = 1; row < times.length; row++) {
    if (isBefore(row, oldest)) oldest = row;
    else if (isBefore(newest, row)) newest = row;
  }
  return { oldest, newest };
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
