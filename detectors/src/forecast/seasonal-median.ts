import type { Member } from "./member.ts";

/** So many last periods are looked at. */
const PERIODS_MAX = 4;

/** Of a few values, sorted in place. */
const medianOf = (values: Float64Array): number => {
  values.sort();
  const half = values.length >> 1;
  const upper = values[half] as number;
  return values.length % 2 === 1 ? upper : ((values[half - 1] as number) + upper) / 2;
};

/** What stood at the same place of the longest season, as the median of its last periods: a seasonal naive forecast that one bad week does not spoil. */
export const seasonalMedian: Member = {
  name: "seasonal_median",
  seesAdjusted: false,
  fit: (first) => {
    const period = first.seasons.at(-1)?.period;
    if (period === undefined) return null;
    return ({ values }, out) => {
      const periods = Math.min(PERIODS_MAX, Math.floor(values.length / period));
      const same = new Float64Array(periods);
      for (let step = 0; step < out.length; step++) {
        const latest = values.length - period + (step % period);
        for (let back = 0; back < periods; back++) same[back] = values[latest - back * period] as number;
        out[step] = medianOf(same);
      }
    };
  },
};
