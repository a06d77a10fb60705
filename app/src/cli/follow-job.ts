import { setTimeout as delay } from "node:timers/promises";
import { InvocationRow, JobLine } from "@homeostat/analytics";
import { type CommandResult, type InvocationState, Job } from "@homeostat/schemas";
import { z } from "zod";
import { type ApiClient, ApiError } from "./client.ts";
import { EXIT, exitCodeOf } from "./exit-code.ts";
import { HostOutput } from "./host-output.ts";
import { isQueueKnown, stateWord } from "./job-words.ts";
import { countsOf, progressLine, progressText } from "./progress-line.ts";
import { style, table } from "./style.ts";
import type { VerbInput } from "./verb.ts";

const INVOCATIONS_PAGE = 200;
/** A stream that breaks is begun anew this often before it is given up, each time after a pause. */
const RECONNECTS_MAX = 20;
const RECONNECT_MS = 1_000;
/** Hosts that did not succeed are named, up to here. */
const NAMED_MAX = 50;

const Page = z.object({
  job: Job,
  invocations: z.array(InvocationRow),
  total: z.number(),
  next: z.string().nullable(),
});

export interface FollowOptions {
  readonly isJson: boolean;
  readonly isRaw: boolean;
  /** null: until it has ended. */
  readonly waitMs: number | null;
  /** One host: its command's exit code becomes ours. */
  readonly passesExitCode: boolean;
}

/** What is known of the job so far. */
interface Known {
  job: Job;
  readonly states: Map<string, InvocationState>;
  readonly results: Map<string, Pick<CommandResult, "state" | "exit_code" | "message">>;
  hasToldApproval: boolean;
}

export async function* invocationsOf(api: ApiClient, jobId: string): AsyncGenerator<InvocationRow> {
  let after = "";
  for (;;) {
    const query = new URLSearchParams({ limit: String(INVOCATIONS_PAGE), ...(after !== "" && { after }) });
    const page = await api.get(`/api/v1/jobs/${encodeURIComponent(jobId)}?${query}`, Page);
    yield* page.invocations;
    if (page.next === null) return;
    after = page.next;
  }
}

const hear = (known: Known, line: JobLine, output: HostOutput, err: (line: string) => void): void => {
  if (line.type === "job" || line.type === "end") known.job = line.job;
  if (line.type === "invocation") known.states.set(line.host, line.state);
  if (line.type === "output") output.piece(line);
  if (line.type === "result") {
    const { host, state } = line.result;
    known.states.set(host, state);
    known.results.set(host, line.result);
    output.ended(host, line.result);
  }
  if (line.type === "left") err(`(${line.message}; asking there)`);
  if (line.type === "skipped") err(`(${line.lines} pieces of output were left out: this reader is too slow)`);
  if (known.job.state !== "awaiting_approval" || known.hasToldApproval) return;
  known.hasToldApproval = true;
  err(`job ${known.job.job_id} is ${known.job.risk} and awaits somebody else: homeostat approve ${known.job.job_id}`);
};

/** Lines of the job's stream until it ends; when the stream breaks, those of a new one. */
async function* linesUntilEnd(
  api: ApiClient,
  jobId: string,
  { signal, err }: Pick<VerbInput, "signal" | "err">,
): AsyncGenerator<JobLine> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      for await (const line of api.lines(`/api/v1/jobs/${encodeURIComponent(jobId)}/events`, JobLine, signal)) {
        attempt = 0;
        yield line;
        if (line.type === "end") return;
      }
    } catch (error) {
      const mayComeBack = error instanceof ApiError && (error.status === null || error.status >= 500);
      if (signal.aborted || !mayComeBack || attempt >= RECONNECTS_MAX) throw error;
      if (attempt === 0) err(`(${error.message}; asking again for ${(RECONNECTS_MAX * RECONNECT_MS) / 1_000} s)`);
    }
    await delay(RECONNECT_MS, undefined, { signal });
  }
}

/** What the stream did not tell: what ended before it began, or while it was broken. */
const fillIn = async (api: ApiClient, known: Known, output: HostOutput): Promise<void> => {
  if (known.job.hosts.every((host) => known.results.has(host))) return;
  for await (const { host, state, result } of invocationsOf(api, known.job.job_id)) {
    known.states.set(host, state);
    if (result === null || known.results.has(host)) continue;
    known.results.set(host, result);
    output.ended(host, result);
  }
};

const told = (known: Known, err: (line: string) => void): void => {
  const { job, states, results } = known;
  const word = (state: InvocationState): string => (isQueueKnown(states.values(), job) ? stateWord(state, job) : state);
  const not = [...states].filter(([, state]) => state !== "succeeded").toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (not.length > 0) {
    const rows = not.slice(0, NAMED_MAX).map(([host, state]) => {
      const result = results.get(host);
      return [host, word(state), result?.exit_code?.toString() ?? "", result?.message ?? ""];
    });
    err(table([["host", "state", "exit", "why"], ...rows]));
    if (not.length > NAMED_MAX) err(`and ${not.length - NAMED_MAX} more: homeostat job ${job.job_id}`);
  }
  const counts = [...Map.groupBy(states.values(), word)].map(([state, hosts]) => `${hosts.length} ${state}`);
  const why = job.message === "" ? "" : `: ${job.message}`;
  err(style("bold", `job ${job.job_id} ${job.state}${counts.length === 0 ? "" : ` (${counts.join(", ")})`}${why}`));
};

const codeOf = ({ job, states, results }: Known, passesExitCode: boolean): number => {
  const code = exitCodeOf(job, countsOf(states.values()));
  if (!passesExitCode || job.hosts.length !== 1 || code !== EXIT.failed) return code;
  const exit = results.get(job.hosts[0] ?? "")?.exit_code ?? null;
  return exit === null || exit === 0 ? code : exit;
};

/** The last line for programs: also of a job that goes on without us, as it was last heard of. */
const summary = ({ job, states, results }: Known, exitCode: number): string => {
  const invocations = [...states].map(([host, state]) => {
    const result = results.get(host);
    return { host, state, exit_code: result?.exit_code ?? null, message: result?.message ?? "" };
  });
  const { job_id, state } = job;
  return JSON.stringify({ type: "summary", job_id, state, exit_code: exitCode, invocations });
};

/** Exit code of a job of which we could hear no more: neither that it failed nor that it did not. */
const outOfSight = (error: ApiError, jobId: string, err: VerbInput["err"]): number => {
  err(`homeostat: ${error.message}`);
  err(`what becomes of the job is not known here: homeostat job ${jobId} --follow`);
  return EXIT.lost;
};

const stillGoesOn = (jobId: string): string =>
  `the job goes on: homeostat job ${jobId} --follow; to end it: homeostat cancel ${jobId}`;

/** Shows a job until it has ended, or for as long as asked. Resolves with the exit code. */
export const followJob = async (
  { api, signal, out, err }: Pick<VerbInput, "signal" | "out" | "err"> & { readonly api: ApiClient },
  job: Job,
  options: FollowOptions,
): Promise<number> => {
  const known: Known = {
    job,
    states: new Map(job.hosts.map((host) => [host, "queued"])),
    results: new Map(),
    hasToldApproval: false,
  };
  const beganUnixMs = Date.now();
  const line = progressLine(() =>
    progressText({
      states: known.states,
      total: known.states.size,
      batch: job.request.batch,
      beganUnixMs,
      nowUnixMs: Date.now(),
    }),
  );
  const say = (write: (text: string) => void) => (text: string) => line.around(() => write(text));
  const silent = (): void => undefined;
  const output = new HostOutput({
    hasPrefixes: job.hosts.length > 1,
    isRaw: options.isRaw,
    out: options.isJson ? silent : say(out),
    err: options.isJson ? silent : say(err),
  });
  const timeIsOver = options.waitMs === null ? new AbortController().signal : AbortSignal.timeout(options.waitMs);
  const asking = { signal: AbortSignal.any([signal, timeIsOver]), err: say(err) };
  try {
    for await (const heard of linesUntilEnd(api, job.job_id, asking)) {
      if (options.isJson && heard.type !== "heartbeat") out(JSON.stringify(heard));
      hear(known, heard, output, say(err));
    }
    await fillIn(api, known, output);
  } catch (error) {
    line.stop();
    const isOurEnd = signal.aborted || timeIsOver.aborted;
    if (!isOurEnd && !(error instanceof ApiError)) throw error;
    let cut: number = signal.aborted ? EXIT.stoppedEarly : EXIT.timedOutWaiting;
    if (isOurEnd) err(stillGoesOn(job.job_id));
    else if (error instanceof ApiError) cut = outOfSight(error, job.job_id, err);
    if (options.isJson) out(summary(known, cut));
    return cut;
  } finally {
    line.stop();
  }
  const code = codeOf(known, options.passesExitCode);
  if (options.isJson) out(summary(known, code));
  else if (job.hosts.length > 1 || code !== EXIT.succeeded) told(known, err);
  return code;
};
