import type { KeyObject } from "node:crypto";
import {
  type Approval,
  argsSha256,
  type CommandResult,
  type Dispatch,
  dispatchOf,
  hasEnded,
  type InvocationState,
  type Job,
  type JobRequest,
  type OutgoingMessage,
  type Progress,
  signCancel,
} from "@homeostat/schemas";
import type { Audit, AuditDetails } from "../audit/audit.ts";
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
import type { JobBook } from "./job-book.ts";
import { commandIdOf, isOver, type JobRun, type JobStep } from "./job-run.ts";

export interface JobsPorts {
  readonly book: JobBook;
  readonly dispatcher: Dispatcher;
  readonly agents: Candidates;
  readonly followers: Followers;
  readonly audit: Pick<Audit, "append">;
  /** By a leader that was killed before it wrote the job's record. */
  isEndAudited(jobId: string): boolean;
  readonly config: PolicyConfig;
  readonly published: PlanPorts["published"];
  readonly signingKey: KeyObject;
  /** Fenced: rejects when somebody else leads. */
  publishJob(message: OutgoingMessage): Promise<void>;
  publishCommand(message: OutgoingMessage): Promise<void>;
  standing(): Standing;
  /** The bus may hold what we do not know of: the term ends, and the next begins from what the bus holds. */
  onDoubt(thrown: unknown): void;
  readonly now: () => number;
  readonly newId: () => string;
}

/** Commands whose results came before the word that they were sent; there are a few at a time, or somebody makes them up. */
const EARLY_MAX = 10_000;

const notFound = (id: string): Refused => ({ refused: "not_found", message: `there is no job ${id}` });

/** All of them stand in the job's record. */
const HOSTS_AUDITED_MAX = 20;

/** Of a request in the audit log: what was asked, by the digest of its arguments, which may hold secrets. */
const summaryOf = (request: JobRequest): AuditDetails => ({
  executor: request.executor,
  args_sha256: argsSha256(request.args),
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
  readonly #early = new Map<string, CommandResult[]>();
  /** Jobs that are being made durable and are not in the book yet. */
  #coming = 0;

  constructor(ports: JobsPorts) {
    this.#ports = ports;
    this.#rate = new RequestRate(ports.config.requests_per_minute_max);
  }

  /** All that lives goes on where it was; `forgotten` are jobs that no longer fit and leave their topic. */
  resume(forgotten: readonly string[]): void {
    this.#forget(forgotten).catch((thrown: unknown) => this.#ports.onDoubt(thrown));
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
    if (book.open + this.#coming >= config.jobs_open_max)
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

  async #make(job: Job): Promise<Job> {
    const { book } = this.#ports;
    this.#coming += 1;
    try {
      const details = { ...summaryOf(job.request), risk: job.risk, hosts: job.hosts.length, state: job.state };
      await Promise.all([
        this.#publish(job),
        this.#ports.audit.append(job.requested_by, "job.submitted", job.job_id, details),
      ]);
      const run = book.add(job);
      if (job.state === "running") book.began(job.job_id, this.#ports.standing());
      this.#watch(job, run);
      this.kick(run);
      return job;
    } catch (thrown) {
      this.#ports.onDoubt(thrown);
      throw thrown;
    } finally {
      this.#coming -= 1;
    }
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
    const { book, followers, dispatcher, now } = this.#ports;
    const found = book.runOf(result.command_id);
    if (found !== null && found.number >= found.run.dispatches && !isOver(found.run.job)) {
      this.#keepEarly(result);
      return;
    }
    const heard = book.heard(result, result.ended_at_unix_ms ?? now());
    if (hasEnded(result.state)) dispatcher.settled(result.command_id, result.host);
    if (heard === null || !heard.isNews) return;
    const { job } = heard.run;
    followers.tell(job.job_id, { type: "result", result });
    if (isOver(job)) this.#amend(heard.run);
    else this.kick(heard.run);
  }

  /** An agent on the bus may answer before we are told that the command is there. */
  #keepEarly(result: CommandResult): void {
    const early = this.#early.get(result.command_id);
    if (early !== undefined) early.push(result);
    else if (this.#early.size < EARLY_MAX) this.#early.set(result.command_id, [result]);
    else this.#ports.onDoubt(new Error(`${EARLY_MAX} commands have results and were never sent`));
  }

  /** A lost one was heard of after all, when the job was over: its counts change, nothing else. */
  #amend(run: JobRun): void {
    void this.#exclusively(run, () => this.#write(run, run.amended(), null));
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
    const jobId = output === null ? undefined : book.runOf(command_id)?.run.job.job_id;
    if (output !== null && jobId !== undefined) followers.tell(jobId, { type: "output", host, command_id, ...output });
  }

  // ── what is to be done

  /** Looks at a job soon, once for all that happens in this turn. */
  kick(run: JobRun): void {
    if (this.#kicked.has(run)) return;
    if (this.#kicked.size === 0) setImmediate(() => this.#workAll());
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

  async #write(
    run: JobRun,
    job: Job,
    audited: { readonly who: string; readonly what: string; readonly details: AuditDetails } | null,
  ): Promise<void> {
    const { book, audit, followers } = this.#ports;
    const [wasOver, before] = [isOver(run.job), run.job.state];
    const audits: Promise<void>[] = [];
    if (audited !== null) audits.push(audit.append(audited.who, audited.what, job.job_id, audited.details));
    if (isOver(job) && !wasOver && !this.#ports.isEndAudited(job.job_id)) {
      const { state, counts, message } = job;
      audits.push(audit.append("control", "job.ended", job.job_id, { state, counts, message }));
    }
    // First what is audited: whoever is killed in between leaves a job that is live, and whose end the next leader finds audited.
    await Promise.all(audits);
    await this.#publish(job);
    run.written(job);
    if (job.state === "running" && before !== "running") {
      book.began(job.job_id, this.#ports.standing());
      this.#watch(job, run);
    }
    if (followers.has(job.job_id)) followers.tell(job.job_id, { type: "job", job: { ...job, counts: run.counts() } });
    if (!isOver(job)) return;
    const forgotten = wasOver ? book.amended(run) : book.ended(run);
    if (!wasOver) followers.tell(job.job_id, { type: "end", job });
    await this.#forget(forgotten);
  }

  async #forget(jobIds: readonly string[]): Promise<void> {
    const tombstones = jobIds.map((key) => this.#ports.publishJob({ topic: "agent.jobs", key, value: null }));
    await Promise.all(tombstones);
  }

  #publish(job: Job): Promise<void> {
    const value = Buffer.from(JSON.stringify(job));
    return this.#ports.publishJob({ topic: "agent.jobs", key: job.job_id, value });
  }

  async #dispatch(run: JobRun, number: number, hosts: readonly string[]): Promise<void> {
    const standing = this.#ports.standing();
    const dispatch = this.#dispatchOf(run.job, number, hosts);
    const value = Buffer.from(JSON.stringify(dispatch));
    await this.#ports.publishCommand({ topic: "agent.commands", key: dispatch.signed.grant.command_id, value });
    if (!run.dispatched(number, hosts)) throw new Error(`dispatch ${number} of job ${run.job.job_id} is not the next`);
    this.#ports.dispatcher.take(dispatch, { standing, mayBeHandedOut: false, isJobs: true });
    const commandId = dispatch.signed.grant.command_id;
    const early = this.#early.get(commandId) ?? [];
    this.#early.delete(commandId);
    for (const result of early) this.settled(result);
  }

  #dispatchOf(job: Job, number: number, hosts: readonly string[]): Dispatch {
    const { request } = job;
    const terms = {
      command_id: commandIdOf(job.job_id, number),
      job_id: job.job_id,
      requested_by: job.requested_by,
      executor: request.executor,
      risk: job.risk,
      targets: { sites: this.#ports.book.sitesOf(job) },
      approvals: job.approvals,
      issued_at_unix_ms: this.#ports.now(),
      not_after_unix_ms: job.not_after_unix_ms,
      timeout_ms: request.timeout_ms,
      output_bytes_max: request.output_bytes_max,
      limits: request.limits,
    };
    return dispatchOf(terms, { args: request.args, hosts, privateKey: this.#ports.signingKey });
  }

  async #cancelDispatch(run: JobRun, number: number): Promise<void> {
    const { job } = run;
    const command_id = commandIdOf(job.job_id, number);
    const cancel = {
      command_id,
      hosts: [],
      cancelled_by: "control",
      at_unix_ms: this.#ports.now(),
      not_after_unix_ms: job.not_after_unix_ms,
    };
    const signed = signCancel(cancel, this.#ports.signingKey);
    await this.#ports.publishCommand({
      topic: "agent.commands",
      key: command_id,
      value: Buffer.from(JSON.stringify(signed)),
    });
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
