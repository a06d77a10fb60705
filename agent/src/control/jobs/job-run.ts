import { DISPATCH_HOSTS_MAX, hasEnded, InvocationState, type Job } from "@homeostat/schemas";
import { decodeLostHosts, encodeLostHosts, type LostHosts } from "./lost-hosts.ts";

/** What has to be done next, in this order; each is done and durable before the job is asked again. */
export type JobStep =
  /** The record has changed. */
  | { readonly kind: "write"; readonly job: Job }
  | { readonly kind: "dispatch"; readonly number: number; readonly hosts: readonly string[] }
  /** All hosts of this dispatch. */
  | { readonly kind: "cancel"; readonly number: number };

const STATES = InvocationState.options;
const RANK: Readonly<Record<InvocationState, number>> = Object.fromEntries(
  STATES.map((state, index) => [state, hasEnded(state) ? STATES.length : index]),
) as Record<InvocationState, number>;
const CODE = new Map(STATES.map((state, code) => [state, code]));
const codeOf = (state: InvocationState): number => CODE.get(state) ?? 0;
/** In place of a state: it ended under another leader, and only the tables know how. */
const UNKNOWN = 255;

/** Below this a search through the names is cheaper than a map of them. */
const INDEXED_HOSTS_MIN = 16;
/** A sliding window is filled up by at least this share of it at a time: a signature covers many hosts or one. */
const SLIDE_SHARE = 1 / 8;

export const isOver = ({ state }: Pick<Job, "state">): boolean =>
  state !== "awaiting_approval" && state !== "running" && state !== "stopping";

/** Where the waves of a ramp end, counted in hosts: 1, 3, 7, … up to and with the first wave of full size; behind it the window slides. */
export const rampEnds = (concurrencyMax: number, hosts: number): readonly number[] => {
  const ends: number[] = [];
  for (let size = 1, end = 0; end < hosts; size *= 2) {
    const wave = Math.min(size, concurrencyMax);
    end = Math.min(end + wave, hosts);
    ends.push(end);
    if (wave === concurrencyMax) break;
  }
  return ends;
};

export const commandIdOf = (jobId: string, number: number): string => `${jobId}.${number}`;

/** The job and the number of its dispatch, of a command_id; null when it is not a job's. */
export const dispatchNumberOf = (commandId: string): { readonly jobId: string; readonly number: number } | null => {
  const dot = commandId.lastIndexOf(".");
  const number = commandId.slice(dot + 1);
  return dot > 0 && /^\d{1,9}$/.test(number) ? { jobId: commandId.slice(0, dot), number: Number(number) } : null;
};

/**
 * One job: which of its hosts have been sent their command, and what became of each. Pure: time comes as an argument, and what is to be
 * done is returned. It follows from the job's record, its dispatches and its results alone, so that whoever replays them stands where the
 * one before stood.
 */
export class JobRun {
  #job: Job;
  readonly #states: Uint8Array;
  readonly #at: Float64Array;
  readonly #indexes: ReadonlyMap<string, number> | null;
  readonly #rampEnds: readonly number[];
  readonly #counts: number[] = STATES.map(() => 0);
  /** Where in the hosts' order each dispatch begins; they follow each other without a gap. */
  readonly #starts: number[] = [];
  readonly #cancelled = new Set<number>();
  /** Looked for once, since nothing is sent any more by then. */
  #toCancel: ReadonlySet<number> | null = null;
  #handed = 0;
  #ended = 0;

  constructor(job: Job) {
    const count = job.hosts.length;
    this.#job = job;
    this.#states = new Uint8Array(count);
    this.#at = new Float64Array(count).fill(job.created_at_unix_ms);
    this.#indexes = count < INDEXED_HOSTS_MIN ? null : new Map(job.hosts.map((host, index) => [host, index]));
    this.#rampEnds = job.request.batch.ramp ? rampEnds(job.request.batch.concurrency_max, count) : [];
    this.#counts[codeOf("queued")] = count;
  }

  /** As the record of a job that ended under another leader tells it; null when no host is lost: then nothing can be news any more. */
  static ended(job: Job): JobRun | null {
    if (job.lost_hosts === undefined) return null;
    const run = new JobRun(job);
    run.#restore(decodeLostHosts(job.lost_hosts, job.hosts.length));
    return run;
  }

  #restore({ lost, starts }: LostHosts): void {
    const { counts, hosts, ended_at_unix_ms } = this.#job;
    this.#states.fill(UNKNOWN);
    for (const index of lost) this.#states[index] = codeOf("lost");
    this.#at.fill(ended_at_unix_ms ?? 0);
    for (const [code, state] of STATES.entries()) this.#counts[code] = counts[state] ?? 0;
    for (const start of starts) this.#starts.push(start);
    this.#handed = hosts.length - (counts.queued ?? 0);
    this.#ended = this.#handed;
  }

  get job(): Job {
    return this.#job;
  }

  /** How many hosts have been sent their command. */
  get handed(): number {
    return this.#handed;
  }

  get dispatches(): number {
    return this.#starts.length;
  }

  /** Sent, and without an end. */
  get open(): number {
    return this.#handed - this.#ended;
  }

  get errors(): number {
    return this.#ended - (this.#counts[codeOf("succeeded")] ?? 0);
  }

  counts(): Job["counts"] {
    const counts: Job["counts"] = {};
    for (const [code, state] of STATES.entries()) {
      const count = this.#counts[code] ?? 0;
      if (count > 0) counts[state] = count;
    }
    return counts;
  }

  /** What the record of a job that is over says of its hosts. */
  tally(): Pick<Job, "counts" | "lost_hosts"> {
    const counts = this.counts();
    if (counts.lost === undefined) return { counts };
    const lost: number[] = [];
    for (const [index, code] of this.#states.entries()) if (code === codeOf("lost")) lost.push(index);
    return { counts, lost_hosts: encodeLostHosts({ lost, starts: this.#starts }) };
  }

  /** The record of a job that was over already, after a lost host was heard of: what it says of its hosts changes, nothing else. */
  amended(): Job {
    const { lost_hosts: _, ...rest } = this.#job;
    return { ...rest, ...this.tally() };
  }

  // ── what has happened

  /** The record, as it now stands on the bus. */
  written(job: Job): void {
    this.#job = job;
  }

  /** This dispatch is on the bus. False, and nothing changes, when it is not the next: somebody else has written, or it came twice. */
  dispatched(number: number, hosts: readonly string[]): boolean {
    const start = this.#handed;
    const isNext = number === this.#starts.length && hosts.length > 0;
    if (!isNext || hosts.some((host, at) => this.#job.hosts[start + at] !== host)) return false;
    this.#starts.push(start);
    this.#handed += hosts.length;
    return true;
  }

  /** Its cancellation is on the bus. */
  cancelSent(number: number): void {
    this.#cancelled.add(number);
  }

  /**
   * What became of one host. False when that is not news: states only go forward, an end is final, and only `lost` gives way to what the
   * agent's journal knows.
   */
  heard(number: number, host: string, state: InvocationState, atUnixMs: number): boolean {
    const index = this.indexOf(host);
    if (index === -1 || this.#numberOf(index) !== number || !this.isKnownAt(index)) return false;
    const before = this.stateAt(index);
    const isReplaced = before === "lost" && hasEnded(state) && state !== "lost";
    if (!isReplaced && RANK[state] <= RANK[before]) return false;
    this.#states[index] = codeOf(state);
    this.#at[index] = atUnixMs;
    this.#count(before, -1);
    this.#count(state, 1);
    if (hasEnded(state) && !hasEnded(before)) this.#ended += 1;
    return true;
  }

  // ── what is to be done

  /** At most a handful of steps; empty when there is nothing to do but wait. */
  next(nowUnixMs: number, approvalsNeeded: number): readonly JobStep[] {
    switch (this.#job.state) {
      case "awaiting_approval":
        return this.#awaitApproval(nowUnixMs, approvalsNeeded);
      case "running":
        return this.#run(nowUnixMs);
      case "stopping":
        return this.#bringToAnEnd(nowUnixMs);
      default:
        return [];
    }
  }

  /** The record of this job at its end, should its last open host come to this end now; null when anything else is left to do or to wait for. */
  endedBy(number: number, host: string, state: InvocationState, nowUnixMs: number): Job | null {
    const isLast = this.open === 1 && (this.#job.state === "stopping" || this.#handed === this.#job.hosts.length);
    const index = this.indexOf(host);
    if (!isLast || index === -1 || this.#numberOf(index) !== number) return null;
    const before = this.stateAt(index);
    // Who is lost stands in the record by name.
    if (isOver(this.#job) || hasEnded(before) || !hasEnded(state) || state === "lost") return null;
    this.#count(before, -1);
    this.#count(state, 1);
    this.#ended += 1;
    const job = this.#end(this.#job, nowUnixMs);
    this.#ended -= 1;
    this.#count(state, -1);
    this.#count(before, 1);
    return job;
  }

  /** The record of a job that is cancelled now; what was never asked to begin is over at once. */
  cancelledBy(by: string, note: string, nowUnixMs: number): Job {
    const message = `cancelled by ${by}${note === "" ? "" : `: ${note}`}`.slice(0, 2_000);
    const stopping: Job = { ...this.#job, state: "stopping", stop_cause: "cancelled", message };
    return this.#job.state === "awaiting_approval" ? this.#end(stopping, nowUnixMs) : stopping;
  }

  #awaitApproval(nowUnixMs: number, needed: number): readonly JobStep[] {
    const job = this.#job;
    if (job.approvals.length >= needed) {
      const not_after_unix_ms = nowUnixMs + job.request.expires_ms;
      return [{ kind: "write", job: { ...job, state: "running", not_after_unix_ms } }];
    }
    if (nowUnixMs <= job.not_after_unix_ms) return [];
    const message = `nobody approved it in time: ${job.approvals.length} of ${needed} approvals`;
    const ended: Job = { ...job, state: "expired", ended_at_unix_ms: nowUnixMs, counts: this.counts(), message };
    return [{ kind: "write", job: ended }];
  }

  #run(nowUnixMs: number): readonly JobStep[] {
    const job = this.#job;
    const left = job.hosts.length - this.#handed;
    if (left === 0) return this.open === 0 ? [{ kind: "write", job: this.#end(job, nowUnixMs) }] : [];
    const { errors_max } = job.request.batch;
    if (this.errors > errors_max)
      return this.#stop("errors", `${this.errors} errors, more than ${errors_max}: ${left} hosts are sent nothing`);
    if (nowUnixMs > job.not_after_unix_ms) return this.#stop("expired", `out of time: ${left} hosts are sent nothing`);
    const count = this.#allowed(left);
    const steps: JobStep[] = [];
    for (let at = this.#handed, number = this.#starts.length; at < this.#handed + count; number += 1) {
      const hosts = job.hosts.slice(at, Math.min(at + DISPATCH_HOSTS_MAX, this.#handed + count));
      steps.push({ kind: "dispatch", number, hosts });
      at += hosts.length;
    }
    return steps;
  }

  #stop(stop_cause: Job["stop_cause"], message: string): readonly JobStep[] {
    return [{ kind: "write", job: { ...this.#job, state: "stopping", stop_cause, message } }];
  }

  /** How many hosts more may be sent their command now. */
  #allowed(left: number): number {
    const { concurrency_max } = this.#job.request.batch;
    const rampEnd = this.#rampEnds.find((end) => end > this.#handed);
    const isBetween = this.#handed === 0 || this.#rampEnds.includes(this.#handed);
    if (isBetween && this.open > 0) return 0;
    if (rampEnd !== undefined) return rampEnd - this.#handed;
    const free = Math.min(concurrency_max - this.open, left);
    return this.open === 0 || free === left || free >= concurrency_max * SLIDE_SHARE ? Math.max(0, free) : 0;
  }

  #bringToAnEnd(nowUnixMs: number): readonly JobStep[] {
    if (this.open === 0) return [{ kind: "write", job: this.#end(this.#job, nowUnixMs) }];
    if (this.#job.stop_cause !== "cancelled") return [];
    this.#toCancel ??= this.#openDispatches();
    return [...this.#toCancel]
      .filter((number) => !this.#cancelled.has(number))
      .map((number) => ({ kind: "cancel", number }));
  }

  #openDispatches(): ReadonlySet<number> {
    const open = new Set<number>();
    for (let index = 0; index < this.#handed; index += 1)
      if (!hasEnded(this.stateAt(index))) open.add(this.#numberOf(index));
    return open;
  }

  #end(job: Job, nowUnixMs: number): Job {
    const ended = { ...job, ended_at_unix_ms: nowUnixMs, ...this.tally() };
    if (job.stop_cause === "cancelled") return { ...ended, state: "cancelled" };
    if (job.stop_cause === "expired" && this.#handed === 0) return { ...ended, state: "expired" };
    if (job.stop_cause !== undefined || this.errors > job.request.batch.errors_max) {
      const message = job.message === "" ? `${this.errors} of ${job.hosts.length} hosts did not succeed` : job.message;
      return { ...ended, state: "failed", message };
    }
    if (this.errors === 0) return { ...ended, state: "succeeded" };
    const message = `${this.errors} of ${job.hosts.length} hosts did not succeed, and up to ${job.request.batch.errors_max} may`;
    return { ...ended, state: this.errors < job.hosts.length ? "succeeded" : "failed", message };
  }

  // ── hosts

  indexOf(host: string): number {
    return this.#indexes === null ? this.#job.hosts.indexOf(host) : (this.#indexes.get(host) ?? -1);
  }

  stateAt(index: number): InvocationState {
    return STATES[this.#states[index] ?? 0] ?? "queued";
  }

  /** False of a host whose end another leader heard. */
  isKnownAt(index: number): boolean {
    return this.#states[index] !== UNKNOWN;
  }

  changedAt(index: number): number {
    return this.#at[index] ?? 0;
  }

  /** Empty while this host has not been sent its command. */
  commandIdAt(index: number): string {
    const number = this.#numberOf(index);
    return number === -1 ? "" : commandIdOf(this.#job.job_id, number);
  }

  /** The dispatch that holds this host; -1 when none does yet. */
  #numberOf(index: number): number {
    if (index < 0 || index >= this.#handed) return -1;
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #count(state: InvocationState, by: 1 | -1): void {
    const code = codeOf(state);
    this.#counts[code] = (this.#counts[code] ?? 0) + by;
  }
}
