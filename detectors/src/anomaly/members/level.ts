import { deviationOf, judge, learnScale } from "../judge.ts";
import { BEFORE, C, LEVEL, RECENT, type SeriesAnomalies, WINDOW } from "../state.ts";
import { insertSorted, removeSorted, sortedMedian } from "../statistics/sorted-window.ts";

/** Fewer points before the recent ones give no level. */
const BEFORE_MIN = 20;

const recent = new Float64Array(RECENT);

/** The median of the RECENT newest values; `row` is the row of the newest. */
const recentMedian = (cells: Float32Array, ring: number, row: number): number => {
  for (let index = 0; index < RECENT; index++) {
    const value = cells[ring + ((row - index) % WINDOW)] as number;
    let place = index;
    while (place > 0 && (recent[place - 1] as number) > value) {
      recent[place] = recent[place - 1] as number;
      place--;
    }
    recent[place] = value;
  }
  return recent[RECENT >>> 1] as number;
};

const countBefore = (row: number): number => Math.min(BEFORE, Math.max(0, row + 1 - RECENT));

/** Takes the value of row `row` (from 0) into the window. */
export const pushLevel = (cells: Float32Array, c: number, row: number, value: number): void => {
  const ring = c + C.ring;
  const sorted = c + C.sorted;
  let count = countBefore(row - 1);
  if (row >= WINDOW) removeSorted(cells, sorted, count--, cells[ring + (row % WINDOW)] as number);
  cells[ring + (row % WINDOW)] = value;
  if (row >= RECENT) insertSorted(cells, sorted, count, cells[ring + ((row - RECENT) % WINDOW)] as number);
};

/** The median of the values before the RECENT newest; NaN without enough of them. */
export const levelBefore = (cells: Float32Array, c: number, row: number): number => {
  const count = countBefore(row);
  return count < BEFORE_MIN ? Number.NaN : sortedMedian(cells, c + C.sorted, count);
};

export const levelRecent = (cells: Float32Array, c: number, row: number): number =>
  recentMedian(cells, c + C.ring, row);

/** The change of the level; robust, as both are medians. */
export const judgeLevel = (state: SeriesAnomalies, n: number, c: number, change: number, rounding: number): void => {
  judge(state, n, c, LEVEL, deviationOf(state.numbers, n, LEVEL, change, rounding));
  learnScale(state.numbers, n, LEVEL, Math.abs(change));
};
