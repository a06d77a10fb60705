import type { Log } from "@homeostat/schemas";
import type { JobEvent } from "../views.ts";

type OutputEvent = Extract<JobEvent, { type: "output" }>;
export type JobListener = (event: JobEvent) => void;

/** Of one job; whoever comes later is told so and may ask for the job's state instead. */
const FOLLOWERS_MAX = 100;
/**
 * Of output that came before anybody followed its job, of all jobs: whoever asks for a job follows it a moment later, and would miss the
 * beginning. Beyond, what is kept of the oldest job is let go; results hold it.
 */
const EARLY_CHARS_MAX = 1_048_576;
/** What an event takes besides its data, which may be empty. */
const EVENT_CHARS = 256;

/** Who hears how a job gets on. */
export class Followers {
  readonly #byJob = new Map<string, Set<JobListener>>();
  readonly #early = new Map<string, OutputEvent[]>();
  readonly #log: Log;
  #earlyChars = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @throws RangeError when there are too many of this job. */
  add(jobId: string, listener: JobListener): () => void {
    const listeners = this.#byJob.get(jobId) ?? new Set();
    if (listeners.size >= FOLLOWERS_MAX) throw new RangeError(`${FOLLOWERS_MAX} follow the job ${jobId} already`);
    this.#byJob.set(jobId, listeners.add(listener));
    for (const event of this.#takeEarly(jobId)) this.#tellOne(listeners, listener, { jobId, event });
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#byJob.get(jobId) === listeners) this.#byJob.delete(jobId);
    };
  }

  has(jobId: string): boolean {
    return this.#byJob.has(jobId);
  }

  /** The term is over. */
  leave(message: string): void {
    for (const jobId of [...this.#byJob.keys()]) this.tell(jobId, { type: "left", message });
  }

  tell(jobId: string, event: JobEvent): void {
    const listeners = this.#byJob.get(jobId);
    if (listeners === undefined) {
      if (event.type === "output") this.#keep(jobId, event);
      else if (event.type === "end") this.#takeEarly(jobId);
      return;
    }
    for (const listener of [...listeners]) this.#tellOne(listeners, listener, { jobId, event });
    if (event.type === "end" || event.type === "left" || listeners.size === 0) this.#byJob.delete(jobId);
  }

  #tellOne(
    listeners: Set<JobListener>,
    listener: JobListener,
    { jobId, event }: { readonly jobId: string; readonly event: JobEvent },
  ): void {
    try {
      listener(event);
    } catch (thrown) {
      listeners.delete(listener);
      this.#log.warn({ err: thrown, job_id: jobId }, "a follower of a job failed and is let go");
    }
  }

  #keep(jobId: string, event: OutputEvent): void {
    const kept = this.#early.get(jobId) ?? [];
    kept.push(event);
    this.#early.set(jobId, kept);
    this.#earlyChars += event.data.length + EVENT_CHARS;
    for (const oldest of this.#early.keys()) {
      if (this.#earlyChars <= EARLY_CHARS_MAX) break;
      this.#takeEarly(oldest);
    }
  }

  #takeEarly(jobId: string): readonly OutputEvent[] {
    const kept = this.#early.get(jobId) ?? [];
    this.#early.delete(jobId);
    for (const { data } of kept) this.#earlyChars -= data.length + EVENT_CHARS;
    return kept;
  }
}
