import { hash } from "node:crypto";
import {
  type Approval,
  type CommandResult,
  type Dispatch,
  hasEnded,
  type InvocationState,
  type Job,
  type JobRequest,
  MESSAGE_BYTES_MAX,
  type OutgoingMessage,
  type Progress,
  readCanonical,
} from "@homeostat/schemas";
import type { AuditDetails } from "../audit/audit.ts";
import type { PolicyConfig } from "../control-config.ts";
import { Deadlines } from "../deadlines.ts";
import type { Dispatcher, Standing } from "../dispatcher.ts";
import {
  approvalsNeeded,
  mayApprove,
  mayStop,
  type PlanPorts,
  planOf,
  RequestRate,
  tooLarge,
  wavesOf,
} from "../policy.ts";
import type { Candidates } from "../targets.ts";
import type { JobPreview, JobView, Principal, Refused } from "../views.ts";
import type { Followers } from "./followers.ts";
import { type Audited, JobRecords, type JobRecordsPorts } from "./job-records.ts";
import { isOver, type JobRun, type JobStep } from "./job-run.ts";

export interface JobsPorts extends JobRecordsPorts {
  readonly dispatcher: Dispatcher;
  readonly agents: Candidates;
  readonly followers: Followers;
  readonly config: PolicyConfig;
  readonly published: PlanPorts["published"];
  standing(): Standing;
  /** It speaks to the bus itself, and may be read there before we are told that its command is. */
  isOnBus(host: string): boolean;
  /** The bus may hold what we do not know of: the term ends, and the next begins from what the bus holds. */
  onDoubt(thrown: unknown): void;
  readonly newId: () => string;
}

interface Dispatched {
  readonly number: number;
  readonly dispatch: Dispatch;
  /** Where the bus stood before it was there. */
  readonly standing: Standing;
}

/** Commands whose results came before the word that they were sent; there are a few at a time, or somebody makes them up. */
const EARLY_MAX = 10_000;
/** Of last results that go with the ends of their jobs; beyond, they go their own way, which has its own bound. */
const ENDING_BYTES_MAX = 16_777_216;

const notFound = (id: string): Refused => ({ refused: "not_found", message: `there is no job ${id}` });

/** All of them stand in the job's record. */
const HOSTS_AUDITED_MAX = 20;

/** null: they have no canonical form, which is why the request was refused. */
const digestOf = (args: JobRequest["args"]): string | null => {
  const canonical = readCanonical(args);
  return "flaw" in canonical ? null : hash("sha256", canonical.json);
};

/** Of a request in the audit log: what was asked, by the digest of its arguments, which may hold secrets. */
const summaryOf = (request: JobRequest): AuditDetails => ({
  executor: request.executor,
  args_sha256: digestOf(request.args),
  labels: request.targets.labels ?? null,
  site: request.targets.site ?? null,
  percent: request.targets.percent ?? null,
  hosts_named: request.targets.hosts?.slice(0, HOSTS_AUDITED_MAX) ?? [],
  hosts_named_count: request.targets.hosts?.length ?? 0,
  reason: request.reason,
});

/**
 * Jobs of one term. What is done with one job is done one thing after the other; different jobs do not wait for each other. A record, a
 * dispatch or a cancellation is on the bus before anything follows from it.
 */
export class Jobs {
  readonly #ports: JobsPorts;
  readonly #tails = new Map<JobRun, Promise<unknown>>();
  readonly #kicked = new Set<JobRun>();
  readonly #deadlines = new Deadlines<JobRun>();
  readonly #rate: RequestRate;
  /** Of last results on their way. */
  #endingBytes = 0;
  readonly #early = new Map<string, CommandResult[]>();
  readonly #records: JobRecords;
  /** Of jobs that were over. */
  readonly #amending = new Map<JobRun, Promise<void>>();

  constructor(ports: JobsPorts) {
    this.#ports = ports;
    this.#records = new JobRecords(ports);
    this.#rate = new RequestRate(ports.config.requests_per_minute_max);
  }

  /**
   * All that lives goes on where it was; `forgotten` are jobs that no longer fit and leave their topic, `repeated` those at whose end there
   * an old record lies.
   */
  resume(forgotten: readonly string[], repeated: readonly string[]): void {
    this.#writeAgain(repeated).catch((thrown: unknown) => this.#ports.onDoubt(thrown));
    this.#records.remove(forgotten).catch((thrown: unknown) => this.#ports.onDoubt(thrown));
    for (const run of this.#ports.book.live()) {
      this.#watch(run.job, run);
      this.kick(run);
    }
  }

  tick(): void {
    for (const run of this.#deadlines.due(this.#ports.now())) {
      if (!isOver(run.job)) this.kick(run);
    }
  }

  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.allSettled([...this.#tails.values()]);
  }

  // ── what people ask

  preview(request: JobRequest, by: Principal): JobPreview | Refused {
    const plan = planOf(request, by, this.#ports);
    return "refused" in plan ? plan : { ...plan, waves: wavesOf(request, plan.hosts.length) };
  }

  async submit(request: JobRequest, by: Principal): Promise<Job | Refused> {
    const { config, book, now } = this.#ports;
    const limited = await this.#limit(by, "job.submit");
    if (limited !== null) return limited;
    const plan = planOf(request, by, this.#ports);
    if ("refused" in plan) return this.#refuse(plan, { by, what: "job.submit", subject: "", request });
    if (book.open >= config.jobs_open_max)
      return this.#refuse(
        { refused: "over_limit", message: `${book.open} jobs are open: at most ${config.jobs_open_max} may be` },
        { by, what: "job.submit", subject: "", request },
      );
    const isWaiting = plan.needs_approval > 0;
    const created = now();
    const job: Job = {
      job_id: this.#ports.newId(),
      request,
      requested_by: by.name,
      risk: plan.risk,
      state: isWaiting ? "awaiting_approval" : "running",
      hosts: [...plan.hosts],
      sites: plan.sites,
      approvals: [],
      created_at_unix_ms: created,
      not_after_unix_ms: created + (isWaiting ? config.approval_expires_ms : request.expires_ms),
      ended_at_unix_ms: null,
      counts: {},
      message: "",
    };
    const refused = tooLarge(job);
    if (refused !== null) return this.#refuse(refused, { by, what: "job.submit", subject: "", request });
    return this.#make(job);
  }

  /** Its record, what is audited of it, and its first dispatch are made durable together. */
  async #make(job: Job): Promise<Job> {
    const { book, audit, now, config } = this.#ports;
    const details = { ...summaryOf(job.request), risk: job.risk, hosts: job.hosts.length, state: job.state };
    const run = book.add(job);
    const standing = this.#ports.standing();
    if (job.state === "running") book.began(job.job_id, standing);
    await this.#exclusively(run, async () => {
      const [step] = run.next(now(), approvalsNeeded(job, config));
      const messages = [this.#records.of(job)];
      const first = step?.kind === "dispatch" ? this.#records.dispatchOf(job, step.number, step.hosts) : null;
      if (first !== null) messages.push(this.#records.orderOf(first.signed.grant.command_id, first));
      await audit.appendWith({ who: job.requested_by, what: "job.submitted", subject: job.job_id, details }, messages);
      this.#watch(job, run);
      if (first !== null) this.#dispatched(run, { number: 0, dispatch: first, standing });
    });
    this.kick(run);
    return job;
  }

  async approve(id: string, by: Principal): Promise<Job | Refused> {
    return this.#decide(id, by, "job.approve", async (run) => {
      const { job } = run;
      const barred = mayApprove(job, by) ?? this.#notAwaiting(job);
      if (barred !== null) return barred;
      const approval: Approval = { by: by.name, at_unix_ms: this.#ports.now() };
      const approved = { ...job, approvals: [...job.approvals, approval] };
      await this.#write(run, approved, {
        who: by.name,
        what: "job.approved",
        details: { approvals: approved.approvals.length },
      });
      await this.#work(run);
      return run.job;
    });
  }

  async reject(id: string, by: Principal, note: string): Promise<Job | Refused> {
    return this.#decide(id, by, "job.reject", async (run) => {
      const { job } = run;
      const isMine = by.name === job.requested_by;
      const barred = (isMine ? null : mayApprove({ ...job, approvals: [] }, by)) ?? this.#notAwaiting(job);
      if (barred !== null) return barred;
      const message = `rejected by ${by.name}${note === "" ? "" : `: ${note}`}`.slice(0, 2_000);
      const rejected: Job = {
        ...job,
        state: "rejected",
        ended_at_unix_ms: this.#ports.now(),
        counts: run.counts(),
        message,
      };
      await this.#write(run, rejected, { who: by.name, what: "job.rejected", details: { note } });
      return run.job;
    });
  }

  async cancel(id: string, by: Principal, note: string): Promise<Job | Refused> {
    return this.#decide(id, by, "job.cancel", async (run) => {
      const { job } = run;
      const barred = mayStop(job, by);
      if (barred !== null) return barred;
      if (isOver(job)) return { refused: "wrong_state", message: `job ${id} is ${job.state} already` };
      if (job.stop_cause === "cancelled") return job;
      const cancelled = run.cancelledBy(by.name, note, this.#ports.now());
      await this.#write(run, cancelled, { who: by.name, what: "job.cancelled", details: { note } });
      await this.#work(run);
      return run.job;
    });
  }

  #notAwaiting(job: Job): Refused | null {
    const isLate = this.#ports.now() > job.not_after_unix_ms;
    if (job.state === "awaiting_approval" && !isLate) return null;
    const message = `job ${job.job_id} is ${isLate && !isOver(job) ? "expired" : job.state}, not awaiting approval`;
    return { refused: "wrong_state", message };
  }

  async #decide(
    id: string,
    by: Principal,
    what: string,
    decide: (run: JobRun) => Promise<Job | Refused>,
  ): Promise<Job | Refused> {
    const limited = await this.#limit(by, what);
    if (limited !== null) return limited;
    const run = this.#ports.book.liveRun(id);
    const job = this.#ports.book.jobOf(id);
    if (run === null)
      return job === null ? notFound(id) : { refused: "wrong_state", message: `job ${id} is ${job.state} already` };
    const decided = await this.#exclusively(run, () => decide(run));
    return "refused" in decided ? this.#refuse(decided, { by, what, subject: id }) : decided;
  }

  /** Refused attempts are told apart from what was done by their name. */
  async #refuse(
    refused: Refused,
    { by, what, subject, request }: { by: Principal; what: string; subject: string; request?: JobRequest },
  ): Promise<Refused> {
    const details = { code: refused.refused, why: refused.message.slice(0, 1_000), ...(request && summaryOf(request)) };
    await this.#ports.audit.append(by.name, `${what}.refused`, subject, details);
    return refused;
  }

  async #limit(by: Principal, what: string): Promise<Refused | null> {
    const over = this.#rate.take(by.name, this.#ports.now());
    if (over === null) return null;
    return over.isFirst ? this.#refuse(over.refused, { by, what, subject: "" }) : over.refused;
  }

  view(id: string): JobView | null {
    return this.#ports.book.view(id);
  }

  // ── what is heard

  /** A result that is on the bus. */
  settled(result: CommandResult): void {
    const found = this.#ports.book.runOf(result.command_id);
    if (found !== null && found.number >= found.run.dispatches && !isOver(found.run.job)) {
      if (this.#ports.isOnBus(result.host)) this.#keepEarly(result);
      return;
    }
    // What is being written of it at this moment may say that it is lost.
    const isBeingWritten = found !== null && this.#tails.has(found.run);
    const wasLost = isBeingWritten && this.#ports.book.stateOf(result.command_id, result.host) === "lost";
    const run = this.#hear(result);
    if (run === null) return;
    if (isOver(run.job) || wasLost) this.#amend(run);
    else this.kick(run);
  }

  /** The job that this is news to, if any. */
  #hear(result: CommandResult): JobRun | null {
    const { book, followers, dispatcher, now } = this.#ports;
    const heard = book.heard(result, result.ended_at_unix_ms ?? now());
    if (hasEnded(result.state)) dispatcher.settled(result.command_id, result.host);
    if (heard === null || !heard.isNews) return null;
    followers.tell(heard.run.job.job_id, { type: "result", result });
    return heard.run;
  }

  /**
   * A result that is not on the bus yet and is the last that its job waits for: both it (`record`) and the end of the job are made durable
   * together, which saves whoever waits a flush of the disk. null: it is not, and goes its own way.
   */
  endWith(result: CommandResult, record: OutgoingMessage): Promise<void> | null {
    const found = this.#ports.book.runOf(result.command_id);
    if (found === null || found.run.open !== 1) return null;
    const { run, number } = found;
    if (this.#tails.has(run) || this.#kicked.has(run)) return null;
    const bytes = record.value?.byteLength ?? 0;
    const isTooLarge = bytes > MESSAGE_BYTES_MAX || this.#endingBytes + bytes > ENDING_BYTES_MAX;
    if (isTooLarge || this.#ports.isEndAudited(run.job.job_id)) return null;
    const job = run.endedBy(number, result.host, result.state, this.#ports.now());
    if (job === null) return null;
    this.#endingBytes += bytes;
    return this.#exclusively(run, async () => {
      await this.#records.write(job, { before: run.job, audited: null, behind: [record] });
      this.#hear(result);
      await this.#written(run, job);
    }).finally(() => {
      this.#endingBytes -= bytes;
    });
  }

  /** An agent on the bus may answer before we are told that the command is there. */
  #keepEarly(result: CommandResult): void {
    const early = this.#early.get(result.command_id);
    if (early !== undefined) {
      // One of each host: the first end counts.
      if (!early.some(({ host }) => host === result.host)) early.push(result);
    } else if (this.#early.size < EARLY_MAX) this.#early.set(result.command_id, [result]);
    else this.#ports.onDoubt(new Error(`${EARLY_MAX} commands have results and were never sent`));
  }

  /** A lost one was heard of after all, when the job was over: its counts change, nothing else. */
  #amend(run: JobRun): void {
    const amending = this.#exclusively(run, () =>
      isOver(run.job) ? this.#write(run, run.amended(), null) : this.#work(run),
    );
    this.#amending.set(run, amending);
    const done = () => {
      if (this.#amending.get(run) === amending) this.#amending.delete(run);
    };
    amending.then(done, done);
  }

  /** While the record of the job of this command is being written anew. */
  amending(commandId: string): Promise<void> | null {
    if (this.#amending.size === 0) return null;
    const found = this.#ports.book.runOf(commandId);
    return found === null ? null : (this.#amending.get(found.run) ?? null);
  }

  changed(commandId: string, host: string, state: InvocationState, atUnixMs: number): void {
    const found = this.#ports.book.runOf(commandId);
    if (found === null || !found.run.heard(found.number, host, state, atUnixMs)) return;
    const event = { type: "invocation", host, command_id: commandId, state, at_unix_ms: atUnixMs } as const;
    this.#ports.followers.tell(found.run.job.job_id, event);
  }

  progressed({ command_id, host, at_unix_ms, state, output }: Progress): void {
    const { dispatcher, book, followers } = this.#ports;
    dispatcher.progressed(command_id, host, state, at_unix_ms);
    const run = output === null ? undefined : book.runOf(command_id)?.run;
    // Only of a host that was sent this command.
    const jobId = run?.commandIdAt(run.indexOf(host)) === command_id ? run.job.job_id : undefined;
    if (output !== null && jobId !== undefined) followers.tell(jobId, { type: "output", host, command_id, ...output });
  }

  // ── what is to be done

  /** Looks at a job soon, once for all that happens at this moment. */
  kick(run: JobRun): void {
    if (this.#kicked.has(run)) return;
    if (this.#kicked.size === 0) queueMicrotask(() => this.#workAll());
    this.#kicked.add(run);
  }

  #workAll(): void {
    const runs = [...this.#kicked];
    this.#kicked.clear();
    for (const run of runs) void this.#exclusively(run, () => this.#work(run));
  }

  async #work(run: JobRun): Promise<void> {
    const { now, config } = this.#ports;
    for (;;) {
      const steps = run.next(now(), approvalsNeeded(run.job, config));
      if (steps.length === 0) return;
      await Promise.all(steps.map((step) => this.#do(run, step)));
    }
  }

  #do(run: JobRun, step: JobStep): Promise<void> {
    switch (step.kind) {
      case "write":
        return this.#write(run, step.job, null);
      case "dispatch":
        return this.#dispatch(run, step.number, step.hosts);
      case "cancel":
        return this.#cancelDispatch(run, step.number);
    }
  }

  async #write(run: JobRun, job: Job, audited: Audited | null): Promise<void> {
    await this.#records.write(job, { before: run.job, audited });
    await this.#written(run, job);
  }

  /** The record is on the bus. */
  async #written(run: JobRun, job: Job): Promise<void> {
    const { book, followers } = this.#ports;
    const [wasOver, before, watchedUnixMs] = [isOver(run.job), run.job.state, run.job.not_after_unix_ms];
    if (isOver(job) || job.not_after_unix_ms !== watchedUnixMs) this.#deadlines.delete(watchedUnixMs, run);
    run.written(job);
    if (job.state === "running" && before !== "running") {
      book.began(job.job_id, this.#ports.standing());
      this.#watch(job, run);
    }
    if (followers.has(job.job_id)) followers.tell(job.job_id, { type: "job", job: { ...job, counts: run.counts() } });
    if (!isOver(job)) return;
    const forgotten = wasOver ? book.amended(run) : book.ended(run);
    if (!wasOver) followers.tell(job.job_id, { type: "end", job });
    await this.#records.remove(forgotten);
  }

  async #writeAgain(jobIds: readonly string[]): Promise<void> {
    const { publish, book } = this.#ports;
    const again = (id: string): Promise<void> | null => {
      const run = book.liveRun(id);
      // What lives goes on meanwhile: its record must not land behind its end.
      if (run !== null) return this.#exclusively(run, () => publish(this.#records.of(run.job)));
      const job = book.jobOf(id);
      return job === null ? null : publish(this.#records.of(job));
    };
    await Promise.all(jobIds.map(again));
    await this.#records.remove(jobIds.filter((id) => book.jobOf(id) === null));
  }

  async #dispatch(run: JobRun, number: number, hosts: readonly string[]): Promise<void> {
    const standing = this.#ports.standing();
    const dispatch = this.#records.dispatchOf(run.job, number, hosts);
    await this.#ports.publish(this.#records.orderOf(dispatch.signed.grant.command_id, dispatch));
    this.#dispatched(run, { number, dispatch, standing });
  }

  /** It is on the bus. */
  #dispatched(run: JobRun, { number, dispatch, standing }: Dispatched): void {
    if (!run.dispatched(number, dispatch.hosts))
      throw new Error(`dispatch ${number} of job ${run.job.job_id} is not the next`);
    this.#ports.dispatcher.take(dispatch, { standing, mayBeHandedOut: false, isJobs: true });
    const commandId = dispatch.signed.grant.command_id;
    if (this.#early.size === 0) return;
    const early = this.#early.get(commandId) ?? [];
    this.#early.delete(commandId);
    for (const result of early) this.settled(result);
  }

  async #cancelDispatch(run: JobRun, number: number): Promise<void> {
    const signed = this.#records.cancelOf(run.job, number);
    await this.#ports.publish(this.#records.orderOf(signed.cancel.command_id, signed));
    run.cancelSent(number);
    this.#ports.dispatcher.cancel(signed);
  }

  #watch(job: Job, run: JobRun): void {
    this.#deadlines.add(job.not_after_unix_ms, run);
  }

  /** What fails here leaves the job in doubt, and with it the term. */
  #exclusively<T>(run: JobRun, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(run) ?? Promise.resolve();
    const mine = before.then(work);
    const settled = mine.then(
      () => undefined,
      (thrown: unknown) => this.#ports.onDoubt(thrown),
    );
    this.#tails.set(run, settled);
    void settled.then(() => {
      if (this.#tails.get(run) === settled) this.#tails.delete(run);
    });
    return mine;
  }
}
