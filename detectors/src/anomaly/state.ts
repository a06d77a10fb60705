import { TAIL_BINS } from "./statistics/decayed-tail.ts";

/** What each series is looked at for: its residual as it is and smoothed over 4 and 16 points, its level, and how much it moves. */
export const RESIDUAL_SPANS = [1, 4, 16, 64] as const;
export const LEVEL = RESIDUAL_SPANS.length;
export const VARIABILITY = LEVEL + 1;
export const MEMBERS = VARIABILITY + 1;

/** Points that the level is judged by: the newest RECENT against those before them. */
export const WINDOW = 64;
export const RECENT = 12;
export const BEFORE = WINDOW - RECENT;

export const DAY_HOURS = 24;
export const WEEK_HOURS = 168;

const places = <Name extends string>(widths: Readonly<Record<Name, number>>) => {
  let size = 0;
  const at = {} as Record<Name, number>;
  for (const name of Object.keys(widths) as Name[]) {
    at[name] = size;
    size += widths[name];
  }
  return { at: Object.freeze(at), size };
};

/** Double precision: times, counts, and what is summed for long. Values stand relative to the anchor, so that single precision serves the rest. */
const NUMBERS = places({
  time: 1,
  /** The first value. */
  anchor: 1,
  rows: 1,
  /** What a row weighs in the histograms. */
  weight: 1,
  previous: 1,
  /** Rows in which the residual has been on one side and larger than usual; which side; their mean residual. */
  run: 1,
  runSide: 1,
  runMean: 1,
  /** The surprise that was told last, and the row. */
  told: 1,
  toldRow: 1,
  /** Episodes that were told; those of long ago count less. */
  episodes: 1,
  /** 1 while an alert is on, and how many calm rows it has had. */
  alert: 1,
  calm: 1,
  /** By member: smoothed statistic, its usual size, over how many rows, and the mass of its histograms. */
  smooth: MEMBERS,
  scale: MEMBERS,
  count: MEMBERS,
  mass: MEMBERS,
});

/** Single precision. */
const CELLS = places({
  /** By hour: mean, and how many hours it has been seen. */
  dayMean: DAY_HOURS,
  daySeen: DAY_HOURS,
  weekMean: WEEK_HOURS,
  weekSeen: WEEK_HOURS,
  /** The newest values, by row modulo WINDOW; those before the RECENT ones in order. */
  ring: WINDOW,
  sorted: BEFORE + 1,
  /** By member, upwards then downwards. */
  tails: MEMBERS * 2 * TAIL_BINS,
});

export const N = NUMBERS.at;
export const C = CELLS.at;
const { size: NUMBERS_SIZE } = NUMBERS;
const { size: CELLS_SIZE } = CELLS;

export const BYTES_PER_SERIES =
  NUMBERS_SIZE * Float64Array.BYTES_PER_ELEMENT + CELLS_SIZE * Float32Array.BYTES_PER_ELEMENT;

/** What the last step found, for whoever asks why; overwritten by the next step. */
export interface Verdict {
  /** −log10 of how rare the moment is, all members together, before hold and back-off. */
  surprise: number;
  /** The member that spoke loudest, its deviation in units of its usual size (with sign), and its share of the surprise. */
  member: number;
  deviation: number;
  /** NaN where nothing was expected yet. */
  expected: number;
  levelBefore: number;
  levelRecent: number;
  /** An alert is on. */
  isAlert: boolean;
  /** The seasonal profile has just moved to a new level. */
  isShift: boolean;
}

/** State of many series in two blocks; a series is a slot. */
export interface SeriesAnomalies {
  slots: number;
  numbers: Float64Array;
  cells: Float32Array;
  readonly verdict: Verdict;
  /** By member, of the last step. */
  readonly surprises: Float64Array;
  readonly deviations: Float64Array;
}

export const startSeriesAnomaly = (): SeriesAnomalies => ({
  slots: 0,
  numbers: new Float64Array(0),
  cells: new Float32Array(0),
  verdict: {
    surprise: 0,
    member: 0,
    deviation: 0,
    expected: Number.NaN,
    levelBefore: Number.NaN,
    levelRecent: Number.NaN,
    isAlert: false,
    isShift: false,
  },
  surprises: new Float64Array(MEMBERS),
  deviations: new Float64Array(MEMBERS),
});

/** Makes room for slots 0 to `slots` − 1; what is there stays. */
export const growSeriesAnomaly = (state: SeriesAnomalies, slots: number): void => {
  if (slots <= state.slots) return;
  if (slots * NUMBERS_SIZE > state.numbers.length) {
    const capacity = Math.max(4, slots, Math.ceil((state.numbers.length / NUMBERS_SIZE) * 1.5));
    const numbers = new Float64Array(capacity * NUMBERS_SIZE);
    numbers.set(state.numbers);
    const cells = new Float32Array(capacity * CELLS_SIZE);
    cells.set(state.cells);
    state.numbers = numbers;
    state.cells = cells;
  }
  state.slots = slots;
};

/** The offsets of a series in `numbers` and in `cells`. */
export const numbersAt = (slot: number): number => slot * NUMBERS_SIZE;
export const cellsAt = (slot: number): number => slot * CELLS_SIZE;

/** Keeps these slots, renumbered in this order. */
export const pickSeriesAnomaly = (state: SeriesAnomalies, kept: Uint32Array): void => {
  const numbers = new Float64Array(kept.length * NUMBERS_SIZE);
  const cells = new Float32Array(kept.length * CELLS_SIZE);
  kept.forEach((slot, index) => {
    numbers.set(state.numbers.subarray(numbersAt(slot), numbersAt(slot + 1)), numbersAt(index));
    cells.set(state.cells.subarray(cellsAt(slot), cellsAt(slot + 1)), cellsAt(index));
  });
  state.numbers = numbers;
  state.cells = cells;
  state.slots = kept.length;
};

export const saveSeriesAnomaly = (state: SeriesAnomalies): Record<"numbers" | "cells", Float64Array> => ({
  numbers: state.numbers.slice(0, numbersAt(state.slots)),
  cells: Float64Array.from(state.cells.subarray(0, cellsAt(state.slots))),
});

/** @throws RangeError when the arrays are not of this layout. */
export const loadSeriesAnomaly = (saved: Readonly<Record<string, Float64Array>>): SeriesAnomalies => {
  const { numbers = new Float64Array(0), cells = new Float64Array(0) } = saved;
  const slots = numbers.length / NUMBERS_SIZE;
  if (!Number.isInteger(slots) || cells.length !== slots * CELLS_SIZE)
    throw new RangeError(
      `saved anomaly state of ${numbers.length} numbers and ${cells.length} cells is of another layout`,
    );
  return { ...startSeriesAnomaly(), slots, numbers: numbers.slice(), cells: Float32Array.from(cells) };
};
