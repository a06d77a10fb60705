import { type CommandResult, hasEnded, type InvocationState, type Job } from "@homeostat/schemas";
import type { Standing } from "../dispatcher.ts";
import type { JobFilter, JobView } from "../views.ts";
import { dispatchNumberOf, isOver, JobRun } from "./job-run.ts";
import { OtherShares } from "./other-shares.ts";
import { Outputs } from "./outputs.ts";

/** Of jobs that have ended: beyond either, the oldest leave memory and their topic; their results stay in the tables. */
const OVER_JOBS_MAX = 10_000;
const OVER_HOSTS_MAX = 200_000;
const LIST_DEFAULT = 100;
const LIST_MAX = 1_000;

interface Kept {
  readonly job: Job;
  /** null when it ended under another leader, and no host of it can be heard of any more. */
  readonly run: JobRun | null;
  /** False when it ended under another leader, who alone heard its hosts; `run` knows the lost ones then. */
  readonly isComplete: boolean;
}

export interface Heard {
  readonly run: JobRun;
  readonly isNews: boolean;
}

/** All jobs that are known: the live ones, and of those that have ended the newest. */
export class JobBook {
  readonly #live = new Map<string, JobRun>();
  readonly #over = new Map<string, Kept>();
  readonly #outputs = new Outputs();
  /** Where the bus stood when a job began to run, in the order of their beginnings. */
  readonly #standings = new Map<string, Standing>();
  /** By site, the hosts of jobs that run and change something. */
  readonly #openAt = new Map<string, number>();
  /** Of what is not a job. */
  readonly others = new OtherShares();
  #overHosts = 0;

  get open(): number {
    return this.#live.size;
  }

  live(): readonly JobRun[] {
    return [...this.#live.values()];
  }

  liveRun(jobId: string): JobRun | null {
    return this.#live.get(jobId) ?? null;
  }

  jobOf(jobId: string): Job | null {
    return this.#live.get(jobId)?.job ?? this.#over.get(jobId)?.job ?? null;
  }

  /** As it is now, with what has been counted by now. */
  current(jobId: string): Job | null {
    const job = this.jobOf(jobId);
    const run = this.#live.get(jobId) ?? this.#over.get(jobId)?.run;
    return job === null || run === undefined || run === null ? job : { ...job, counts: run.counts() };
  }

  /** The job that a command belongs to, live or over; null when it is none of ours. */
  runOf(commandId: string): { readonly run: JobRun; readonly number: number } | null {
    const named = dispatchNumberOf(commandId);
    if (named === null) return null;
    const run = this.#live.get(named.jobId) ?? this.#over.get(named.jobId)?.run ?? null;
    return run === null ? null : { run, number: named.number };
  }

  isOver(commandId: string): boolean {
    const named = dispatchNumberOf(commandId);
    return named !== null && this.#over.has(named.jobId);
  }

  add(job: Job): JobRun {
    const run = new JobRun(job);
    this.#live.set(job.job_id, run);
    return run;
  }

  /** From its topic, at the beginning of a term. Returns the jobs that are to leave the topic. */
  load(job: Job): readonly string[] {
    this.drop(job.job_id);
    if (!isOver(job)) {
      this.add(job);
      return [];
    }
    this.#keep({ job, run: JobRun.ended(job), isComplete: false });
    return this.#forgetOldest();
  }

  drop(jobId: string): void {
    this.#live.delete(jobId);
    const kept = this.#over.get(jobId);
    if (kept === undefined) return;
    this.#over.delete(jobId);
    this.#overHosts -= kept.job.hosts.length;
  }

  /** Whoever takes over has to read commands and results from here on, until the job is over. */
  began(jobId: string, standing: Standing): void {
    if (this.#standings.has(jobId)) return;
    this.#standings.set(jobId, standing);
    this.#countSites(this.#live.get(jobId)?.job, 1);
  }

  /**
   * What a job's grants say of its sites: its own hosts and those of all others that run at the same time, also of remediation, so that no
   * share of a site is exceeded by many small jobs. A host that two of them name counts twice; what only looks counts for nobody else.
   */
  sitesOf(job: Job): Job["sites"] {
    const isCounted = this.#standings.has(job.job_id) && job.risk !== "read_only";
    return Object.fromEntries(
      Object.entries(job.sites).map(([site, { targeted, of }]) => {
        const others = (this.#openAt.get(site) ?? 0) - (isCounted ? targeted : 0) + this.others.at(site);
        return [site, { targeted: Math.max(targeted, Math.min(of, targeted + others)), of }];
      }),
    );
  }

  /** Hosts of a site that jobs are changing. */
  changingAt(site: string): number {
    return this.#openAt.get(site) ?? 0;
  }

  #countSites(job: Job | undefined, by: 1 | -1): void {
    if (job === undefined || job.risk === "read_only") return;
    for (const [site, { targeted }] of Object.entries(job.sites)) {
      const open = (this.#openAt.get(site) ?? 0) + by * targeted;
      if (open > 0) this.#openAt.set(site, open);
      else this.#openAt.delete(site);
    }
  }

  oldest(): Standing | null {
    const first = this.#standings.values().next();
    return first.done === true ? null : first.value;
  }

  /** Returns the jobs that are to leave the topic. */
  ended(run: JobRun): readonly string[] {
    const { job } = run;
    this.#live.delete(job.job_id);
    if (this.#standings.delete(job.job_id)) this.#countSites(job, -1);
    this.#keep({ job, run, isComplete: true });
    return this.#forgetOldest();
  }

  /** Its record has changed after its end. */
  amended(run: JobRun): readonly string[] {
    const kept = this.#over.get(run.job.job_id);
    if (kept !== undefined) this.#over.set(run.job.job_id, { ...kept, job: run.job });
    return [];
  }

  /** Null when the command is of no job that is known. */
  heard(result: CommandResult, atUnixMs: number): Heard | null {
    const found = this.runOf(result.command_id);
    if (found === null) {
      this.others.heard(result);
      return null;
    }
    const isNews = found.run.heard(found.number, result.host, result.state, atUnixMs);
    if (isNews && hasEnded(result.state)) this.#outputs.keep(result);
    return { run: found.run, isNews };
  }

  /** What is known to have become of an invocation; null when it is of no job that is known. */
  stateOf(commandId: string, host: string): InvocationState | null {
    const found = this.runOf(commandId);
    const index = found?.run.indexOf(host) ?? -1;
    if (found === null || index === -1 || found.run.commandIdAt(index) !== commandId) return null;
    return found.run.isKnownAt(index) ? found.run.stateAt(index) : null;
  }

  view(jobId: string): JobView | null {
    const kept = this.#over.get(jobId);
    const run = this.#live.get(jobId) ?? kept?.run ?? null;
    const job = this.jobOf(jobId);
    if (job === null) return null;
    const counts = run?.counts() ?? job.counts;
    if (run === null || kept?.isComplete === false)
      return { job: { ...job, counts }, invocations: [], is_complete: false };
    const invocations = job.hosts.map((host, index) => {
      const command_id = run.commandIdAt(index);
      const { result, isElided } = this.#outputs.get(command_id, host);
      const at_unix_ms = run.changedAt(index);
      return { host, command_id, state: run.stateAt(index), result, is_output_elided: isElided, at_unix_ms };
    });
    return { job: { ...job, counts }, invocations, is_complete: true };
  }

  /** Newest first. */
  list({ states, requested_by, executor, host, limit = LIST_DEFAULT }: JobFilter): readonly Job[] {
    const max = Math.min(LIST_MAX, Math.max(1, limit));
    const found: Job[] = [];
    for (const job of this.#newestFirst()) {
      if (states !== undefined && !states.includes(job.state)) continue;
      if (requested_by !== undefined && job.requested_by !== requested_by) continue;
      if (executor !== undefined && job.request.executor !== executor) continue;
      if (host !== undefined && !job.hosts.includes(host)) continue;
      found.push(job);
      if (found.length >= max) break;
    }
    return found;
  }

  #newestFirst(): readonly Job[] {
    const live = [...this.#live.values()].map((run) => ({ ...run.job, counts: run.counts() }));
    const over = [...this.#over.values()].map(({ job }) => job);
    return [...live, ...over].sort((a, b) => b.created_at_unix_ms - a.created_at_unix_ms);
  }

  #keep(kept: Kept): void {
    this.#over.set(kept.job.job_id, kept);
    this.#overHosts += kept.job.hosts.length;
  }

  #forgetOldest(): readonly string[] {
    const forgotten: string[] = [];
    for (const [jobId, { job, run }] of this.#over) {
      if (this.#over.size <= OVER_JOBS_MAX && this.#overHosts <= OVER_HOSTS_MAX) break;
      forgotten.push(jobId);
      this.drop(jobId);
      if (run !== null)
        for (const [index, host] of job.hosts.entries()) this.#outputs.drop(run.commandIdAt(index), host);
    }
    return forgotten;
  }
}
