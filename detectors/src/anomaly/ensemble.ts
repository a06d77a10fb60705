import { combine } from "./combine.ts";
import { forgetRow } from "./judge.ts";
import { judgeLevel, levelBefore, levelRecent, pushLevel } from "./members/level.ts";
import { forgetResidual, judgeResidual } from "./members/residual.ts";
import { expectedAt, followShift, hourOf, isLearning, learnProfile } from "./members/seasonal-profile.ts";
import { judgeVariability } from "./members/variability.ts";
import { newsOf } from "./news.ts";
import { cellsAt, N, numbersAt, type SeriesAnomalies } from "./state.ts";

/**
 * Anomalies of one series, point by point. Each member turns a statistic into a surprise: how rare it is by the series' own past, upwards and
 * downwards apart, as peaks over threshold tell it (Siffer et al., 2017). The members' surprises are joined by a power mean, so that the loudest
 * decides and agreement helps; that the score is a rareness and not a distance is the likelihood step of HTM (Ahmad, Lavin, Purdy, Agha, 2017).
 */

/** Below this share of the values themselves (which stand in single precision, relative to the first), and of the value as it came, a deviation is rounding. */
const ROUNDING_SINGLE = 1e-6;
const ROUNDING_DOUBLE = 1e-12;

/** What a score of 1 stands for: 10^-10, as in HTM's log-likelihood. */
const SURPRISE_FULL = 10;

const begin = (state: SeriesAnomalies, n: number, timeUnixMs: number, value: number): void => {
  const { numbers } = state;
  numbers[n + N.anchor] = value;
  numbers[n + N.weight] = 1;
  numbers[n + N.time] = timeUnixMs;
  numbers[n + N.toldRow] = Number.NEGATIVE_INFINITY;
};

const passOver = ({ numbers, verdict }: SeriesAnomalies, n: number): number => {
  verdict.surprise = 0;
  verdict.isShift = false;
  verdict.isAlert = numbers[n + N.alert] === 1;
  return 0;
};

/**
 * Takes one point of a series and tells how anomalous it is.
 *
 * @param slot The series; `growSeriesAnomaly` made room for it.
 * @returns A score from 0 to 1, a tenth of −log10 of how rare the moment is (0.3: one in a thousand). It speaks once per episode: 0 while nothing
 *   is rare enough, and during an episode only for what exceeds that which was told before. A point that is not newer than the last one, or not a
 *   finite number (of single precision), is passed over: 0. Why: `state.verdict`, until the next step.
 */
export const stepSeriesAnomaly = (state: SeriesAnomalies, slot: number, timeUnixMs: number, value: number): number => {
  const { numbers, cells, verdict } = state;
  const n = numbersAt(slot);
  const c = cellsAt(slot);
  const row = numbers[n + N.rows] as number;
  if (row === 0 && Number.isFinite(Math.fround(value))) begin(state, n, timeUnixMs, value);
  const x = Math.fround(value - (numbers[n + N.anchor] as number));
  const elapsedMs = row === 0 ? 0 : timeUnixMs - (numbers[n + N.time] as number);
  if (!Number.isFinite(x) || !Number.isFinite(timeUnixMs) || (row > 0 && !(elapsedMs > 0))) return passOver(state, n);
  numbers[n + N.time] = timeUnixMs;
  numbers[n + N.rows] = row + 1;
  state.surprises.fill(0);
  state.deviations.fill(0);

  pushLevel(cells, c, row, x);
  const before = levelBefore(cells, c, row);
  const recent = levelRecent(cells, c, row);
  const hour = hourOf(timeUnixMs);
  const seasonal = expectedAt(cells, c, hour, x);
  const expected = Number.isNaN(seasonal) ? before : seasonal;
  const rounding = ROUNDING_SINGLE * (Math.abs(x) + Math.abs(expected)) + ROUNDING_DOUBLE * Math.abs(value);
  if (!Number.isNaN(expected)) judgeResidual(state, n, c, x - expected, rounding);
  verdict.isShift =
    !Number.isNaN(seasonal) &&
    followShift(state, n, c, { residual: x - seasonal, usual: numbers[n + N.scale] as number });
  if (verdict.isShift) forgetResidual(numbers, n);
  if (!Number.isNaN(before)) judgeLevel(state, n, c, recent - before, rounding);
  if (row > 0) judgeVariability(state, n, c, Math.abs(x - (numbers[n + N.previous] as number)));
  if (isLearning(numbers, n)) learnProfile(cells, c, hour, x, elapsedMs);
  numbers[n + N.previous] = x;

  const surprise = combine(state, row);
  forgetRow(state, n, c);
  const anchor = numbers[n + N.anchor] as number;
  verdict.surprise = surprise;
  verdict.expected = expected + anchor;
  verdict.levelBefore = before + anchor;
  verdict.levelRecent = recent + anchor;
  return Math.min(1, newsOf(state, n, row, surprise) / SURPRISE_FULL);
};
