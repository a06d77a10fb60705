/** The step must be so many times the largest of the ordinary steps. */
const STEP_RATIO = 4;
/** Ordinary: all but this share of the steps. */
const EXTRAORDINARY_SHARE = 0.02;
/** Rows on either side that must lie clearly apart when no season says how far to look. */
const SIDE_ROWS = 12;
/** So many rows after a shift prove that it lasts. */
const SIDE_ROWS_MIN = 6;

const isApart = (values: Float64Array, at: number, rows: number, sign: number): boolean => {
  let before = Number.POSITIVE_INFINITY;
  let after = Number.NEGATIVE_INFINITY;
  for (let i = Math.max(0, at - rows); i < at; i++) before = Math.min(before, sign * (values[i] as number));
  for (let i = at; i < Math.min(values.length, at + rows); i++) after = Math.max(after, sign * (values[i] as number));
  return after < before;
};

/**
 * Rows at which the level changed at once and for good: a step far beyond the ordinary ones with everything on one side clear of
 * everything on the other. What returns within one season is not one.
 */
export const levelShifts = (values: Float64Array, season: number): readonly number[] => {
  const count = values.length;
  const rows = Math.max(SIDE_ROWS, season);
  if (count < 2 * SIDE_ROWS) return [];
  const steps = new Float64Array(count - 1);
  for (let i = 1; i < count; i++) steps[i - 1] = Math.abs((values[i] as number) - (values[i - 1] as number));
  const sorted = steps.slice().sort();
  const ordinary = sorted[Math.floor((count - 2) * (1 - EXTRAORDINARY_SHARE))] as number;
  const shifts: number[] = [];
  for (let at = SIDE_ROWS_MIN; at <= count - SIDE_ROWS_MIN; at++) {
    const step = (values[at] as number) - (values[at - 1] as number);
    if (Math.abs(step) > STEP_RATIO * ordinary && isApart(values, at, rows, step < 0 ? 1 : -1)) shifts.push(at);
  }
  return shifts;
};

/**
 * The rows before each shift moved by what the shift was beyond an ordinary step, so that the last stretch keeps its values:
 * a disk that was cleaned goes on growing from where it stands, and neither its old level nor the fall is taken for a trend.
 */
export const withoutShifts = (values: Float64Array, shifts: readonly number[]): Float64Array => {
  const aligned = values.slice();
  for (const at of shifts) {
    const usual = usualStep(values, at);
    const moved = (values[at] as number) - (values[at - 1] as number) - usual;
    for (let i = 0; i < at; i++) aligned[i] = (aligned[i] as number) + moved;
  }
  return aligned;
};

/** Median of the steps around a shift. */
const usualStep = (values: Float64Array, at: number): number => {
  const steps: number[] = [];
  for (let i = Math.max(1, at - SIDE_ROWS); i < Math.min(values.length, at + SIDE_ROWS); i++)
    if (i !== at) steps.push((values[i] as number) - (values[i - 1] as number));
  steps.sort((a, b) => a - b);
  return steps[steps.length >> 1] ?? 0;
};
