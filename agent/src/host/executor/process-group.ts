import { spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Confine, Confined, Program } from "./child-limits.ts";
import { CANCELLED, type Execution, failed, type Outcome } from "./executor.ts";

/** Nothing else of the agent's environment reaches a child: it may hold secrets. */
export const CLEAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const TERM_GRACE_MS = 2_000;
const CLOSE_GRACE_MS = 500;
/** Output beyond the cap is read and forgotten up to here; a child that goes on writing is ended. */
const DISCARD_BYTES_MAX = 16 * 1_048_576;

/** Signals a process group that we lead or know; one that has ended is no failure. */
export const signalGroup = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
};

/** Runs one program in a group of its own, without a shell of the caller's making, until it ends or its time does. */
export const runProcess = async (program: Program, execution: Execution, confine: Confine): Promise<Outcome> => {
  const confined = confine(program, execution.limits, execution.timeoutMs);
  try {
    return await runConfined(program.command, confined, execution);
  } finally {
    confined.ended();
  }
};

const runConfined = async (name: string, confined: Confined, execution: Execution): Promise<Outcome> => {
  const child = spawn(confined.command, confined.args, {
    detached: true,
    shell: false,
    stdio: ["ignore", "pipe", "pipe"],
    cwd: "/",
    env: { PATH: CLEAN_PATH, LANG: "C.UTF-8", [execution.mark.name]: execution.mark.value },
  });
  const { pid } = child;
  if (pid === undefined) {
    const error = await new Promise<Error>((resolve) => child.once("error", resolve));
    return failed(`cannot run ${name}: ${error.message}`);
  }
  execution.noteChild(pid);
  confined.started(pid);
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const ending = new AbortController();
  let reason = "";
  const end = (why: string) => {
    if (reason !== "") return;
    reason = why;
    void endGroup(pid, ending.signal);
  };
  const onAbort = () => end(execution.signal.reason === CANCELLED ? "it was cancelled" : "its time was over");
  execution.signal.addEventListener("abort", onAbort, { once: true });
  if (execution.signal.aborted) onAbort();
  const keep = (stream: "stdout" | "stderr") =>
    capture(child[stream], {
      bytesMax: execution.outputBytesMax,
      onData: (data) => execution.output(stream, data),
      onEndless: () => end("it wrote without end"),
    });
  const [stdout, stderr] = [keep("stdout"), keep("stderr")];
  const exit = await exited;
  execution.signal.removeEventListener("abort", onAbort);
  ending.abort();
  // What it left behind may hold the pipes open, and would run on unwatched.
  await Promise.race([closed, delay(CLOSE_GRACE_MS)]);
  signalGroup(pid, "SIGKILL");
  confined.kill();
  child.stdout.destroy();
  child.stderr.destroy();
  const isSuccess = exit.code === 0 && reason === "";
  const how = exit.code === null ? `ended by ${exit.signal}` : `exit code ${exit.code}`;
  const why = [reason, confined.verdict({ ...exit, stderr: stderr.text() })].filter((one) => one !== "").join("; ");
  return {
    state: isSuccess ? "succeeded" : "failed",
    exitCode: exit.code,
    stdout: stdout.text(),
    stderr: stderr.text(),
    isOutputTruncated: stdout.isTruncated() || stderr.isTruncated(),
    message: isSuccess ? "" : `${name}: ${how}${why === "" ? "" : `, because ${why}`}`,
  };
};

const endGroup = async (pid: number, hasEnded: AbortSignal): Promise<void> => {
  signalGroup(pid, "SIGTERM");
  try {
    await delay(TERM_GRACE_MS, undefined, { signal: hasEnded });
  } catch (error) {
    if (hasEnded.aborted) return;
    throw error;
  }
  signalGroup(pid, "SIGKILL");
};

const capture = (
  stream: Readable,
  { bytesMax, onData, onEndless }: { bytesMax: number; onData: (data: Buffer) => void; onEndless: () => void },
) => {
  const kept: Buffer[] = [];
  let keptBytes = 0;
  let bytes = 0;
  stream.on("data", (part: Buffer) => {
    bytes += part.length;
    if (keptBytes < bytesMax) {
      const head = part.subarray(0, bytesMax - keptBytes);
      kept.push(head);
      keptBytes += head.length;
      onData(head);
    }
    if (bytes > bytesMax + DISCARD_BYTES_MAX) {
      stream.pause();
      onEndless();
    }
  });
  // A pipe that breaks ends the output, no more.
  stream.on("error", () => stream.destroy());
  return { text: () => Buffer.concat(kept).toString("utf8"), isTruncated: () => bytes > bytesMax };
};
