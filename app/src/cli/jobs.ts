import { parseArgs } from "node:util";
import { InvocationState, Job, JobState } from "@homeostat/schemas";
import { z } from "zod";
import { type ApiClient, ApiError, connectTo } from "./client.ts";
import { wordsIn } from "./flag-values.ts";
import { FLAGS } from "./flags.ts";
import { followJob, invocationsOf } from "./follow-job.ts";
import { HostOutput } from "./host-output.ts";
import { waitForIn } from "./job-request.ts";
import { stateWord } from "./job-words.ts";
import { refusalToExitCode } from "./run.ts";
import { ago, style, table } from "./style.ts";
import { wholeNumberIn } from "./targets.ts";
import { printable } from "./terminal-text.ts";
import { one, type Verb, type VerbInput } from "./verb.ts";

const OneJob = z.object({ job: Job });
/** What the API tells in one answer. */
const JOBS_MAX = 1_000;
/** Hosts that `homeostat job` lists; --state and --host narrow it. */
const LISTED_MAX = 500;

const asked = ({ executor, args }: Job["request"]): string =>
  executor === "exec.run" && typeof args.name === "string" ? args.name : executor;

const countsText = (job: Pick<Job, "counts" | "state">): string =>
  InvocationState.options
    .flatMap((state) => {
      const count = job.counts[state] ?? 0;
      return count === 0 ? [] : [`${count} ${stateWord(state, job)}`];
    })
    .join(", ");

/** Jobs of a declared command are all of one executor, and told apart here: as far back as one answer reaches. */
const jobsOf = async (
  api: ApiClient,
  query: URLSearchParams,
  { executor, limit, err }: { executor: string | undefined; limit: number; err: VerbInput["err"] },
): Promise<readonly Job[]> => {
  const isDeclared = executor !== undefined && !executor.includes(".");
  if (executor !== undefined) query.set("executor", isDeclared ? "exec.run" : executor);
  query.set("limit", String(isDeclared ? JOBS_MAX : limit));
  const { jobs: found } = await api.get(`/api/v1/jobs?${query}`, z.object({ jobs: z.array(Job) }));
  if (!isDeclared) return found;
  const named = found.filter(({ request }) => asked(request) === executor).slice(0, limit);
  if (named.length < limit && found.length === JOBS_MAX)
    err(`(looked through the newest ${JOBS_MAX} declared commands only)`);
  return named;
};

/** `homeostat jobs`. */
export const jobs: Verb = async ({ args, env, out, err }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS.jobs });
  const { by: requested_by, executor, host } = values;
  const state = values.state === undefined ? undefined : [...wordsIn("state", values.state, JobState.options)].join();
  const limit = wholeNumberIn("limit", values.limit, [1, JOBS_MAX]);
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ state, requested_by, host }))
    if (value !== undefined) query.set(name, value);
  const found = await jobsOf(connectTo(values, env), query, { executor, limit, err });
  if (values.json) out(JSON.stringify({ jobs: found }));
  else if (found.length === 0) out("no jobs");
  else
    out(
      table([
        ["job", "state", "what", "hosts", "by", "asked", "outcomes"],
        ...found.map((job) => [
          job.job_id,
          job.state,
          asked(job.request),
          String(job.hosts.length),
          job.requested_by,
          ago(job.created_at_unix_ms, Date.now()),
          countsText(job),
        ]),
      ]),
    );
  return 0;
};

const showJob = (job: Job, out: VerbInput["out"]): void => {
  const { request } = job;
  const line = (name: string, value: string): void => {
    if (value !== "") out(`  ${style("dim", name.padEnd(9))} ${printable(value)}`);
  };
  out(`${style("bold", job.job_id)} ${job.state}`);
  line("what", `${request.executor} ${JSON.stringify(request.args)}`);
  line("by", `${job.requested_by}, ${new Date(job.created_at_unix_ms).toISOString()}`);
  line("reason", request.reason);
  line("risk", job.risk);
  line("approved", job.approvals.map(({ by }) => by).join(", "));
  line("message", job.message);
};

interface JobFlags {
  readonly host: string | undefined;
  readonly states: ReadonlySet<InvocationState> | null;
  readonly raw: boolean;
  readonly json: boolean;
}

/** One host's output, or a line for each host. */
const showInvocations = async (
  api: ApiClient,
  job: Job,
  { values, out, err }: Pick<VerbInput, "out" | "err"> & { values: JobFlags },
): Promise<void> => {
  const rows: (readonly string[])[] = [];
  let isNone = true;
  const output = new HostOutput({ hasPrefixes: false, isRaw: values.raw, out, err });
  let more = 0;
  for await (const invocation of invocationsOf(api, job.job_id)) {
    const { host, state, result, is_output_elided } = invocation;
    if ((values.host !== undefined && values.host !== host) || values.states?.has(state) === false) continue;
    isNone = false;
    if (values.json) out(JSON.stringify({ type: "invocation", ...invocation }));
    else if (values.host !== undefined && result !== null) {
      if (is_output_elided) err("(its output is old and stands in the table of results alone)");
      output.ended(host, result);
      err(`${host} ${state}${result.exit_code === null ? "" : `, exit code ${result.exit_code}`} ${result.message}`);
    } else if (rows.length < LISTED_MAX) {
      rows.push([host, stateWord(state, job), result?.exit_code?.toString() ?? "", result?.message ?? ""]);
    } else more += 1;
  }
  if (rows.length > 0) out(table([["host", "state", "exit", "message"], ...rows]));
  if (isNone && !values.json && values.states !== null) out(`no host of it is ${[...values.states].join(" or ")}`);
  if (more > 0) out(`and ${more} more: narrow it with --state or --host`);
};

/** `homeostat job ID`. */
export const job: Verb = async ({ args, env, out, err, signal }) => {
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: FLAGS.job });
  const jobId = one(positionals, "job");
  const waitMs = waitForIn(values["wait-for"]);
  const states = values.state === undefined ? null : wordsIn("state", values.state, InvocationState.options);
  const api = connectTo(values, env);
  const { job: found } = await api.get(`/api/v1/jobs/${encodeURIComponent(jobId)}?limit=0`, OneJob);
  if (values.host !== undefined && !found.hosts.includes(values.host))
    throw new Error(`job ${jobId} has no host ${JSON.stringify(values.host)}`);
  if (values.follow || waitMs !== null)
    return followJob({ api, signal, out, err }, found, {
      isJson: values.json,
      isRaw: values.raw,
      waitMs,
      passesExitCode: values["exit-code"],
    });
  if (values.json) out(JSON.stringify({ type: "job", job: found }));
  else if (values.host === undefined) showJob(found, out);
  const { host, raw, json } = values;
  await showInvocations(api, found, { values: { host, states, raw, json }, out, err });
  return 0;
};

const tell = (job: Job, json: boolean, out: VerbInput["out"]): void =>
  out(json ? JSON.stringify({ job }) : `job ${job.job_id} is ${job.state}`);

/** `homeostat cancel JOB`. */
export const cancel: Verb = async ({ args, env, out, err }) => {
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: FLAGS.cancel });
  const jobId = one(positionals, "job");
  return refusalToExitCode(err, async () => {
    const path = `/api/v1/jobs/${encodeURIComponent(jobId)}/cancel`;
    tell((await connectTo(values, env).post(path, { note: values.note }, OneJob)).job, values.json, out);
    return 0;
  });
};

const NOT_FOUND = 404;

/** Decides on a job; null when there is none of this id, so that it may be a remediation run's. */
export const decideJob = async (
  api: ApiClient,
  jobId: string,
  { isApproved, note }: { readonly isApproved: boolean; readonly note: string },
): Promise<Job | null> => {
  const path = `/api/v1/jobs/${encodeURIComponent(jobId)}/${isApproved ? "approve" : "reject"}`;
  try {
    return (await api.post(path, { note }, OneJob)).job;
  } catch (error) {
    if (error instanceof ApiError && error.status === NOT_FOUND) return null;
    throw error;
  }
};
