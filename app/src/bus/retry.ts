import { type After, pause } from "./timers.ts";

const FIRST_MS = 100;
const LONGEST_MS = 10_000;

/** Doubles from 100 ms to 10 s, with half of it left to chance so that many members do not come back in step. */
export const backoffMs = (failures: number, random: () => number): number =>
  Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1)) * (0.5 + random() / 2);

export interface Retry {
  readonly signal: AbortSignal;
  readonly after: After;
  readonly random: () => number;
  onFailure(error: Error, failures: number): void;
}

export const asError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

/** Tries until it succeeds; null when the signal aborts before that. */
export const retryUntilAborted = async <T>(attempt: () => Promise<T>, retry: Retry): Promise<T | null> => {
  for (let failures = 0; !retry.signal.aborted; ) {
    try {
      return await attempt();
    } catch (thrown) {
      failures += 1;
      retry.onFailure(asError(thrown), failures);
      await pause(backoffMs(failures, retry.random), retry.signal, retry.after);
    }
  }
  return null;
};
