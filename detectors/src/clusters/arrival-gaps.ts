/*
 * How regularly a template is logged. Gaps between the seconds in which it came are taken for gamma distributed (shape 1 is a Poisson
 * process, a large one a clock), in the seconds in which its stream spoke; how long it has been absent is judged by the Chernoff bound of
 * that tail.
 */

/** Gaps that the mean looks back. */
const MEMORY = 60;
/** No clock is trusted to be more regular than this: squared coefficient of variation. */
const VARIATION_MIN = 0.05;
/** Times the longest gap of the last one to two days, in seconds and in the stream's other lines. */
const MARGIN = 2;
/** So many mean gaps must have passed, however regular it is. */
const MISSED_MIN = 4;

export const GAP_LAYOUT = {
  gaps: { fill: 0 },
  gapMean: { fill: 0 },
  gapSquare: { fill: 0 },
  gapPeak: { fill: 0 },
  gapPeakBefore: { fill: 0 },
  /** The stream's clock of spoken seconds, and its lines in all, when the template was last logged. */
  seenSpoken: { fill: Number.NaN },
  seenLines: { fill: 0 },
  linesPeak: { fill: 0 },
  linesPeakBefore: { fill: 0 },
  /** The second since which it is missed. */
  vanished: { fill: Number.NaN },
} as const;
export type GapColumns = { readonly [Name in keyof typeof GAP_LAYOUT]: Float64Array };

/** −ln of the Chernoff bound of P(gap ≥ times × mean) for a gamma distribution. */
export const gapNats = (times: number, variation: number): number =>
  times <= 1 ? 0 : (times - 1 - Math.log(times)) / variation;

/** The template came: once for each second in which it did. */
export const learnGap = (at: GapColumns, pair: number, spoken: number, lines: number): void => {
  const gap = spoken - (at.seenSpoken[pair] as number);
  const between = lines - (at.seenLines[pair] as number);
  at.seenSpoken[pair] = spoken;
  at.seenLines[pair] = lines;
  if (!(gap > 0)) return;
  const gaps = (at.gaps[pair] as number) + 1;
  const weight = Math.max(1 / gaps, 1 / MEMORY);
  at.gaps[pair] = gaps;
  at.gapMean[pair] = (at.gapMean[pair] as number) + weight * (gap - (at.gapMean[pair] as number));
  at.gapSquare[pair] = (at.gapSquare[pair] as number) + weight * (gap ** 2 - (at.gapSquare[pair] as number));
  if (gap > (at.gapPeak[pair] as number)) at.gapPeak[pair] = gap;
  if (between > (at.linesPeak[pair] as number)) at.linesPeak[pair] = between;
};

export const isMissed = (
  at: GapColumns,
  pair: number,
  { spoken, lines }: { readonly spoken: number; readonly lines: number },
  limits: { readonly learnS: number; readonly nats: number },
): boolean => {
  const absent = spoken - (at.seenSpoken[pair] as number);
  const longest = Math.max(at.gapPeak[pair] as number, at.gapPeakBefore[pair] as number);
  if (!(absent > MARGIN * longest)) return false;
  const mean = at.gapMean[pair] as number;
  if ((at.gaps[pair] as number) * mean < limits.learnS || absent < MISSED_MIN * mean) return false;
  const linesLongest = Math.max(at.linesPeak[pair] as number, at.linesPeakBefore[pair] as number);
  if (lines - (at.seenLines[pair] as number) <= MARGIN * linesLongest) return false;
  const variation = Math.max(VARIATION_MIN, (at.gapSquare[pair] as number) / mean ** 2 - 1);
  return gapNats(absent / mean, variation) >= limits.nats;
};

/** Begins a day; `isNext` when no day lies between it and the last. */
export const turnGapDay = (at: GapColumns, pair: number, isNext: boolean): void => {
  at.gapPeakBefore[pair] = isNext ? (at.gapPeak[pair] as number) : 0;
  at.linesPeakBefore[pair] = isNext ? (at.linesPeak[pair] as number) : 0;
  at.gapPeak[pair] = 0;
  at.linesPeak[pair] = 0;
};

const LEARNT = ["gaps", "gapMean", "gapSquare", "gapPeak", "gapPeakBefore", "linesPeak", "linesPeakBefore"] as const;

export const forgetGaps = (at: GapColumns, pair: number): void => {
  for (const name of LEARNT) at[name][pair] = 0;
};

/** Two that were one all along: the one that came more often says how regular they are together. */
export const joinGaps = (at: GapColumns, from: number, into: number): void => {
  const isBetter = (at.gaps[from] as number) > (at.gaps[into] as number);
  if (isBetter) for (const name of LEARNT) at[name][into] = at[name][from] as number;
  at.seenSpoken[into] = Math.max(at.seenSpoken[into] || 0, at.seenSpoken[from] || 0);
  at.seenLines[into] = Math.max(at.seenLines[into] as number, at.seenLines[from] as number);
  at.vanished[into] = Number.NaN;
};
