import { type Store, StoreError, sampleDays, summedHours } from "@homeostat/analytics";
import type { Log } from "@homeostat/schemas";

const HOUR_MS = 3_600_000;

/** Ended hours are summed up again for so long: samples may come late. */
const LATE_HOURS = 2;

/** What is there before the first start is summed up so far back: as far as a baseline remembers. */
const BACK_DAYS = 35;

export interface HourSummaryPorts {
  readonly store: () => Pick<Store, "run" | "sumUpHours">;
  readonly now: () => number;
  readonly log: Log;
}

/** Hours since 1970 from `firstHour` on, newest first, of the days that have samples, without those that are summed up already. */
const missingHours = async (
  { store, now }: HourSummaryPorts,
  { firstHour, endHour }: { readonly firstHour: number; readonly endHour: number },
): Promise<readonly number[]> => {
  if (firstHour >= endHour) return [];
  const [days, summed] = await Promise.all([
    store().run(sampleDays, {}),
    store().run(summedHours, { from_unix_ms: firstHour * HOUR_MS, to_unix_ms: now() }),
  ]);
  const known = new Set(summed.map(({ hour_number }) => hour_number));
  return days
    .flatMap(({ day }) => Array.from({ length: 24 }, (_, hour) => day * 24 + hour))
    .filter((hour) => hour >= firstHour && hour < endHour && !known.has(hour))
    .sort((a, b) => b - a);
};

/**
 * Keeps `metric_hours` up to date: at the first call what is there already is summed up, newest first; then each call does the hours that
 * have just ended. An hour that failed is missing, and is done by the next call; the others do not wait for it.
 */
export const createHourSummary = (ports: HourSummaryPorts) => {
  const { store, now, log } = ports;
  /** Hours without a sample leave nothing behind: they are looked at once. */
  const done = new Set<number>();
  /** Hours before this one are known to be done: the weeks behind are asked for once. */
  let doneBefore = 0;
  /** Answers whether it is done. A store that is away is away for all hours: it throws. */
  const sumUp = async (hour: number): Promise<boolean> => {
    try {
      await store().sumUpHours({ fromUnixMs: hour * HOUR_MS, toUnixMs: (hour + 1) * HOUR_MS, version: now() });
      done.add(hour);
      return true;
    } catch (error) {
      if (!(error instanceof StoreError) || error.code === "unreachable") throw error;
      log.warn({ hour: new Date(hour * HOUR_MS).toISOString(), error: error.message }, "an hour was not summed up");
      return false;
    }
  };
  /** Ends early, between two hours, when the signal aborts. */
  return async (signal: AbortSignal): Promise<void> => {
    const endHour = Math.floor(now() / HOUR_MS);
    const oldest = endHour - BACK_DAYS * 24;
    // A clock that was ahead has called hours done that had not come.
    const firstHour = doneBefore > endHour ? oldest : Math.max(oldest, doneBefore);
    const missing = await missingHours(ports, { firstHour, endHour });
    const late = Array.from({ length: LATE_HOURS }, (_, back) => endHour - 1 - back);
    const hours = [...late, ...missing.filter((hour) => !late.includes(hour) && !done.has(hour))];
    let isWhole = true;
    for (const hour of hours) {
      if (signal.aborted) return;
      isWhole = (await sumUp(hour)) && isWhole;
    }
    if (isWhole) {
      doneBefore = endHour;
      done.clear();
    }
    log.debug({ hours: hours.length }, "hours are summed up");
  };
};
