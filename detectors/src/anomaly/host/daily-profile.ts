/** What each metric of a host is like at a time of the day: one level for each ten minutes, and a step towards each new day's. 730 bytes a metric. */

const DAY_MS = 86_400_000;
const SLOTS = 144;

/** A level goes back about a week. */
const DAYS = 7;

/** So many days are taken as they are; after them a day moves a level by a limited step, so that one bad day is not believed. */
const DAYS_BELIEVED = 3;

export interface DailyProfile {
  readonly level: Float32Array;
  /** Days that a level rests on, up to 255. */
  readonly days: Uint8Array;
  /** Of the ten minutes of now, by metric. */
  readonly sum: Float64Array;
  readonly count: Float64Array;
  slot: number;
}

export const makeDailyProfile = (metrics: number): DailyProfile => ({
  level: new Float32Array(metrics * SLOTS),
  days: new Uint8Array(metrics * SLOTS),
  sum: new Float64Array(metrics),
  count: new Float64Array(metrics),
  slot: 0,
});

export const pickDailyProfile = (profile: DailyProfile, metrics: ArrayLike<number>): DailyProfile => {
  const picked = makeDailyProfile(metrics.length);
  picked.slot = profile.slot;
  for (let place = 0; place < metrics.length; place++) {
    const from = metrics[place] as number;
    if (from >= profile.sum.length) continue;
    picked.level.set(profile.level.subarray(from * SLOTS, (from + 1) * SLOTS), place * SLOTS);
    picked.days.set(profile.days.subarray(from * SLOTS, (from + 1) * SLOTS), place * SLOTS);
    picked.sum[place] = profile.sum[from] as number;
    picked.count[place] = profile.count[from] as number;
  }
  return picked;
};

export const saveDailyProfile = ({ level, days, sum, count, slot }: DailyProfile): Record<string, Float64Array> => ({
  // Several in the bits of one number: levels are finite and days small, so the number is never NaN and keeps its bits.
  level: new Float64Array(level.slice().buffer),
  days: new Float64Array(days.slice().buffer),
  sum: sum.slice(),
  count: count.slice(),
  slot: Float64Array.of(slot),
});

/** @throws RangeError when the arrays are not of so many metrics. */
export const loadDailyProfile = (saved: Readonly<Record<string, Float64Array>>, metrics: number): DailyProfile => {
  const profile = makeDailyProfile(metrics);
  const level = new Float32Array((saved.level ?? new Float64Array(0)).slice().buffer);
  const days = new Uint8Array((saved.days ?? new Float64Array(0)).slice().buffer);
  if (level.length !== metrics * SLOTS || days.length !== level.length)
    throw new RangeError(`saved profile holds ${level.length} levels`);
  profile.level.set(level);
  profile.days.set(days);
  profile.sum.set(saved.sum ?? []);
  profile.count.set(saved.count ?? []);
  profile.slot = saved.slot?.[0] ?? 0;
  return profile;
};

const placeOf = (timeUnixMs: number): number => ((((timeUnixMs % DAY_MS) + DAY_MS) % DAY_MS) / DAY_MS) * SLOTS;

/** What is usual at this time of the day, between the levels of two slots; NaN where this time has not been seen yet. */
export const usualAt = ({ level, days }: DailyProfile, metric: number, timeUnixMs: number): number => {
  const place = placeOf(timeUnixMs);
  const slot = Math.floor(place);
  const beside = place - slot - 0.5;
  const here = metric * SLOTS + slot;
  if (days[here] === 0) return Number.NaN;
  const other = metric * SLOTS + ((slot + (beside < 0 ? SLOTS - 1 : 1)) % SLOTS);
  const share = days[other] === 0 ? 0 : Math.abs(beside);
  return (level[here] as number) * (1 - share) + (level[other] as number) * share;
};

/** Call before a row's values are added: at the end of ten minutes they go into the levels. `stepMax` limits by metric how far one day moves a level. */
export const turnDailyProfile = (
  profile: DailyProfile,
  timeUnixMs: number,
  stepMax: (metric: number) => number,
): void => {
  const slot = Math.floor(placeOf(timeUnixMs));
  if (slot === profile.slot) return;
  const { level, days, sum, count } = profile;
  for (let metric = 0; metric < sum.length; metric++) {
    if (count[metric] === 0) continue;
    const place = metric * SLOTS + profile.slot;
    const seen = Math.min(255, (days[place] as number) + 1);
    const old = seen === 1 ? 0 : (level[place] as number);
    let step = (sum[metric] as number) / (count[metric] as number) - old;
    const limit = seen > DAYS_BELIEVED ? stepMax(metric) : Number.POSITIVE_INFINITY;
    if (Math.abs(step) > limit) step = Math.sign(step) * limit;
    level[place] = old + step * Math.max(1 / DAYS, 1 / seen);
    days[place] = seen;
    sum[metric] = 0;
    count[metric] = 0;
  }
  profile.slot = slot;
};

export const addToDailyProfile = ({ sum, count }: DailyProfile, metric: number, value: number): void => {
  sum[metric] = (sum[metric] as number) + value;
  count[metric] = (count[metric] as number) + 1;
};
