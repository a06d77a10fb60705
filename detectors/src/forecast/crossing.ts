import type { Residuals } from "./interval.ts";

export interface Crossing {
  /** That the limit is reached within the horizon. */
  readonly probability: number;
  /** The step (0 is the first row forecast) by which half of the paths that reach the limit have done so; null when none does. */
  readonly step: number | null;
  /** The same for a tenth and for nine tenths of them. */
  readonly stepLow: number | null;
  readonly stepHigh: number | null;
}

/** Each error path of the back-test is laid over the forecast as it was, mirrored, milder and wilder: few paths become many. */
const FACTORS = [-1.7, -1.3, -1, -0.75, -0.5, 0.5, 0.75, 1, 1.3, 1.7];

/**
 * From whole paths (the forecast with a back-test's errors laid over it), not from the mean, which passes under most limits that
 * the series itself reaches.
 */
export const crossingOf = (
  mean: Float64Array,
  { origins, horizon, errors }: Residuals,
  { limit, skipped }: { readonly limit: number /** Steps that have passed unseen. */; readonly skipped: number },
): Crossing => {
  const firsts: number[] = [];
  for (let row = 0; row < origins; row++) {
    for (const factor of FACTORS) {
      for (let step = skipped; step < horizon; step++) {
        if ((mean[step] as number) + factor * (errors[row * horizon + step] as number) < limit) continue;
        firsts.push(step - skipped);
        break;
      }
    }
  }
  firsts.sort((a, b) => a - b);
  const at = (share: number): number | null => firsts[Math.floor(share * (firsts.length - 1))] ?? null;
  return {
    probability: firsts.length / (origins * FACTORS.length),
    step: at(0.5),
    stepLow: at(0.1),
    stepHigh: at(0.9),
  };
};
