import type { Finding } from "@homeostat/schemas";
import { type Episodes, NO_DATA_MS, tellNoData } from "./episode.ts";
import type { Series } from "./series.ts";
import type { MetricWindow } from "./window.ts";

/** What a detector that judges means of equal steps gathers for each series. */
export const STEP_LAYOUT = {
  /** The newest sample's time, and when it arrived. */
  last: { fill: Number.NEGATIVE_INFINITY },
  arrived: { fill: 0 },
  /** A counter's newest value. */
  counted: { fill: Number.NaN },
  /** The step since 1970 that is being gathered, with its sum and count. */
  step: { fill: Number.NaN },
  sum: { fill: 0 },
  count: { fill: 0 },
} as const;

type StepColumns = { readonly [Name in keyof typeof STEP_LAYOUT]: Float64Array };

/** A counter's value becomes its rate since the last sample; NaN at the first, and after a reset. */
const measured = (at: StepColumns, slot: number, value: number, elapsedMs: number, isCounter: boolean): number => {
  if (!isCounter) return value;
  const before = at.counted[slot] as number;
  at.counted[slot] = value;
  return value >= before ? ((value - before) * 1000) / elapsedMs : Number.NaN;
};

/**
 * Gathers the window's samples by step; `close` is called with a slot whose step has ended, while its sum and count stand. Samples that are
 * no newer than the last one of their series, and values that are not finite, are passed over; so are slots from `slotsMax` on.
 */
export const gatherSteps = (
  at: StepColumns,
  window: MetricWindow,
  { stepMs, slotsMax }: { readonly stepMs: number; readonly slotsMax: number },
  close: (slot: number) => void,
): void => {
  const { slots, times, values, count, nowUnixMs } = window;
  for (let row = 0; row < count; row++) {
    const slot = slots[row] as number;
    const time = times[row] as number;
    const raw = values[row] as number;
    if (slot >= slotsMax || !Number.isFinite(raw)) continue;
    const elapsedMs = time - (at.last[slot] as number);
    if (!(elapsedMs > 0)) continue;
    at.last[slot] = time;
    at.arrived[slot] = nowUnixMs;
    const value = measured(at, slot, raw, elapsedMs, (window.series[slot] as Series).isCounter);
    if (Number.isNaN(value)) continue;
    const step = Math.floor(time / stepMs);
    if (step !== at.step[slot]) {
      if ((at.count[slot] as number) > 0) close(slot);
      at.step[slot] = step;
      at.sum[slot] = 0;
      at.count[slot] = 0;
    }
    at.sum[slot] = (at.sum[slot] as number) + value;
    at.count[slot] = (at.count[slot] as number) + 1;
  }
};

/** Of the step that has just ended. */
export const stepMean = (at: StepColumns, slot: number): number =>
  (at.sum[slot] as number) / (at.count[slot] as number);

/** At a tick: of what fires and has not been heard of for long, nobody knows. */
export const tellUnheard = (
  { at, episodes }: { readonly at: StepColumns; readonly episodes: Episodes },
  { nowUnixMs, observingSinceUnixMs }: MetricWindow,
  stepMs: number,
): readonly Finding[] =>
  [...episodes.keys()].flatMap((slot) => {
    const heardAt = Math.max(at.arrived[slot] as number, observingSinceUnixMs);
    return nowUnixMs - heardAt >= NO_DATA_MS + stepMs ? tellNoData(episodes, slot, nowUnixMs) : [];
  });
