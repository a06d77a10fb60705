import type { Log } from "@homeostat/schemas";
import cron from "node-cron";

/** What is done by the calendar and not by the data, in one place. */
export interface Job {
  readonly name: string;
  /** Five or six fields, as cron has them. */
  readonly when: string;
  /** Also at the start. */
  readonly isAtStart?: boolean;
  /** A long run ends when the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/** Runs never overlap; a failure is logged, and the next run comes at its time. Returns how to stop. */
export const schedule = (jobs: readonly Job[], log: Log): (() => Promise<void>) => {
  const stopping = new AbortController();
  const tasks = jobs.map(({ name, when, run, isAtStart }) => {
    let isRunning = false;
    const once = async (): Promise<void> => {
      if (isRunning || stopping.signal.aborted) return;
      isRunning = true;
      try {
        await run(stopping.signal);
      } catch (error) {
        log.warn(
          { job: name, error: error instanceof Error ? error.message : String(error) },
          "a scheduled job failed",
        );
      } finally {
        isRunning = false;
      }
    };
    if (isAtStart === true) void once();
    return cron.schedule(when, once, { name });
  });
  return async () => {
    stopping.abort();
    await Promise.all(tasks.map((task) => task.destroy()));
  };
};
