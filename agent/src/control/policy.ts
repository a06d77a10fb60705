import { type Job, type JobRequest, type Risk, readCanonical } from "@homeostat/schemas";
import { type PolicyConfig, riskOf, setFor } from "./control-config.ts";
import { rampEnds } from "./jobs/job-run.ts";
import { type Candidates, saltOf, select } from "./targets.ts";
import type { JobPreview, Principal, Refused, Role } from "./views.ts";

const MINUTE_MS = 60_000;
/** Principals whose requests are counted; beyond, all counts begin anew, so that nobody is counted for ever. */
const PRINCIPALS_MAX = 10_000;
/** What an agent takes: longer arguments would be refused by every host. */
const ARGS_BYTES_MAX = 49_152;
/** What varies in a command, of which an agent takes 64 KiB in all. */
const GRANT_BYTES_MAX = 57_344;
/** A record must fit a message of the bus, with room for approvals, counts and messages. */
const JOB_BYTES_MAX = 491_520;
const RISKS: readonly Risk[] = ["read_only", "reversible", "destructive"];

export type JobPlan = Omit<JobPreview, "waves">;

const has = ({ roles }: Principal, ...wanted: readonly Role[]): boolean => wanted.some((role) => roles.includes(role));

/** The same person, however the name was typed; as agents compare them. */
const personOf = (name: string): string => name.normalize("NFKC").trim().toLowerCase();

const higher = (a: Risk, b: Risk): Risk => (RISKS.indexOf(a) > RISKS.indexOf(b) ? a : b);

export const approvalsNeeded = ({ risk, request }: Pick<Job, "risk" | "request">, config: PolicyConfig): number =>
  setFor(config.approvals_of, request.executor) ?? config.approvals[risk];

/** Null when this principal may ask for this executor. */
export const maySubmit = (executor: string, by: Principal, { roles }: PolicyConfig): Refused | null => {
  const role = setFor(roles, executor) ?? "operator";
  if (has(by, role, "admin")) return null;
  return { refused: "not_allowed", message: `${by.name} may not ask for ${executor}: it takes the role ${role}` };
};

/** Null when this principal may decide on this job. Who has asked for it never may, whatever the roles. */
export const mayApprove = (job: Job, by: Principal): Refused | null => {
  if (!has(by, "approver", "admin"))
    return { refused: "not_allowed", message: `${by.name} may not approve jobs: it takes the role approver` };
  if (personOf(by.name) === personOf(job.requested_by))
    return { refused: "not_allowed", message: `${by.name} has asked for this job: another person has to approve it` };
  if (job.approvals.some((approval) => personOf(approval.by) === personOf(by.name)))
    return { refused: "wrong_state", message: `${by.name} has approved it already` };
  return null;
};

/** Rejecting and cancelling only ever stop something: operators may, and whoever asked for it may take it back. */
export const mayStop = (job: Job, by: Principal): Refused | null =>
  by.name === job.requested_by || has(by, "operator", "approver", "admin")
    ? null
    : { refused: "not_allowed", message: `${by.name} may not stop jobs of others: it takes the role operator` };

export interface PlanPorts {
  readonly agents: Candidates;
  readonly config: PolicyConfig;
  /** The risk of an executor as published plugins declare it, by their publishers' signature; null when none brings it. */
  readonly published: (executor: string) => Risk | null;
}

/** What a request comes to: the same for a preview and for the job. */
export const planOf = (
  request: JobRequest,
  by: Principal,
  { agents, config, published }: PlanPorts,
): JobPlan | Refused => {
  const barred = maySubmit(request.executor, by, config);
  if (barred !== null) return barred;
  const args = readCanonical(request.args);
  if ("flaw" in args) return { refused: "invalid", message: `args: ${args.flaw}` };
  const argsBytes = Buffer.byteLength(args.json);
  if (argsBytes > ARGS_BYTES_MAX)
    return { refused: "invalid", message: `args have ${argsBytes} bytes: at most ${ARGS_BYTES_MAX} are allowed` };
  const asked = readCanonical([request.executor, request.targets]);
  if ("flaw" in asked) return { refused: "invalid", message: `executor or targets: ${asked.flaw}` };
  const selection = select(request.targets, { agents, salt: saltOf(request) });
  if ("refused" in selection) return selection;
  const { hosts, sites } = selection;
  if (hosts.length > config.hosts_per_job_max)
    return { refused: "over_limit", message: `${hosts.length} hosts: a job has at most ${config.hosts_per_job_max}` };
  const risk = higher(riskOf(request.executor, config, published(request.executor)), request.risk ?? "read_only");
  return { hosts, sites, risk, needs_approval: approvalsNeeded({ risk, request }, config) };
};

export const wavesOf = (request: JobRequest, hosts: number): readonly number[] => {
  const { ramp, concurrency_max } = request.batch;
  const ends = ramp ? rampEnds(concurrency_max, hosts) : [];
  const waves = ends.map((end, at) => end - (ends[at - 1] ?? 0));
  const left = hosts - (ends.at(-1) ?? 0);
  return left > 0 ? [...waves, left] : waves;
};

export const tooLarge = (job: Job): Refused | null => {
  const grantBytes = Buffer.byteLength(JSON.stringify([job.request.args, job.sites, job.approvals]));
  if (grantBytes > GRANT_BYTES_MAX)
    return {
      refused: "invalid",
      message: `arguments and sites have ${grantBytes} bytes, and agents take ${GRANT_BYTES_MAX}: name fewer sites at a time`,
    };
  const bytes = Buffer.byteLength(JSON.stringify(job));
  if (bytes <= JOB_BYTES_MAX) return null;
  return {
    refused: "invalid",
    message: `the job's record has ${bytes} bytes, at most ${JOB_BYTES_MAX} fit: name fewer hosts, or choose them by labels`,
  };
};

/** Requests of each principal in the minute that runs. */
export class RequestRate {
  readonly #perMinuteMax: number;
  #minute = -1;
  #counts = new Map<string, number>();

  constructor(perMinuteMax: number) {
    this.#perMinuteMax = perMinuteMax;
  }

  /** `isFirst`: the first that was refused in this minute, which is worth a line in the audit log; those behind it are not. */
  take(principal: string, nowUnixMs: number): { readonly refused: Refused; readonly isFirst: boolean } | null {
    const minute = Math.floor(nowUnixMs / MINUTE_MS);
    if (minute !== this.#minute || this.#counts.size >= PRINCIPALS_MAX) this.#counts = new Map();
    this.#minute = minute;
    const count = (this.#counts.get(principal) ?? 0) + 1;
    this.#counts.set(principal, count);
    if (count <= this.#perMinuteMax) return null;
    const message = `${principal} has asked for more than ${this.#perMinuteMax} things within this minute`;
    return { refused: { refused: "over_limit", message }, isFirst: count === this.#perMinuteMax + 1 };
  }
}
