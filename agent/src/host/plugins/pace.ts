/** How long everything about plugins waits, in milliseconds. One place, so that a test can make it short. */
export interface Pace {
  /** Before the first restart of a resident plugin; doubled each time, with jitter, up to the second. */
  readonly backOffMs: number;
  readonly backOffMsMax: number;
  /** Before one piece of an artefact is asked for again, a few times; doubled each time. */
  readonly pieceRetryMs: number;
  /** Before an artefact that could not be fetched is asked for again; doubled each time. */
  readonly fetchRetryMs: number;
  readonly fetchRetryMsMax: number;
  /** Between the end of stdin and SIGTERM, and between that and SIGKILL. */
  readonly stopGraceMs: number;
  /** Within this restarts are counted against the budget. */
  readonly restartWindowMs: number;
  /** For unpacking one artefact. */
  readonly unpackMs: number;
}

export const PACE: Pace = {
  backOffMs: 1_000,
  backOffMsMax: 60_000,
  pieceRetryMs: 1_000,
  fetchRetryMs: 5_000,
  fetchRetryMsMax: 300_000,
  stopGraceMs: 2_000,
  restartWindowMs: 600_000,
  unpackMs: 120_000,
};

/** Half of it is jitter, so that a fleet does not move in step. */
export const backOff = (
  attempt: number,
  { firstMs, mostMs, random }: { firstMs: number; mostMs: number; random: () => number },
): number => Math.min(mostMs, firstMs * 2 ** Math.min(attempt, 20)) * (0.5 + random() / 2);
