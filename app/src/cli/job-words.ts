import type { InvocationState, Job } from "@homeostat/schemas";

const GOES_ON: ReadonlySet<Job["state"]> = new Set(["awaiting_approval", "running", "stopping"]);

/** For people: what still waits when its job has ended will never be sent. */
export const stateWord = (state: InvocationState, job: Pick<Job, "state">): string =>
  state === "queued" && !GOES_ON.has(job.state) ? "not sent" : state;

/** False of a job that ended so long ago that its hosts' states are forgotten, and only counted: those that look queued are not. */
export const isQueueKnown = (states: Iterable<InvocationState>, { counts }: Pick<Job, "counts">): boolean =>
  [...states].filter((state) => state === "queued").length <= (counts.queued ?? 0);

/** `1 host`, `2 hosts`. */
export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;
