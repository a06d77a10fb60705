/** Samples of a host's series, gathered into rows of one step. Two rows are open at a time, so that what arrives a little late still counts. */
import { type Columns, growColumns, type Layout, makeColumns } from "../../columns.ts";

/** A row closes when the host's samples are this share of a step past its end. */
const LATE_SHARE = 0.25;

/** By series. Sums and counts are of the open rows, even and odd. */
export const ROW_LAYOUT = {
  last: { fill: Number.NEGATIVE_INFINITY },
  /** The last value of a counter. */
  counted: { fill: Number.NaN },
  sum: { fill: 0, width: 2 },
  count: { fill: 0, width: 2 },
} as const satisfies Layout;

export type OpenRows = Columns<typeof ROW_LAYOUT>;

export const makeOpenRows = (): OpenRows => makeColumns(ROW_LAYOUT);

export const growOpenRows = (rows: OpenRows, series: number): void => growColumns(rows, ROW_LAYOUT, series);

export interface RowSample {
  readonly slot: number;
  readonly time: number;
  readonly value: number;
  readonly isCounter: boolean;
}

/** Counters give their rate per second since their last sample. Null for what is not newer, not finite, or the first of a counter. */
export const measuredValue = ({ at }: OpenRows, { slot, time, value, isCounter }: RowSample): number | null => {
  const elapsedMs = time - (at.last[slot] as number);
  if (!(elapsedMs > 0) || !Number.isFinite(value) || !Number.isFinite(time)) return null;
  at.last[slot] = time;
  if (!isCounter) return value;
  const before = at.counted[slot] as number;
  at.counted[slot] = value;
  return value >= before ? ((value - before) * 1000) / elapsedMs : null;
};

export const addToRow = ({ at }: OpenRows, slot: number, row: number, value: number): void => {
  const place = slot * 2 + (row % 2);
  at.sum[place] = (at.sum[place] as number) + value;
  at.count[place] = (at.count[place] as number) + 1;
};

/** The means of a row, by the given series; NaN where there was no sample. The row is empty again. Null when there was none at all. */
export const takeRow = ({ at }: OpenRows, slots: readonly number[], row: number): Float64Array | null => {
  const values = new Float64Array(slots.length).fill(Number.NaN);
  let present = 0;
  slots.forEach((slot, metric) => {
    const place = slot * 2 + (row % 2);
    const count = at.count[place] as number;
    if (count === 0) return;
    values[metric] = (at.sum[place] as number) / count;
    at.sum[place] = 0;
    at.count[place] = 0;
    present += 1;
  });
  return present === 0 ? null : values;
};

/** The rows that a sample at this time closes, oldest first; `open` is the older of the open ones. */
export const rowsClosedBy = (open: number, timeUnixMs: number, stepMs: number): readonly number[] => {
  const row = Math.floor(timeUnixMs / stepMs);
  if (row > open + 1) return [open, open + 1];
  return row === open + 1 && timeUnixMs - row * stepMs >= LATE_SHARE * stepMs ? [open] : [];
};
