import type { Log } from "@homeostat/schemas";
import type { JobEvent } from "../views.ts";

export type JobListener = (event: JobEvent) => void;

/** Of one job; whoever comes later is told so and may ask for the job's state instead. */
const FOLLOWERS_MAX = 100;

/** Who hears how a job gets on. */
export class Followers {
  readonly #byJob = new Map<string, Set<JobListener>>();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @throws RangeError when there are too many of this job. */
  add(jobId: string, listener: JobListener): () => void {
    const listeners = this.#byJob.get(jobId) ?? new Set();
    if (listeners.size >= FOLLOWERS_MAX) throw new RangeError(`${FOLLOWERS_MAX} follow the job ${jobId} already`);
    this.#byJob.set(jobId, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#byJob.get(jobId) === listeners) this.#byJob.delete(jobId);
    };
  }

  has(jobId: string): boolean {
    return this.#byJob.has(jobId);
  }

  tell(jobId: string, event: JobEvent): void {
    const listeners = this.#byJob.get(jobId);
    if (listeners === undefined) return;
    for (const listener of [...listeners]) {
      try {
        listener(event);
      } catch (thrown) {
        listeners.delete(listener);
        this.#log.warn({ err: thrown, job_id: jobId }, "a follower of a job failed and is let go");
      }
    }
    if (event.type === "end" || listeners.size === 0) this.#byJob.delete(jobId);
  }
}
