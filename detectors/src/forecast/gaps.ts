/** A gap no longer than this is bridged by a straight line; a longer one by what was there one season before. */
const LINE_ROWS_MAX = 3;

export interface Filled {
  /** From the first to the last finite value, every gap filled. */
  readonly values: Float64Array;
  /** Rows after the last finite value. */
  readonly silentRows: number;
  /** Share of the rows of `values` that were there. */
  readonly coverage: number;
}

const bridge = (values: Float64Array, from: number, to: number): void => {
  const before = values[from - 1] as number;
  const slope = ((values[to] as number) - before) / (to - from + 1);
  for (let i = from; i < to; i++) values[i] = before + slope * (i - from + 1);
};

/** `seasons` in rows. Null when nothing is finite. */
export const fillGaps = (raw: Float64Array, seasons: readonly number[]): Filled | null => {
  const first = raw.findIndex(Number.isFinite);
  if (first < 0) return null;
  const last = raw.findLastIndex(Number.isFinite);
  const values = raw.slice(first, last + 1);
  const longestFirst = seasons.filter((season) => season > 1).sort((a, b) => b - a);
  let missing = 0;
  for (let from = 0; from < values.length; from++) {
    if (Number.isFinite(values[from])) continue;
    let to = from;
    while (!Number.isFinite(values[to])) to++;
    missing += to - from;
    const season = to - from > LINE_ROWS_MAX ? longestFirst.find((rows) => rows <= from) : undefined;
    if (season === undefined) bridge(values, from, to);
    else for (let i = from; i < to; i++) values[i] = values[i - season] as number;
    from = to;
  }
  return { values, silentRows: raw.length - 1 - last, coverage: 1 - missing / values.length };
};
