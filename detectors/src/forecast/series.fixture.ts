/** A small generator (Marsaglia 2003, xorshift32): numbers between 0 and 1, the same on every machine. */
export const uniformFrom = (seed: number): (() => number) => {
  let state = (seed * 2_654_435_761) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
};

export interface Shape {
  readonly rows: number;
  readonly seed: number;
  readonly level?: number;
  /** Per row. */
  readonly growth?: number;
  /** Swing of a pattern of 24 rows, and of one of 168. */
  readonly daily?: number;
  readonly weekly?: number;
  readonly noise?: number;
}

export const seriesOf = ({
  rows,
  seed,
  level = 50,
  growth = 0,
  daily = 0,
  weekly = 0,
  noise = 1,
}: Shape): Float64Array => {
  const uniform = uniformFrom(seed);
  return Float64Array.from({ length: rows }, (_, row) => {
    const day = daily * Math.sin((row * Math.PI) / 12);
    const week = weekly * (Math.floor(row / 24) % 7 > 4 ? -1 : 0.4);
    return level + growth * row + day + week + noise * (uniform() + uniform() + uniform() - 1.5);
  });
};
