import { meanOf, slopeOf } from "./line.ts";
import type { Member } from "./member.ts";

/** Rates of smoothing that are tried: the level's, then what of it goes to the slope. */
const LEVELS = [0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.99];
const TREND_SHARES = [0, 0.05, 0.15, 0.4];
/** Below 0.8 the trend is gone at once; at 1 it is never damped, which loses over long horizons (Gardner & McKenzie 1985). */
const DAMPINGS = [0.8, 0.9, 0.95, 0.98];

/** Rows that the starting level is the mean of. */
const START_ROWS = 10;

const startLevel = (values: Float64Array): number => meanOf(values.subarray(0, START_ROWS));

/** Simple exponential smoothing; the sum of squared one-step errors goes to `scratch[0]`. */
const smooth = (values: Float64Array, alpha: number, scratch: Float64Array): number => {
  let level = startLevel(values);
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    const error = (values[i] as number) - level;
    squares += error * error;
    level += alpha * error;
  }
  scratch[0] = squares;
  return level;
};

const bestAlpha = (values: Float64Array): number => {
  const scratch = new Float64Array(1);
  let best = 0.5;
  let least = Number.POSITIVE_INFINITY;
  for (const alpha of LEVELS) {
    smooth(values, alpha, scratch);
    if ((scratch[0] as number) < least) {
      least = scratch[0] as number;
      best = alpha;
    }
  }
  return best;
};

/** The Theta method's drift is half the slope of the line through all values (Hyndman & Billah 2003). */
const DRIFT_SHARE = 0.5;

/** Assimakopoulos & Nikolopoulos 2000. */
export const theta: Member = {
  name: "theta",
  seesAdjusted: true,
  fit: (first) => {
    const alpha = bestAlpha(first.adjusted);
    const scratch = new Float64Array(1);
    return ({ adjusted }, out) => {
      const level = smooth(adjusted, alpha, scratch);
      const drift = DRIFT_SHARE * slopeOf(adjusted);
      for (let step = 0; step < out.length; step++) out[step] = level + drift * (step + 1);
    };
  },
};

interface Damped {
  readonly alpha: number;
  /** Of the level's error rate, what goes to the slope. */
  readonly share: number;
  readonly phi: number;
}

const DAMPED_START: Damped = { alpha: 0.45, share: 0.15, phi: 0.9 };

/** Over the three parameters. */
const SWEEPS = 2;

/** Holt's damped trend; leaves the last level, the last slope and the sum of squared errors in `scratch`. */
const holt = (values: Float64Array, { alpha, share, phi }: Damped, scratch: Float64Array): void => {
  const rows = Math.min(values.length - 1, START_ROWS);
  let level = values[0] as number;
  let slope = rows > 0 ? ((values[rows] as number) - level) / rows : 0;
  const beta = share * alpha;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    const expected = level + phi * slope;
    const error = (values[i] as number) - expected;
    squares += error * error;
    level = expected + alpha * error;
    slope = phi * slope + beta * error;
  }
  scratch[0] = level;
  scratch[1] = slope;
  scratch[2] = squares;
};

/** Each parameter is improved with the others held: a quarter of the work of trying all, and measured to be no worse. */
const bestDamped = (values: Float64Array): Damped => {
  const scratch = new Float64Array(3);
  let best: Damped = DAMPED_START;
  let least = Number.POSITIVE_INFINITY;
  const consider = (tried: Damped): void => {
    holt(values, tried, scratch);
    if ((scratch[2] as number) >= least) return;
    least = scratch[2] as number;
    best = tried;
  };
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const alpha of LEVELS) consider({ ...best, alpha });
    for (const share of TREND_SHARES) consider({ ...best, share });
    for (const phi of DAMPINGS) consider({ ...best, phi });
  }
  return best;
};

/** Exponential smoothing with a damped trend (Gardner & McKenzie 1985). */
export const damped: Member = {
  name: "damped",
  seesAdjusted: true,
  fit: (first) => {
    const best = bestDamped(first.adjusted);
    const scratch = new Float64Array(3);
    return ({ adjusted }, out) => {
      holt(adjusted, best, scratch);
      let level = scratch[0] as number;
      let slope = scratch[1] as number;
      for (let step = 0; step < out.length; step++) {
        slope *= best.phi;
        level += slope;
        out[step] = level;
      }
    };
  },
};
