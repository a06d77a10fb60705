import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { hasEnded, InvocationState } from "@homeostat/schemas";
import type { ListedJob, ToldResult } from "../../bench/channel/control-process.ts";

const STATES = InvocationState.options;
/** Of a code: the execution had begun. */
const STARTED = 64;
/** Of each kind of wrong; all are counted. */
const NAMED_MAX = 100;

/** One job: what was told of each host, and what each host did, in the order of the fleet's hosts. */
interface Account {
  job: ListedJob | null;
  /** 0: nothing told; otherwise the state's place in STATES, from 1. */
  readonly states: Uint8Array;
  /** Number of the dispatch, from 1. */
  readonly numbers: Uint16Array;
  readonly runs: Uint8Array;
}

export interface Wrongs {
  readonly count: number;
  readonly named: readonly string[];
}

export interface KillVerdict {
  readonly jobs: number;
  readonly jobStates: Readonly<Record<string, number>>;
  /** Invocations that were asked for; those of hosts that were never sent anything are `queued` among the states. */
  readonly commands: number;
  readonly states: Readonly<Record<string, number>>;
  readonly runs: number;
  /** Invocations of ended jobs without an end, and jobs without one. */
  readonly missing: Wrongs;
  /** Hosts that did what one job asks for more than once. */
  readonly twice: Wrongs;
  /** What was told does not agree with what was run, or with what the job says. */
  readonly untrue: Wrongs;
  /** `lost` after an end: told in vain, since the first end stands. */
  readonly lostAfterAnEnd: number;
}

class Wrong {
  count = 0;
  readonly named: string[] = [];

  add(text: string): void {
    this.count += 1;
    if (this.named.length < NAMED_MAX) this.named.push(text);
  }
}

/** Three truths, to be compared: the markers of what was run, the results on the bus, and the jobs' records. */
export class KillLedger {
  readonly #hosts: readonly string[];
  readonly #indexes: ReadonlyMap<string, number>;
  readonly #accounts = new Map<string, Account>();
  readonly #untrue = new Wrong();
  #lostAfterAnEnd = 0;
  #ended = 0;
  #given = 0;

  constructor(hosts: readonly string[]) {
    this.#hosts = hosts;
    this.#indexes = new Map(hosts.map((host, index) => [host, index]));
  }

  get given(): number {
    return this.#given;
  }

  /** Invocations that have ended, as the jobs tell. */
  get ended(): number {
    return this.#ended;
  }

  /** The newest record of a job. */
  listed(job: ListedJob): void {
    const account = this.#accountOf(job.job_id);
    if (account.job === null) this.#given += job.hosts;
    this.#ended += endedOf(job) - (account.job === null ? 0 : endedOf(account.job));
    account.job = job;
  }

  open(): readonly ListedJob[] {
    return [...this.#accounts.values()].flatMap(({ job }) => (job !== null && isOpen(job) ? [job] : []));
  }

  /** As the bus has it: the first end stands, and only `lost` gives way. */
  told([commandId, host, state, hasStarted]: ToldResult): void {
    const found = this.#find(commandId, host);
    if (found === null) {
      this.#untrue.add(`a result of nobody: ${host} ${commandId}`);
      return;
    }
    const { account, index } = found;
    const code = STATES.indexOf(state) + 1 + (hasStarted ? STARTED : 0);
    const before = stateOf(account.states[index] ?? 0);
    if (before === null || (before === "lost" && state !== "lost")) account.states[index] = code;
    else if (before !== state && state === "lost") this.#lostAfterAnEnd += 1;
    else if (before !== state) this.#untrue.add(`${host} ${commandId} is ${before}, and then ${state}`);
  }

  /** What the agents have written down as they did it. */
  readMarkers(dir: string): void {
    for (const name of readdirSync(dir)) {
      const text = readFileSync(join(dir, name), "utf8");
      for (let at = 0, end = text.indexOf("\n"); end !== -1; at = end + 1, end = text.indexOf("\n", at))
        this.#ran(text.slice(at, end));
    }
  }

  verdict(): KillVerdict {
    const [missing, twice, states, jobStates] = [
      new Wrong(),
      new Wrong(),
      new Map<string, number>(),
      new Map<string, number>(),
    ];
    let runs = 0;
    for (const [jobId, account] of this.#accounts) {
      const { job } = account;
      if (job === null) {
        this.#untrue.add(`job ${jobId} has results and no record`);
        continue;
      }
      add(jobStates, job.state, 1);
      for (const [index, host] of this.#hosts.entries()) {
        const state = stateOf(account.states[index] ?? 0);
        const ran = account.runs[index] ?? 0;
        runs += ran;
        add(states, state ?? "queued", 1);
        if (ran > 1) twice.add(`${host} did ${jobId} ${ran} times`);
        if (!isTrue(account.states[index] ?? 0, ran))
          this.#untrue.add(`${host} ${jobId} is ${state}, and ran ${ran} times`);
      }
      this.#checkJob(job, account, missing);
    }
    return {
      jobs: this.#accounts.size,
      jobStates: Object.fromEntries(jobStates),
      commands: this.#given,
      states: Object.fromEntries(states),
      runs,
      missing,
      twice,
      untrue: this.#untrue,
      lostAfterAnEnd: this.#lostAfterAnEnd,
    };
  }

  #ran(line: string): void {
    const [host = "", commandId = ""] = line.split(" ");
    const found = this.#find(commandId, host);
    if (found === null) {
      this.#untrue.add(`ran, and nobody asked for it: ${line}`);
      return;
    }
    const { runs } = found.account;
    runs[found.index] = (runs[found.index] ?? 0) + 1;
  }

  #checkJob(job: ListedJob, { states }: Account, missing: Wrong): void {
    if (isOpen(job)) {
      missing.add(`job ${job.job_id} is ${job.state} still: ${JSON.stringify(job.counts)}`);
      return;
    }
    const counted = new Map<string, number>();
    for (const code of states) add(counted, stateOf(code) ?? "queued", 1);
    const { queued = 0 } = job.counts;
    const untold = counted.get("queued") ?? 0;
    if (untold > queued)
      missing.add(`job ${job.job_id}: ${untold - queued} hosts were sent their command and have no end`);
    for (const state of STATES)
      if ((counted.get(state) ?? 0) !== (job.counts[state] ?? 0))
        this.#untrue.add(
          `job ${job.job_id} counts ${job.counts[state] ?? 0} ${state}, and ${counted.get(state) ?? 0} were told`,
        );
    if (!isTrueOfJob(job)) this.#untrue.add(`job ${job.job_id} is ${job.state}: ${JSON.stringify(job)}`);
  }

  #find(commandId: string, host: string): { account: Account; index: number } | null {
    const index = this.#indexes.get(host);
    const dot = commandId.lastIndexOf(".");
    if (index === undefined || dot < 1) return null;
    const account = this.#accountOf(commandId.slice(0, dot));
    const number = Number(commandId.slice(dot + 1)) + 1;
    const before = account.numbers[index] ?? 0;
    if (before !== 0 && before !== number)
      this.#untrue.add(`${host} is in two dispatches: ${commandId} and number ${before - 1}`);
    account.numbers[index] = number;
    return { account, index };
  }

  #accountOf(jobId: string): Account {
    let account = this.#accounts.get(jobId);
    if (account === undefined) {
      const count = this.#hosts.length;
      account = {
        job: null,
        states: new Uint8Array(count),
        numbers: new Uint16Array(count),
        runs: new Uint8Array(count),
      };
      this.#accounts.set(jobId, account);
    }
    return account;
  }
}

const add = (counts: Map<string, number>, key: string, by: number): void => {
  counts.set(key, (counts.get(key) ?? 0) + by);
};

const stateOf = (code: number): InvocationState | null => STATES[(code & (STARTED - 1)) - 1] ?? null;

export const isOpen = ({ state }: ListedJob): boolean => state === "running" || state === "stopping";

const endedOf = ({ counts }: ListedJob): number =>
  STATES.reduce((sum, state) => sum + (hasEnded(state) ? (counts[state] ?? 0) : 0), 0);

/** What was told of an invocation, beside how often it was run. */
const isTrue = (code: number, ran: number): boolean => {
  const state = stateOf(code);
  if (state === "succeeded" || state === "failed" || state === "timed_out") return ran === 1;
  if (state === "lost") return ran <= 1;
  if (state === "cancelled") return ran === ((code & STARTED) === 0 ? 0 : 1);
  // Refused, expired, or never sent.
  return ran === 0;
};

const isTrueOfJob = (job: ListedJob): boolean => {
  const [ended, { succeeded = 0 }] = [endedOf(job), job.counts];
  const [errors, left] = [ended - succeeded, job.hosts - ended];
  switch (job.state) {
    case "succeeded":
      return left === 0 && errors <= job.errors_max && succeeded > 0 && job.stop_cause === null;
    case "failed":
      if (job.stop_cause !== null) return job.stop_cause !== "cancelled";
      return left === 0 && (errors > job.errors_max || succeeded === 0);
    case "cancelled":
      return job.stop_cause === "cancelled";
    case "expired":
      return job.stop_cause === "expired" && ended === 0;
    default:
      return false;
  }
};
