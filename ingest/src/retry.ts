import type { Log } from "@homeostat/schemas";
import type { IngestCounts } from "./ingest-counts.ts";
import type { StoreHealth } from "./store-health.ts";

const FIRST_DELAY_MS = 250;
const DELAY_MS_MAX = 30_000;

/** Resolves after `ms`, or rejects when the signal aborts. */
export type Wait = (ms: number, signal: AbortSignal) => Promise<void>;

export interface Attempt {
  /** For the log: `insert logs`. */
  readonly what: string;
  /** The partition, `topic:partition`. */
  readonly at: string;
  readonly signal: AbortSignal;
}

/** Repeats `run` for as long as its errors say that it helps. */
export type Retry = <T>(attempt: Attempt, run: () => Promise<T>) => Promise<T>;

export interface RetryOptions {
  readonly health: StoreHealth;
  readonly counts: IngestCounts;
  readonly log: Log;
  readonly random: () => number;
  readonly wait: Wait;
}

/** BusError, InsertError and the store's own errors say it; what does not say it is a defect, and a retry hides it. */
const isRetryable = (error: unknown): error is Error =>
  error instanceof Error && "retryable" in error && error.retryable === true;

/** The one place of ingest that retries. Waiting here is the back-pressure: the partition receives nothing meanwhile. */
export const createRetry =
  ({ health, counts, log, random, wait }: RetryOptions): Retry =>
  async ({ what, at, signal }, run) => {
    let delayMs = FIRST_DELAY_MS;
    for (let count = 1; ; count++) {
      signal.throwIfAborted();
      try {
        const result = await run();
        if (count > 1) await health.worked(at);
        return result;
      } catch (error) {
        if (!isRetryable(error) || signal.aborted) {
          if (count > 1) await health.worked(at);
          throw error;
        }
        counts.retries++;
        log.warn({ what, at, attempt: count, error: error.message }, "failed, will be tried again");
        await health.failed(at, error);
      }
      const jittered = delayMs * (0.5 + random() / 2);
      await waitOrForget({ health, at, wait, signal, ms: Math.min(jittered, health.msUntilReport) });
      delayMs = Math.min(delayMs * 2, DELAY_MS_MAX);
    }
  };

const waitOrForget = async (options: {
  health: StoreHealth;
  at: string;
  wait: Wait;
  signal: AbortSignal;
  ms: number;
}): Promise<void> => {
  try {
    await options.wait(options.ms, options.signal);
  } catch (error) {
    // The partition is somebody else's now, and so is its trouble.
    await options.health.worked(options.at);
    throw error;
  }
};
