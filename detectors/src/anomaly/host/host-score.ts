/**
 * One score for the vector of a host's metrics. Each metric is looked at in four ways; of each way an own decayed histogram
 * tells which values are usual, and how far beyond them this one is. What a row scores is the mean over its worst metrics:
 * an anomaly of a host shows in several of them at once, a freak in one.
 */
import {
  addToDailyProfile,
  type DailyProfile,
  loadDailyProfile,
  makeDailyProfile,
  pickDailyProfile,
  saveDailyProfile,
  turnDailyProfile,
  usualAt,
} from "./daily-profile.ts";
import {
  ageTailSketches,
  exceedance,
  loadTailSketches,
  makeTailSketches,
  pickTailSketches,
  saveTailSketches,
  type TailShares,
  type TailSketches,
} from "./tail-sketch.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** What was learnt weighs half after four weeks. */
const HALF_LIFE_MS = 28 * DAY_MS;

/** A metric that is mostly still and sometimes jumps is no wonder at each jump: distances are measured by at least 0.3 of the spread between the 0.3 % and 99.7 % quantiles. */
const FAR = { far: 0.003, spreadShare: 0.3 } as const;

interface Way {
  readonly weight: number;
  readonly shares: TailShares;
}

/** The value itself. */
const LEVEL: Way = { weight: 1, shares: { bound: 0.001, ...FAR } };
/** Its distance from what is usual at this time of the day. The bounds are near: small deviations of many metrics at once are evidence. */
const SEASON: Way = { weight: 1, shares: { bound: 0.03, ...FAR } };
/** The same, slowly averaged: small deviations that last. */
const DRIFT: Way = { weight: 1, shares: { bound: 0.003, ...FAR } };
/** The step from the row before: what begins now. */
const JUMP: Way = { weight: 2, shares: { bound: 0.001, ...FAR } };
const WAYS = 4;

/** Of a row; the average goes back ten rows. */
const DRIFT_RATE = 0.1;

/** Farther beyond the bounds than so many widths is no more evidence: one metric cannot speak for the host. */
const EXCEEDANCE_MAX = 3;

/** The share of a row's metrics whose mean is its score. */
const WORST_SHARE = 0.25;

/** The score follows the row's by this much: a single row is doubted a little. */
const SCORE_RATE = 0.7;

/** Minutes after an anomaly a host is still suspect: the mean score of about the last twenty rows counts where it is higher. */
const MEMORY_ROWS = 20;

/** After a long episode it is suspect for longer: the mean goes back twice as many rows as were unusual in it, but not farther than this. */
const MEMORY_SHARE = 2;
const MEMORY_ROWS_MAX = 60;

/** A row counts for no more than this in that mean: what is suspect has lasted, a freak row is forgotten. */
const MEMORY_SCORE_MAX = 1.5;

/** Above the score that this share of rows have, a row is unusual for this host, and an episode begins. */
const EPISODE: TailShares = { bound: 0.01, far: 0.01, spreadShare: 1 };
const EPISODE_ENDS_AFTER_MS = 60 * MINUTE_MS;

/** Of an episode so many rows teach as any other; the nth after them weighs this number divided by n, so a long one is learnt slowly. */
const EPISODE_ROWS = 15;

/** What is unusual for so long is what will be: it is learnt in full. */
const EPISODE_MAX_MS = 2 * DAY_MS;

/** One day moves the daily profile by at most this share of the spread of the distances from it. */
const PROFILE_STEP = 0.5;

export interface HostModel {
  readonly metrics: number;
  /** Four a metric, in the order of the ways, and the score's own as the last. */
  readonly sketches: TailSketches;
  readonly profile: DailyProfile;
  /** By metric; NaN before the first value. */
  readonly last: Float64Array;
  readonly drift: Float64Array;
  /** What each metric gave to the last row. */
  readonly evidence: Float64Array;
  readonly sorted: Float64Array;
  /** Of about the last row, in widths of the usual bands. */
  score: number;
  /** Of about the last twenty; of more after a long episode. */
  memory: number;
  /** Of the last row; NaN before the first. */
  timeUnixMs: number;
  rows: number;
  /** How long the episode has lasted; 0 is none. */
  episodeMs: number;
  calmMs: number;
  episodeRows: number;
  /** Rows of the last episode whose score was unusual. */
  unusualRows: number;
}

export interface HostRow {
  readonly timeUnixMs: number;
  /** By metric; what is not finite is missing. */
  readonly values: ArrayLike<number>;
}

const SCALARS = ["score", "memory", "timeUnixMs", "rows", "episodeMs", "calmMs", "episodeRows", "unusualRows"] as const;

const assemble = (metrics: number, sketches: TailSketches, profile: DailyProfile): HostModel => ({
  metrics,
  sketches,
  profile,
  last: new Float64Array(metrics).fill(Number.NaN),
  drift: new Float64Array(metrics),
  evidence: new Float64Array(metrics),
  sorted: new Float64Array(metrics),
  score: 0,
  memory: 0,
  timeUnixMs: Number.NaN,
  rows: 0,
  episodeMs: 0,
  calmMs: 0,
  episodeRows: 0,
  unusualRows: 0,
});

export const makeHostModel = (metrics: number): HostModel =>
  assemble(metrics, makeTailSketches(metrics * WAYS + 1), makeDailyProfile(metrics));

/** The model of these metrics, in this order; a number that the model does not know is a new metric. */
export const pickHostMetrics = (model: HostModel, kept: ArrayLike<number>): HostModel => {
  const signals: number[] = [];
  for (const metric of Array.from(kept)) {
    for (let way = 0; way < WAYS; way++)
      signals.push(metric < model.metrics ? metric * WAYS + way : Number.POSITIVE_INFINITY);
  }
  signals.push(model.metrics * WAYS);
  const picked = assemble(
    kept.length,
    pickTailSketches(model.sketches, signals),
    pickDailyProfile(model.profile, kept),
  );
  for (const name of ["last", "drift", "evidence"] as const)
    for (let place = 0; place < kept.length; place++)
      if ((kept[place] as number) < model.metrics) picked[name][place] = model[name][kept[place] as number] as number;
  for (const name of SCALARS) picked[name] = model[name];
  return picked;
};

const prefixed = (prefix: string, arrays: Readonly<Record<string, Float64Array>>): Record<string, Float64Array> =>
  Object.fromEntries(Object.entries(arrays).map(([name, array]) => [`${prefix}.${name}`, array]));

const unprefixed = (prefix: string, arrays: Readonly<Record<string, Float64Array>>): Record<string, Float64Array> =>
  Object.fromEntries(
    Object.entries(arrays)
      .filter(([name]) => name.startsWith(`${prefix}.`))
      .map(([name, array]) => [name.slice(prefix.length + 1), array]),
  );

export const saveHostModel = (model: HostModel): Record<string, Float64Array> => ({
  last: model.last.slice(),
  drift: model.drift.slice(),
  evidence: model.evidence.slice(),
  scalars: Float64Array.from(SCALARS, (name) => model[name]),
  ...prefixed("sketch", saveTailSketches(model.sketches)),
  ...prefixed("profile", saveDailyProfile(model.profile)),
});

/** @throws RangeError when the arrays do not fit together. */
export const loadHostModel = (saved: Readonly<Record<string, Float64Array>>): HostModel => {
  const metrics = saved.last?.length ?? 0;
  const sketches = loadTailSketches(unprefixed("sketch", saved), metrics * WAYS + 1);
  const model = assemble(metrics, sketches, loadDailyProfile(unprefixed("profile", saved), metrics));
  for (const name of ["last", "drift", "evidence"] as const) model[name].set(saved[name] ?? []);
  SCALARS.forEach((name, place) => {
    model[name] = saved.scalars?.[place] ?? model[name];
  });
  return model;
};

const isEpisode = ({ episodeMs }: HostModel): boolean => episodeMs > 0 && episodeMs < EPISODE_MAX_MS;

/** In widths of the usual bands. */
const worstMean = ({ evidence, sorted, metrics }: HostModel, present: number): number => {
  const worst = Math.max(1, Math.floor(present * WORST_SHARE));
  sorted.set(evidence);
  sorted.sort();
  let sum = 0;
  for (let rank = 1; rank <= worst; rank++) sum += sorted[metrics - rank] as number;
  return sum / worst;
};

const look = (model: HostModel, signal: number, way: Way, value: number, weight: number): number =>
  way.weight * Math.min(EXCEEDANCE_MAX, exceedance(model.sketches, signal, value, { weight, shares: way.shares }));

/** The evidence of one metric, which is learnt with this weight. */
const observeMetric = (model: HostModel, metric: number, row: HostRow, weight: number): number => {
  const value = row.values[metric] as number;
  const first = metric * WAYS;
  let evidence = look(model, first, LEVEL, value, weight);
  const usual = usualAt(model.profile, metric, row.timeUnixMs);
  if (!Number.isNaN(usual)) {
    const drift = (model.drift[metric] as number) + DRIFT_RATE * (value - usual - (model.drift[metric] as number));
    model.drift[metric] = drift;
    evidence += look(model, first + 1, SEASON, value - usual, weight) + look(model, first + 2, DRIFT, drift, weight);
  }
  if (weight === 1) addToDailyProfile(model.profile, metric, value);
  const last = model.last[metric] as number;
  if (!Number.isNaN(last)) evidence += look(model, first + 3, JUMP, value - last, weight);
  model.last[metric] = value;
  return evidence;
};

const followEpisode = (model: HostModel, elapsedMs: number): void => {
  const level = model.sketches.high[model.metrics * WAYS] as number;
  if (model.score > level) {
    model.unusualRows = model.episodeMs === 0 ? 1 : model.unusualRows + 1;
    model.episodeMs += elapsedMs;
    model.calmMs = 0;
  } else {
    model.calmMs += elapsedMs;
    if (model.calmMs > EPISODE_ENDS_AFTER_MS) model.episodeMs = 0;
    else if (model.episodeMs > 0) model.episodeMs += elapsedMs;
  }
};

const remember = (model: HostModel): void => {
  const rows = Math.min(MEMORY_ROWS_MAX, Math.max(MEMORY_ROWS, MEMORY_SHARE * model.unusualRows));
  model.memory += (Math.min(MEMORY_SCORE_MAX, model.score) - model.memory) / rows;
};

/** Scores a row by what was learnt before it, then learns it. Rows must come in the order of their times. */
export const observeRow = (model: HostModel, row: HostRow): void => {
  const { metrics, sketches, profile, evidence } = model;
  const elapsedMs = row.timeUnixMs > model.timeUnixMs ? Math.min(DAY_MS, row.timeUnixMs - model.timeUnixMs) : 0;
  model.timeUnixMs = row.timeUnixMs;
  model.rows += 1;
  model.episodeRows = isEpisode(model) ? model.episodeRows + 1 : 0;
  const weight = model.episodeRows <= EPISODE_ROWS ? 1 : EPISODE_ROWS / model.episodeRows;
  ageTailSketches(sketches, elapsedMs / HALF_LIFE_MS);
  turnDailyProfile(profile, row.timeUnixMs, (metric) => PROFILE_STEP * (sketches.spread[metric * WAYS + 1] as number));
  let present = 0;
  for (let metric = 0; metric < metrics; metric++) {
    evidence[metric] = 0;
    if (!Number.isFinite(row.values[metric])) continue;
    present += 1;
    evidence[metric] = observeMetric(model, metric, row, weight);
  }
  model.score += SCORE_RATE * (worstMean(model, present) - model.score);
  exceedance(sketches, metrics * WAYS, model.score, { weight, shares: EPISODE });
  followEpisode(model, elapsedMs);
  remember(model);
};

/** The score that one row in a hundred of this host exceeds; 0 while there are few rows. */
export const unusualScore = ({ sketches, metrics }: HostModel): number => {
  const high = sketches.high[metrics * WAYS] as number;
  return Number.isNaN(high) ? 0 : high;
};

/** What is usual for a metric at a time: by the time of the day where that is known, else at all. */
export const usualRange = (
  { sketches, profile }: HostModel,
  metric: number,
  timeUnixMs: number,
): { readonly low: number; readonly high: number } => {
  const usual = usualAt(profile, metric, timeUnixMs);
  const season = metric * WAYS + 1;
  if (!Number.isNaN(usual) && !Number.isNaN(sketches.low[season])) {
    return { low: usual + (sketches.low[season] as number), high: usual + (sketches.high[season] as number) };
  }
  return { low: sketches.low[metric * WAYS] as number, high: sketches.high[metric * WAYS] as number };
};
