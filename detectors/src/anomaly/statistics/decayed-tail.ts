/**
 * How rare a value is by a series' own past: the tail of a decayed histogram, with a Pareto tail beyond what has been seen often.
 *
 * Peaks over a threshold on a logarithmic scale: above the quantile that leaves TAIL_SHARE of the mass, log excesses are taken as exponential, so
 * the index is their mean (Hill, 1975; streaming with peaks over threshold: Siffer, Fouque, Termier, Largouët, 2017). Heavy tails then make large
 * values ordinary, by as much as the series has shown them. Forgetting costs nothing: new mass is given a weight that grows (see `growWeight`).
 */

/** Bins of a quarter of an octave from 0.5 to 2048; what is smaller counts only in the total mass. */
const BINS_PER_OCTAVE = 4;
export const SIZE_MIN = 0.5;
const LOWEST_LOG2 = Math.log2(SIZE_MIN);
export const TAIL_BINS = 12 * BINS_PER_OCTAVE;

/** The share of the past that makes the tail, and the least mass that a tail is fitted on. */
const TAIL_SHARE = 0.02;
const TAIL_MASS_MIN = 10;

/** Fewer rows say nothing about rareness. */
const ROWS_MIN = 20;

/** What a tail of one row is taken to be like, in octaves, and the least: bins are no finer. */
const PRIOR_EXCESS = 0.25;
const EXCESS_MIN = 0.05;

/** Rarer than this is not told apart. */
const SURPRISE_MAX = 12;

/** One histogram: TAIL_BINS cells from `at`, and the mass of all rows, whether or not they are in a bin. */
export interface Tail {
  readonly cells: Float32Array;
  readonly at: number;
  readonly mass: number;
  /** What one row of now weighs. */
  readonly weight: number;
}

const binOf = (log2: number): number => Math.min(TAIL_BINS - 1, Math.floor((log2 - LOWEST_LOG2) * BINS_PER_OCTAVE));

/** Counts a value of 0.5 or more; the caller adds the weight to the mass for every row. */
export const addToTail = (cells: Float32Array, at: number, value: number, weight: number): void => {
  const bin = binOf(Math.log2(value));
  if (bin >= 0) cells[at + bin] = (cells[at + bin] as number) + weight;
};

const massAbove = ({ cells, at }: Tail, bin: number): number => {
  let mass = 0;
  for (let b = TAIL_BINS - 1; b > bin; b--) mass += cells[at + b] as number;
  return mass;
};

/** −log10 of the probability of a value (at least 0.5) as large, from 0 to 12. Without a past: 0. */
export const tailSurprise = (tail: Tail, value: number): number => {
  const { cells, at, weight } = tail;
  const rows = tail.mass / weight;
  if (rows < ROWS_MIN) return 0;
  const share = Math.max(TAIL_SHARE * rows, Math.min(TAIL_MASS_MIN, rows / 4)) * weight;
  let mass = 0;
  let moment = 0;
  let lowest = TAIL_BINS;
  while (lowest > 0 && mass < share) {
    const more = cells[at + lowest - 1] as number;
    if (mass > 0 && mass + more > share) break;
    lowest--;
    mass += more;
    moment += more * lowest;
  }
  const log2 = Math.log2(value);
  const bin = binOf(log2);
  if (bin < 0) return 0;
  if (mass === 0) return Math.log10(rows + 1);
  if (bin < lowest) {
    const above = (massAbove(tail, bin) + (cells[at + bin] as number) / 2) / weight;
    return -Math.log10((above + 1) / (rows + 1));
  }
  const tailRows = mass / weight;
  const mean = (moment / mass + 0.5 - lowest) / BINS_PER_OCTAVE;
  const excess = Math.max(EXCESS_MIN, (mean * tailRows + PRIOR_EXCESS) / (tailRows + 1));
  const beyond = log2 - (lowest / BINS_PER_OCTAVE + LOWEST_LOG2);
  return Math.min(SURPRISE_MAX, (beyond / excess) * Math.LOG10E - Math.log10(tailRows / (rows + 1)));
};

/** Above this the weights are brought back to one, before single precision ends. */
export const WEIGHT_MAX = 2 ** 20;

/** The weight of the next row when a row is forgotten by half in `memoryRows` × ln 2. */
export const growWeight = (weight: number, memoryRows: number): number => weight / (1 - 1 / memoryRows);
