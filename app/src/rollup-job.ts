import { type RollupProgress, type Rollups, type Store, StoreError } from "@homeostat/analytics";
import type { Log } from "@homeostat/schemas";
import { arrivals, byHour, type Interval, sortLate, windowsWithin } from "./rollup-windows.ts";

/** Samples of the present arrive within seconds: a window is summed up once it is over for so long. */
const SETTLE_MS = 60_000;

/** What was there before the first run is summed up backwards, minutes so many hours a run: graphs can wait, raw samples serve them until then. */
const MINUTES_BACK_HOURS_A_RUN = 24;

type Resolution = "minutes" | "hours";
const WINDOW_MS: Readonly<Record<Resolution, number>> = { minutes: 60_000, hours: 3_600_000 };

export interface RollupJobPorts {
  readonly store: () => Pick<Store, "rollups">;
  readonly now: () => number;
  readonly log: Log;
}

/** A run's own state: what is known is written down after each piece that is done. */
interface Run {
  readonly rollups: Rollups;
  readonly now: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
  progress: RollupProgress;
}

const closedAt = (resolution: Resolution, nowUnixMs: number): number => {
  const windowMs = WINDOW_MS[resolution];
  return Math.floor((nowUnixMs - SETTLE_MS) / windowMs) * windowMs;
};

/** Holds nothing, and begins here. */
const emptyAt = (unixMs: number): RollupProgress["minutes"] => ({
  covered: { fromUnixMs: unixMs, untilUnixMs: unixMs },
  late: [],
});

/** Answers whether it is done. What one statement could not do the next run tries; a store that is away is away for all: it throws. */
const sumUp = async ({ rollups, now, log }: Run, resolution: Resolution, piece: Interval): Promise<boolean> => {
  const range = { fromUnixMs: piece.fromUnixMs, toUnixMs: piece.untilUnixMs, version: now() };
  try {
    await (resolution === "minutes" ? rollups.sumUpMinutes(range) : rollups.sumUpHours(range));
    return true;
  } catch (error) {
    if (!(error instanceof StoreError) || error.code === "unreachable") throw error;
    const from = new Date(piece.fromUnixMs).toISOString();
    log.warn(
      { rollup: resolution, from, error: error.message },
      "samples were not summed up; the next run tries again",
    );
    return false;
  }
};

const change = (run: Run, resolution: Resolution, part: Partial<RollupProgress["minutes"]>): void => {
  run.progress = { ...run.progress, [resolution]: { ...run.progress[resolution], ...part } };
};

/** What was over since the last run. Nothing is passed over, so that what is covered has no holes. */
const goOn = async (run: Run, resolution: Resolution): Promise<void> => {
  const { fromUnixMs, untilUnixMs } = run.progress[resolution].covered;
  for (const piece of byHour({ fromUnixMs: untilUnixMs, untilUnixMs: closedAt(resolution, run.now()) })) {
    if (run.signal.aborted || !(await sumUp(run, resolution, piece))) return;
    change(run, resolution, { covered: { fromUnixMs, untilUnixMs: piece.untilUnixMs } });
  }
};

const doAgain = async (run: Run, resolution: Resolution, touched: readonly Interval[]): Promise<void> => {
  const { covered, late } = run.progress[resolution];
  const windows = windowsWithin(touched, covered, WINDOW_MS[resolution]);
  const { due, waiting } = sortLate(late, windows, run.now());
  const left = [...waiting];
  for (const windowsDue of due)
    for (const piece of byHour(windowsDue))
      if (run.signal.aborted || !(await sumUp(run, resolution, piece)))
        left.push({ ...piece, sinceUnixMs: windowsDue.sinceUnixMs });
  change(run, resolution, { late: left });
};

/** Newest first: what is nearest is asked for most. */
const goBack = async (
  run: Run,
  resolution: Resolution,
  { oldestUnixMs, hoursMax }: { readonly oldestUnixMs: number; readonly hoursMax: number },
): Promise<void> => {
  const { fromUnixMs, untilUnixMs } = run.progress[resolution].covered;
  if (fromUnixMs === 0) return;
  const oldest = Math.floor(oldestUnixMs / WINDOW_MS.hours) * WINDOW_MS.hours;
  const pieces = byHour({ fromUnixMs: oldest, untilUnixMs: fromUnixMs }).toReversed();
  for (const piece of pieces.slice(0, hoursMax)) {
    if (run.signal.aborted || !(await sumUp(run, resolution, piece))) return;
    change(run, resolution, { covered: { fromUnixMs: piece.fromUnixMs, untilUnixMs } });
    await run.rollups.save(run.progress);
  }
  if (pieces.length > hoursMax) return;
  change(run, resolution, { covered: { fromUnixMs: 0, untilUnixMs } });
  await run.rollups.save(run.progress);
};

/**
 * Keeps `metric_minutes` and `metric_hours` up to date: each run does the windows that are over since the one before, again those that samples came
 * to late, and what was there before the first run, newest first. What has arrived is read from the names of the table's parts, so a run that
 * finds nothing new reads no sample. A run that is killed is done again by the next. Ends early, between two statements, when the signal aborts.
 */
export const createRollupJob = ({ store, now, log }: RollupJobPorts): ((signal: AbortSignal) => Promise<void>) => {
  const once = async (signal: AbortSignal): Promise<void> => {
    const { rollups } = store();
    // Before anything is summed up: what comes meanwhile is new to the next run.
    const parts = await rollups.parts();
    const known = await rollups.load();
    const { seen, times } = arrivals(parts, known?.seen ?? {});
    const [minutes, hours] = [closedAt("minutes", now()), closedAt("hours", now())];
    const progress = { ...(known ?? { minutes: emptyAt(minutes), hours: emptyAt(hours) }), seen };
    const run: Run = { rollups, now, log, signal, progress };
    const oldestUnixMs = Math.min(now(), ...parts.map(({ minUnixMs }) => minUnixMs));
    const enabled = (["minutes", "hours"] as const).filter((resolution) => rollups.enabled[resolution]);
    for (const resolution of ["minutes", "hours"] as const)
      if (!enabled.includes(resolution)) change(run, resolution, emptyAt(closedAt(resolution, now())));
    for (const resolution of enabled) {
      // In this order: what lies before the end of what is covered has been summed up without what came since.
      await doAgain(run, resolution, known === null ? [] : times);
      await goOn(run, resolution);
    }
    await rollups.save(run.progress);
    if (rollups.enabled.hours) await goBack(run, "hours", { oldestUnixMs, hoursMax: Number.POSITIVE_INFINITY });
    if (rollups.enabled.minutes) await goBack(run, "minutes", { oldestUnixMs, hoursMax: MINUTES_BACK_HOURS_A_RUN });
  };
  let running: Promise<void> | null = null;
  // Who asks while a run is under way waits for it.
  return (signal) => {
    running ??= once(signal).finally(() => {
      running = null;
    });
    return running;
  };
};
