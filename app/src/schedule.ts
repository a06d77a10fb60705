import type { Log } from "@homeostat/schemas";
import cron from "node-cron";

/** What is done by the calendar and not by the data, in one place. */
export interface Job {
  readonly name: string;
  /** Five or six fields, as cron has them. */
  readonly when: string;
  run(): Promise<void>;
}

/** Runs never overlap; a failure is logged, and the next run comes at its time. Returns how to stop. */
export const schedule = (jobs: readonly Job[], log: Log): (() => Promise<void>) => {
  const tasks = jobs.map(({ name, when, run }) =>
    cron.schedule(
      when,
      async () => {
        try {
          await run();
        } catch (error) {
          log.warn(
            { job: name, error: error instanceof Error ? error.message : String(error) },
            "a scheduled job failed",
          );
        }
      },
      { name, noOverlap: true },
    ),
  );
  return async () => {
    await Promise.all(tasks.map((task) => task.destroy()));
  };
};
