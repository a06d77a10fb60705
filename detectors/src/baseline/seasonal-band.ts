import { median, medianSorted, quantileSorted } from "simple-statistics";

/**
 * What is normal for a series at an hour of the week, from what the same hours were like before.
 *
 * Each hour that has passed (a visit) is kept as three order statistics of its minute means: the 5 %, 50 % and 95 % quantiles. They are exact,
 * three numbers whatever the sampling rate, and forget by themselves, as only the newest VISITS of each hour of the week stay: 504 visits a series.
 * A sketch (P², t-digest) would have to be told to forget. The band is the envelope of the visits' quantiles plus a margin in units of the spread
 * within an hour, so neither one bad minute nor, where there are three visits, one bad hour moves it: at the hour of the week it is a median over
 * weeks. Hours are UTC.
 */
export const HOURS = 168;
export const VISITS = 3;
export const HOUR_MS = 3_600_000;

/** Per visit: 5 %, 50 % and 95 % quantile. */
const QUANTILES = [0.05, 0.5, 0.95] as const;
export const VISIT_WIDTH = QUANTILES.length;

/** Older visits say nothing about today. */
const VISIT_AGE_HOURS_MAX = (VISITS + 2) * HOURS;

export type BandLevel = "hour_of_week" | "hour_of_day" | "global";

export interface Band {
  readonly level: BandLevel;
  readonly low: number;
  readonly center: number;
  readonly high: number;
}

export interface BandOptions {
  /** Hours that must have been seen before the series as a whole is known. */
  readonly warmUpHours: number;
  /** Width of the margin, in standard deviations as a normal distribution with that spread would have them. */
  readonly margin: number;
  /** The least that a standard deviation is taken to be: flat series have none. */
  readonly floor: { readonly absolute: number; readonly relative: number };
}

export const summariseHour = (minutes: Float64Array): readonly number[] => {
  const sorted = minutes.toSorted();
  return QUANTILES.map((share) => quantileSorted([...sorted], share));
};

/** The distance between the 5 % and the 95 % quantile of a normal distribution, in standard deviations. */
const NORMAL_SPREAD = 3.29;

/** With fewer visits none of them is an exception: weekdays differ, so a day of the week must be told from a fault. */
const ENOUGH = { hour_of_week: VISITS, hour_of_day: 7 } as const;

export interface Visits {
  /** The hour since 1970 of each visit, NaN where there is none: HOURS × VISITS. */
  readonly hours: Float64Array;
  /** The quantiles of each visit: HOURS × VISITS × VISIT_WIDTH. */
  readonly quantiles: Float64Array;
}

/** A level that took the place of another one at `sinceHour`: older visits are read `offset` higher. */
export interface Shift {
  readonly sinceHour: number;
  readonly offset: number;
}

export const NO_SHIFT: Shift = { sinceHour: Number.NEGATIVE_INFINITY, offset: 0 };

/** Where the visit of an hour is kept. */
export const placeOf = (hour: number): number => (hour % HOURS) * VISITS + (Math.floor(hour / HOURS) % VISITS);

/** Places of the visits that are like `hour`: every `period` hours, and not too old. */
const visitsLike = ({ hours }: Visits, hour: number, period: number): readonly number[] => {
  const places: number[] = [];
  for (let of = hour % period; of < HOURS; of += period) {
    for (let visit = 0; visit < VISITS; visit++) {
      const place = of * VISITS + visit;
      if (hour - (hours[place] as number) <= VISIT_AGE_HOURS_MAX) places.push(place);
    }
  }
  return places;
};

const columnOf = ({ hours, quantiles }: Visits, places: readonly number[], which: number, shift: Shift): number[] =>
  places
    .map((place) => {
      const quantile = quantiles[place * VISIT_WIDTH + which] as number;
      return (hours[place] as number) < shift.sinceHour ? quantile + shift.offset : quantile;
    })
    .sort((a, b) => a - b);

const bandOver = (
  visits: Visits,
  places: readonly number[],
  level: BandLevel,
  { options, shift }: { readonly options: BandOptions; readonly shift: Shift },
): Band => {
  const lows = columnOf(visits, places, 0, shift);
  const center = medianSorted(columnOf(visits, places, 1, shift));
  const highs = columnOf(visits, places, 2, shift);
  const spreads = places.map((place) => {
    const at = place * VISIT_WIDTH;
    return ((visits.quantiles[at + 2] as number) - (visits.quantiles[at] as number)) / NORMAL_SPREAD;
  });
  const floor = Math.max(options.floor.absolute, options.floor.relative * Math.abs(center), Number.MIN_VALUE);
  const margin = options.margin * Math.max(floor, median(spreads));
  // The global band must hold the hours of the day that differ most; elsewhere one odd visit is left out, once it is odd among enough.
  const trimmed = level !== "global" && places.length >= ENOUGH[level] ? 1 : 0;
  const low = (lows[trimmed] as number) - margin;
  const high = (highs[highs.length - 1 - trimmed] as number) + margin;
  return { level, low, center, high };
};

/** The band for one hour (hours since 1970) from the narrowest likeness that has been seen often enough; null while warming up. */
export const bandFor = (visits: Visits, hour: number, options: BandOptions, shift = NO_SHIFT): Band | null => {
  const how = { options, shift };
  const ofWeek = visitsLike(visits, hour, HOURS);
  if (ofWeek.length >= VISITS) return bandOver(visits, ofWeek, "hour_of_week", how);
  const all = visitsLike(visits, hour, 1);
  if (all.length < options.warmUpHours) return null;
  const ofDay = visitsLike(visits, hour, 24);
  return ofDay.length >= VISITS ? bandOver(visits, ofDay, "hour_of_day", how) : bandOver(visits, all, "global", how);
};

/** The visits before an hour, as if none had come since. */
export const visitsBefore = ({ hours, quantiles }: Visits, beforeHour: number): Visits => ({
  hours: hours.map((hour) => (hour < beforeHour ? hour : Number.NaN)),
  quantiles,
});

/**
 * How far the level has moved: the median, over the hours since `sinceHour` and the newest, of how far each hour's median is from what the
 * visits before say of it. null where they say nothing.
 */
export const levelOffset = (
  visits: Visits,
  { sinceHour, hour, median: newest }: { readonly sinceHour: number; readonly hour: number; readonly median: number },
  options: BandOptions,
): number | null => {
  const old = visitsBefore(visits, sinceHour);
  const medians: (readonly [number, number])[] = [[hour, newest]];
  for (let past = sinceHour + 1; past < hour; past++) {
    const place = placeOf(past);
    if (visits.hours[place] === past) medians.push([past, visits.quantiles[place * VISIT_WIDTH + 1] as number]);
  }
  const offsets = medians.flatMap(([at, level]) => {
    const band = bandFor(old, at, options);
    return band === null ? [] : [level - band.center];
  });
  return offsets.length === 0 ? null : median(offsets);
};

/** Makes a shift part of the visits that it speaks of. */
export const settleShift = ({ hours, quantiles }: Visits, { sinceHour, offset }: Shift): void => {
  hours.forEach((hour, place) => {
    if (!(hour < sinceHour)) return;
    for (let at = place * VISIT_WIDTH; at < (place + 1) * VISIT_WIDTH; at++)
      quantiles[at] = (quantiles[at] as number) + offset;
  });
};

/** Of the last week's hours, how many have been seen. */
export const coverageHours = ({ hours }: Visits, hour: number): number => {
  let seen = 0;
  for (const visit of hours) if (hour - visit <= HOURS) seen++;
  return seen;
};
