/** What the ensemble got wrong in the back-test: by origin, then by step. */
export interface Residuals {
  readonly origins: number;
  readonly horizon: number;
  readonly errors: Float64Array;
  /** Windows of the back-test overlap: as if there were so many that do not. */
  readonly windows: number;
}

/** Measured over several sets: one window steadies the width like so many independent observations. */
const FREEDOM_PER_WINDOW = 1.5;

const NORMAL_80 = 1.2816;
const NORMAL_95 = 1.96;

/** Student's quantile over the normal one (Cornish-Fisher). */
const widening = (z: number, freedom: number): number =>
  1 + (z * z + 1) / (4 * freedom) + (5 * z ** 4 + 16 * z * z + 3) / (96 * freedom * freedom);

/** Mean absolute error by step, made to grow with the horizon (pool adjacent violators): few origins make a ragged one. */
const errorScale = ({ origins, horizon, errors }: Residuals): Float64Array => {
  const sums = new Float64Array(horizon);
  const sizes = new Int32Array(horizon);
  let blocks = 0;
  for (let step = 0; step < horizon; step++) {
    let sum = 0;
    for (let row = 0; row < origins; row++) sum += Math.abs(errors[row * horizon + step] as number);
    sums[blocks] = sum / origins;
    sizes[blocks] = 1;
    while (blocks > 0 && meanOf(sums, sizes, blocks - 1) > meanOf(sums, sizes, blocks)) {
      sums[blocks - 1] = (sums[blocks - 1] as number) + (sums[blocks] as number);
      sizes[blocks - 1] = (sizes[blocks - 1] as number) + (sizes[blocks] as number);
      blocks--;
    }
    blocks++;
  }
  const scale = new Float64Array(horizon);
  for (let block = 0, step = 0; block < blocks; block++) {
    const mean = meanOf(sums, sizes, block);
    for (let i = 0; i < (sizes[block] as number); i++) scale[step++] = mean;
  }
  return scale;
};

const meanOf = (sums: Float64Array, sizes: Int32Array, block: number): number =>
  (sums[block] as number) / (sizes[block] as number);

/** Of sorted values, with the conformal (count + 1); the greatest when there are too few. */
const quantile = (sorted: Float64Array, share: number): number => {
  const at = Math.min(sorted.length - 1, Math.max(0, share * (sorted.length + 1) - 1));
  const below = sorted[Math.floor(at)] as number;
  return below + (at - Math.floor(at)) * ((sorted[Math.ceil(at)] as number) - below);
};

export interface Widths {
  readonly half80: Float64Array;
  readonly half95: Float64Array;
}

/**
 * Half widths of the 80 % and the 95 % interval by step: split-conformal quantiles of the back-test's absolute errors
 * (Lei et al. 2018), pooled over the steps after each was divided by its own scale.
 */
export const intervalWidths = (residuals: Residuals): Widths => {
  const { origins, horizon, errors, windows } = residuals;
  const scale = errorScale(residuals);
  const ratios = new Float64Array(origins * horizon);
  for (let i = 0; i < ratios.length; i++) {
    const unit = scale[i % horizon] as number;
    ratios[i] = unit > 0 ? Math.abs(errors[i] as number) / unit : 0;
  }
  ratios.sort();
  const freedom = FREEDOM_PER_WINDOW * windows;
  const ratio80 = quantile(ratios, 0.8) * widening(NORMAL_80, freedom);
  const ratio95 = quantile(ratios, 0.95) * widening(NORMAL_95, freedom);
  return { half80: scale.map((unit) => unit * ratio80), half95: scale.map((unit) => unit * ratio95) };
};
