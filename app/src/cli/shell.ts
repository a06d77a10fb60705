import { parseArgs } from "node:util";
import { JobLine } from "@homeostat/analytics";
import { Job } from "@homeostat/schemas";
import { z } from "zod";
import { type ApiClient, connectTo } from "./client.ts";
import { EXIT } from "./exit-code.ts";
import { FLAGS } from "./flags.ts";
import { durationIn } from "./job-request.ts";
import { refusalToExitCode } from "./run.ts";
import { clipboardless } from "./terminal-text.ts";
import { typing } from "./typing.ts";
import { one, UsageError, type Verb, type VerbInput } from "./verb.ts";

const OneJob = z.object({ job: Job });
const FOR_MS_MAX = 3_600_000;

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

/** Shows what the host writes until the session is over. Resolves with the job as it ended. */
const show = async (api: ApiClient, job: Job, { signal, err }: Pick<VerbInput, "signal" | "err">): Promise<Job> => {
  const screen = clipboardless();
  let hasTold = false;
  const path = `/api/v1/jobs/${encodeURIComponent(job.job_id)}/events`;
  for await (const line of api.lines(path, JobLine, signal)) {
    if (line.type === "output") process.stdout.write(screen.write(Buffer.from(line.data, "base64")));
    if (line.type === "skipped") err(`\r\n(${line.lines} pieces of output were left out)\r`);
    if (line.type === "job" && line.job.state === "awaiting_approval" && !hasTold) {
      hasTold = true;
      err(`awaits somebody else: homeostat approve ${job.job_id}\r`);
    }
    if (line.type === "result" && line.result.message !== "") err(`\r\n${line.result.message}\r`);
    if (line.type === "left") throw new Error(line.message);
    if (line.type === "end") return line.job;
  }
  throw new Error("the session's stream broke off");
};

const interact = async (api: ApiClient, job: Job, { signal, err }: VerbInput): Promise<number> => {
  const over = new AbortController();
  const until = AbortSignal.any([signal, over.signal]);
  const keys = typing(api, job.job_id, { signal: until });
  const close = (): void =>
    void api.post(`/api/v1/shell/${encodeURIComponent(job.job_id)}/close`, {}, OneJob).catch(() => undefined);
  // The end of a pipe is Ctrl-D, as a terminal would say it.
  const undo = rawKeys(keys.type, () => keys.type(Buffer.of(4)));
  const resized = (): void => keys.resize(process.stdout.columns, process.stdout.rows);
  process.stdout.on("resize", resized);
  try {
    const ended = await Promise.race([show(api, job, { signal: until, err }), keys.failed]);
    return ended.state === "succeeded" ? EXIT.succeeded : ended.state === "rejected" ? EXIT.refused : EXIT.failed;
  } catch (error) {
    close();
    if (signal.aborted) return EXIT.stoppedEarly;
    throw error;
  } finally {
    process.stdout.off("resize", resized);
    undo();
    over.abort();
  }
};

/** `homeostat shell HOST`. */
export const shell: Verb = async (input) => {
  const { args, env, err } = input;
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: FLAGS.shell });
  const host = one(positionals, "host");
  const for_ms = durationIn("for", values.for);
  if (for_ms > FOR_MS_MAX) throw new UsageError(`--for ${values.for}: want at most 60m`);
  const { columns, rows } = process.stdout.isTTY ? process.stdout : { columns: 80, rows: 24 };
  const body = { host, for_ms, reason: values.reason, columns, rows, term: env.TERM ?? "xterm-256color" };
  const api = connectTo(values, env);
  return refusalToExitCode(err, async () => {
    const { job } = await api.post("/api/v1/shell", body, OneJob);
    err(`session ${job.job_id} on ${host}, recorded, for at most ${values.for}`);
    return interact(api, job, input);
  });
};
