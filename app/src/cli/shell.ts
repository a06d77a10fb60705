import { parseArgs } from "node:util";
import { InvocationRow, JobLine } from "@homeostat/analytics";
import { Job } from "@homeostat/schemas";
import { z } from "zod";
import { type ApiClient, ApiError, connectTo } from "./client.ts";
import { EXIT } from "./exit-code.ts";
import { FLAGS } from "./flags.ts";
import { durationIn } from "./job-request.ts";
import { refusalToExitCode } from "./run.ts";
import { clipboardless } from "./terminal-text.ts";
import { type Typing, typing } from "./typing.ts";
import { one, type Verb, type VerbInput } from "./verb.ts";

const OneJob = z.object({ job: Job });
const Invocations = z.object({ invocations: z.array(InvocationRow) });
/** Whoever ends the command waits no longer for the platform's word that the session is closed. */
const CLOSE_MS_MAX = 5_000;
const NOT_FOUND = 404;
/** Of a terminal that does not know its size, or has none: a pipe, a serial console. */
const SIZE = { columns: 80, rows: 24 };
/** What the API takes. */
const SIDE_MAX = 1_000;

const sizeOf = ({ columns, rows }: Partial<typeof SIZE>): typeof SIZE => ({
  columns: Math.min(columns || SIZE.columns, SIDE_MAX),
  rows: Math.min(rows || SIZE.rows, SIDE_MAX),
});

/** Keys go to the host as they are, Ctrl-C too, until the undo is called. */
const rawKeys = (onKeys: (data: Buffer) => void, onEnd: () => void): (() => void) => {
  const { stdin } = process;
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on("data", onKeys).once("end", onEnd).resume();
  return () => {
    stdin.off("data", onKeys).pause();
    if (stdin.isTTY) stdin.setRawMode(false);
  };
};

/** Whether the host has begun it: that may have been told before anybody listened. */
const runsAlready = async (api: ApiClient, jobId: string, signal: AbortSignal): Promise<boolean> => {
  const path = `/api/v1/jobs/${encodeURIComponent(jobId)}?limit=1`;
  const { invocations } = await api.get(path, Invocations, { signal });
  return invocations[0]?.state === "running";
};

interface Showing extends Pick<VerbInput, "signal" | "err"> {
  /** The host has begun the session; may be told more than once. */
  readonly onBegun: () => void;
}

/** Shows what the host writes until the session is over. Resolves with the job as it ended. */
const show = async (api: ApiClient, job: Job, { signal, err, onBegun }: Showing): Promise<Job> => {
  const screen = clipboardless();
  let hasTold = false;
  const path = `/api/v1/jobs/${encodeURIComponent(job.job_id)}/events`;
  for await (const line of api.lines(path, JobLine, signal)) {
    if (line.type === "output" || (line.type === "invocation" && line.state === "running")) onBegun();
    if (line.type === "output") process.stdout.write(screen.write(Buffer.from(line.data, "base64")));
    if (line.type === "skipped") err(`\r\n(${line.lines} pieces of output were left out)\r`);
    if (line.type === "job" && line.job.state === "running" && (await runsAlready(api, job.job_id, signal))) onBegun();
    if (line.type === "job" && line.job.state === "awaiting_approval" && !hasTold) {
      hasTold = true;
      err(`awaits somebody else: homeostat approve ${job.job_id}`);
    }
    if (line.type === "result" && line.result.message !== "") err(`\r\n${line.result.message}\r`);
    if (line.type === "left") throw new Error(line.message);
    if (line.type === "end") return line.job;
  }
  throw new Error("the session's stream broke off");
};

/** Nobody is at it any more: it must not run on, nor begin when somebody approves it. */
const close = async (api: ApiClient, jobId: string, err: VerbInput["err"]): Promise<void> => {
  const asking = { signal: AbortSignal.timeout(CLOSE_MS_MAX) };
  try {
    await api.post(`/api/v1/shell/${encodeURIComponent(jobId)}/close`, {}, OneJob, asking);
    err(`session ${jobId} is closed`);
  } catch (error) {
    if (error instanceof ApiError && error.status === NOT_FOUND) return;
    const why = error instanceof Error ? error.message : String(error);
    err(`the session could not be closed (${why}); to end it: homeostat cancel ${jobId}`);
  }
};

/** The keyboard and the size of the window are the host's from `begin` until `end`; before, and behind it, Ctrl-C is ours. */
const keyboard = (keys: Typing, opened: typeof SIZE) => {
  const resized = (): void => {
    const { columns, rows } = sizeOf(process.stdout);
    keys.resize(columns, rows);
  };
  let undo: (() => void) | null = null;
  return {
    begin: () => {
      if (undo !== null) return;
      // The end of a pipe is Ctrl-D, as a terminal would say it.
      undo = rawKeys(keys.type, () => keys.type(Buffer.of(4)));
      process.stdout.on("resize", resized);
      const now = sizeOf(process.stdout);
      if (now.columns !== opened.columns || now.rows !== opened.rows) resized();
    },
    end: () => {
      process.stdout.off("resize", resized);
      undo?.();
    },
  };
};

const interact = async (
  api: ApiClient,
  job: Job,
  { signal, err, opened }: Pick<VerbInput, "signal" | "err"> & { readonly opened: typeof SIZE },
): Promise<number> => {
  const over = new AbortController();
  const until = AbortSignal.any([signal, over.signal]);
  const keys = typing(api, job.job_id, { signal: until });
  const { begin, end } = keyboard(keys, opened);
  try {
    const ended = await Promise.race([show(api, job, { signal: until, err, onBegun: begin }), keys.failed]);
    return ended.state === "succeeded" ? EXIT.succeeded : ended.state === "rejected" ? EXIT.refused : EXIT.failed;
  } catch (error) {
    end();
    await close(api, job.job_id, err);
    if (signal.aborted) return EXIT.stoppedEarly;
    throw error;
  } finally {
    end();
    over.abort();
  }
};

/** `homeostat shell HOST`. */
export const shell: Verb = async (input) => {
  const { args, env, err } = input;
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: FLAGS.shell });
  const host = one(positionals, "host");
  const for_ms = durationIn("for", values.for, ["1s", "60m"]);
  const opened = sizeOf(process.stdout);
  const body = { host, for_ms, reason: values.reason, ...opened, term: env.TERM ?? "xterm-256color" };
  const api = connectTo(values, env);
  return refusalToExitCode(err, async () => {
    const { job } = await api.post("/api/v1/shell", body, OneJob);
    err(`session ${job.job_id} on ${host}, recorded, for at most ${values.for}`);
    return interact(api, job, { ...input, opened });
  });
};
