/** Rows on either side that a row is compared with. */
const SIDE_ROWS = 2;
/** So many robust standard deviations beyond all its neighbours a row is a spike. */
const SPIKE_DEVIATIONS = 10;
/** Unless the row one season before or after stands out as well, at least by this share. */
const REPEATED_SHARE = 0.5;
/** Median absolute deviation to standard deviation, of the normal distribution. */
const DEVIATIONS_PER_MAD = 1.4826;

interface Surroundings {
  /** Of the two rows before and the two after; at the ends the row itself. */
  readonly medians: Float64Array;
  /** How far the row lies beyond all four. */
  readonly beyond: Float64Array;
}

const surroundingsOf = (values: Float64Array): Surroundings => {
  const medians = values.slice();
  const beyond = new Float64Array(values.length);
  for (let row = SIDE_ROWS; row < values.length - SIDE_ROWS; row++) {
    const value = values[row] as number;
    const a = values[row - 2] as number;
    const b = values[row - 1] as number;
    const c = values[row + 1] as number;
    const d = values[row + 2] as number;
    const low = Math.min(a, b, c, d);
    const high = Math.max(a, b, c, d);
    medians[row] = (a + b + c + d - low - high) / 2;
    beyond[row] = Math.max(0, value - high, low - value);
  }
  return { medians, beyond };
};

/**
 * The values with lone spikes put down to the median of their neighbours (after Hampel 1974), so that no method takes one bad row for a
 * level or for a pattern. What returns with a season is no spike; nor are the first and the last rows, which may be a new level.
 */
export const withoutSpikes = (values: Float64Array, seasons: readonly number[]): Float64Array => {
  if (values.length <= 2 * SIDE_ROWS) return values;
  const { medians, beyond } = surroundingsOf(values);
  const deviations = values.map((value, row) => Math.abs(value - (medians[row] as number))).sort();
  const deviation = (deviations[values.length >> 1] as number) * DEVIATIONS_PER_MAD;
  if (!(deviation > 0)) return values;
  return values.map((value, row) => {
    const size = beyond[row] as number;
    if (size <= SPIKE_DEVIATIONS * deviation) return value;
    const isRepeated = seasons.some(
      (season) => season > 1 && Math.max(beyond[row - season] ?? 0, beyond[row + season] ?? 0) > REPEATED_SHARE * size,
    );
    return isRepeated ? value : (medians[row] as number);
  });
};
