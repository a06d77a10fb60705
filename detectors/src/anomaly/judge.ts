import { C, MEMBERS, N, type SeriesAnomalies } from "./state.ts";
import { addToTail, growWeight, SIZE_MIN, TAIL_BINS, tailSurprise, WEIGHT_MAX } from "./statistics/decayed-tail.ts";

/** Rows that a usual size and a tail go back to: two and a half weeks of five-minute means, three and a half days of minutes. */
export const MEMORY_ROWS = 5000;

/** Nobody judges before so many rows. */
export const WARM_ROWS = 30;

/** A deviation of fewer usual sizes (mean absolute deviations: of a normal distribution four standard deviations) is not worth its whole rareness. */
const DEVIATION_FULL = 5;

/** Beyond all bins: where the usual size is nothing. */
export const DEVIATION_MAX = 2000;

/** The deviation of a member in its usual sizes, before this row is part of what is usual. */
export const deviationOf = (
  numbers: Float64Array,
  n: number,
  member: number,
  statistic: number,
  rounding: number,
): number => {
  if ((numbers[n + N.count + member] as number) < WARM_ROWS) return 0;
  const scale = Math.max(numbers[n + N.scale + member] as number, rounding);
  if (statistic === 0) return 0;
  const deviation = statistic / scale;
  return Math.max(-DEVIATION_MAX, Math.min(DEVIATION_MAX, deviation));
};

/** What is usual, once a row has been judged by it. */
export const learnScale = (numbers: Float64Array, n: number, member: number, size: number): void => {
  const count = Math.min(MEMORY_ROWS, (numbers[n + N.count + member] as number) + 1);
  const scale = numbers[n + N.scale + member] as number;
  numbers[n + N.count + member] = count;
  numbers[n + N.scale + member] = scale + (size - scale) / count;
};

/** The surprise at a member's deviation, which then becomes part of the past. */
export const judge = (state: SeriesAnomalies, n: number, c: number, member: number, deviation: number): void => {
  const { numbers, cells } = state;
  const size = Math.abs(deviation);
  const at = c + C.tails + (2 * member + (deviation > 0 ? 0 : 1)) * TAIL_BINS;
  const weight = numbers[n + N.weight] as number;
  const mass = numbers[n + N.mass + member] as number;
  let surprise = 0;
  if (size >= SIZE_MIN) {
    surprise = tailSurprise({ cells, at, mass, weight }, size) * Math.min(1, size / DEVIATION_FULL);
    addToTail(cells, at, size, weight);
  }
  numbers[n + N.mass + member] = mass + weight;
  state.surprises[member] = surprise;
  state.deviations[member] = deviation;
};

/** Brings the weights of the past back to one. */
const rescale = ({ numbers, cells }: SeriesAnomalies, n: number, c: number): void => {
  const weight = numbers[n + N.weight] as number;
  for (let cell = c + C.tails; cell < c + C.tails + MEMBERS * 2 * TAIL_BINS; cell++)
    cells[cell] = (cells[cell] as number) / weight;
  for (let member = 0; member < MEMBERS; member++)
    numbers[n + N.mass + member] = (numbers[n + N.mass + member] as number) / weight;
  numbers[n + N.weight] = 1;
};

/** Makes the past of all members a row older. */
export const forgetRow = (state: SeriesAnomalies, n: number, c: number): void => {
  const weight = growWeight(state.numbers[n + N.weight] as number, MEMORY_ROWS);
  state.numbers[n + N.weight] = weight;
  if (weight > WEIGHT_MAX) rescale(state, n, c);
};
