import type { Job } from "@homeostat/schemas";
import { ApiError } from "./client.ts";
import { STOPPED_EARLY } from "./verb.ts";

/** What scripts may rely on; the same list stands in the help and in docs/COMMANDS.md. */
export const EXIT = {
  succeeded: 0,
  failed: 1,
  calledWrongly: 2,
  lost: 3,
  refused: 4,
  nothingReached: 5,
  timedOutWaiting: 124,
  stoppedEarly: STOPPED_EARLY,
} as const;

export const EXIT_CODES: readonly (readonly [number, string])[] = [
  [EXIT.succeeded, "all succeeded"],
  [EXIT.failed, "some failed, timed out, were cancelled or refused by their host"],
  [EXIT.calledWrongly, "called wrongly"],
  [EXIT.lost, "the outcome of some is unknown (lost)"],
  [EXIT.refused, "refused: by policy, for want of a role, by who had to approve, or by every host"],
  [EXIT.nothingReached, "nothing was reached: no host is selected, or all had expired"],
  [EXIT.timedOutWaiting, "--wait-for was over; the job goes on"],
  [EXIT.stoppedEarly, "Ctrl-C; the job goes on"],
];

export type Counts = Job["counts"];

/** Of a job that has ended. What is unknown weighs most: a script must not take it for a plain failure. */
export const exitCodeOf = (job: Pick<Job, "state" | "hosts">, counts: Counts): number => {
  const of = (state: keyof Counts): number => counts[state] ?? 0;
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  if (of("lost") > 0) return EXIT.lost;
  if (job.state === "rejected") return EXIT.refused;
  if (job.state === "expired" && of("succeeded") === 0 && of("failed") === 0) return EXIT.nothingReached;
  if (all > 0 && of("expired") === all) return EXIT.nothingReached;
  if (all > 0 && of("refused") === all) return EXIT.refused;
  return job.state === "succeeded" && of("succeeded") === all ? EXIT.succeeded : EXIT.failed;
};

const NOTHING_REACHED: ReadonlySet<string> = new Set(["no_targets"]);
const STATUS_BAD_REQUEST = 400;
const REFUSED_STATUSES: ReadonlySet<number> = new Set([401, 403, 409]);

/** Of a request that the platform did not take; null: a failure of another sort. */
export const exitCodeOfRefusal = (error: unknown): number | null => {
  if (!(error instanceof ApiError) || error.status === null) return null;
  if (NOTHING_REACHED.has(error.refusal)) return EXIT.nothingReached;
  if (error.status === STATUS_BAD_REQUEST) return EXIT.calledWrongly;
  return REFUSED_STATUSES.has(error.status) ? EXIT.refused : null;
};
