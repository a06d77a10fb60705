import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import type { ResourceLimits } from "@homeostat/schemas";
import type { Confine, Confined, Program } from "../executor/child-limits.ts";
import { CLEAN_PATH, signalGroup } from "../executor/process-group.ts";
import { pause } from "../pause.ts";
import type { Allowance } from "./allowance.ts";
import { LineReader } from "./line-reader.ts";
import { type FromPlugin, LINE_BYTES_MAX, parsePluginLine, type ToPlugin } from "./protocol.ts";

/** What waits for a plugin that does not read its stdin. */
const STDIN_BYTES_MAX = 1_048_576;
/** After it has exited, for what it wrote last to be read. */
const DRAIN_MS = 500;
/** Of the last line of its stderr, which may tell that it was denied memory. */
const STDERR_CHARS_MAX = 1_000;

/** Every child of a plugin carries this variable; by its value the next agent finds those that a killed one left behind. */
export const PLUGIN_MARK = "HOMEOSTAT_PLUGIN";

export interface ChildOptions {
  readonly program: Program;
  readonly cwd: string;
  readonly limits: ResourceLimits;
  readonly confine: Confine;
  /** Beside a PATH and the like, the whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly stopGraceMs: number;
  /** For all that it writes; when one is used up, it is ended. */
  readonly bytes: Allowance;
  readonly lines: Allowance;
  readonly onLine: (line: FromPlugin) => void;
  /** A line of its stderr. */
  readonly onStderr: (line: string) => void;
  /** A line that is not as it should be. */
  readonly onBad: (why: string) => void;
}

/** One process of a plugin, in a group of its own. */
export interface PluginChild {
  readonly pid: number;
  /** False: it does not read what it is sent. */
  send(message: ToPlugin): boolean;
  /** Ends stdin: a plugin that is done with its work goes by itself. */
  closeInput(): void;
  /** In order: stdin's end, SIGTERM, SIGKILL, each after a grace. Resolves when it has ended. */
  stop(): Promise<void>;
  /** At once, and told as the reason. */
  kill(why: string): void;
  /** How it ended, once it and its group have, and all that it wrote has been read. */
  readonly ended: Promise<{ readonly code: number | null; readonly how: string }>;
}

/** @throws Error when it cannot be started. */
export const startChild = async (options: ChildOptions): Promise<PluginChild> => {
  const confined = options.confine(options.program, options.limits);
  const child = spawn(confined.command, confined.args, {
    detached: true,
    shell: false,
    cwd: options.cwd,
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: CLEAN_PATH, LANG: "C.UTF-8", HOME: options.cwd, ...options.env },
  });
  const { pid } = child;
  if (pid === undefined) {
    const error = await new Promise<Error>((resolve) => child.once("error", resolve));
    confined.ended();
    throw new Error(`cannot run ${options.program.command}: ${error.message}`);
  }
  confined.started(pid);
  return new RunningChild({ child, pid, options, confined });
};

class RunningChild implements PluginChild {
  readonly pid: number;
  readonly ended: PluginChild["ended"];
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #options: ChildOptions;
  readonly #confined: Confined;
  readonly #hasExited = new AbortController();
  #reason = "";
  #lastStderr = "";

  constructor(of: { child: ChildProcessWithoutNullStreams; pid: number; options: ChildOptions; confined: Confined }) {
    const { child, pid, options, confined } = of;
    this.#confined = confined;
    this.pid = pid;
    this.#child = child;
    this.#options = options;
    const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
      child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    // Who has gone reads no more: that is told by its exit.
    child.stdin.on("error", () => child.stdin.destroy());
    const out = this.#read(child.stdout, (line) => this.#take(line));
    const err = this.#read(child.stderr, (line) => {
      this.#lastStderr = line.slice(0, STDERR_CHARS_MAX);
      options.onStderr(line);
    });
    this.ended = this.#end(exited, closed).then((end) => {
      out.end();
      err.end();
      const verdict = confined.verdict({ code: end.code, signal: end.signal, stderr: this.#lastStderr });
      confined.ended();
      const why = [this.#reason, verdict].filter((one) => one !== "").join("; ");
      const how = end.code === null ? `ended by ${end.signal}` : `exit code ${end.code}`;
      return { code: end.code, how: why === "" ? how : `${how}: ${why}` };
    });
  }

  send(message: ToPlugin): boolean {
    const { stdin } = this.#child;
    if (stdin.destroyed || stdin.writableEnded || stdin.writableLength > STDIN_BYTES_MAX) return false;
    stdin.write(`${JSON.stringify(message)}\n`);
    return true;
  }

  closeInput(): void {
    this.#child.stdin.end();
  }

  async stop(): Promise<void> {
    this.closeInput();
    const signal = this.#hasExited.signal;
    for (const next of ["SIGTERM", "SIGKILL"] as const) {
      await pause(this.#options.stopGraceMs, signal);
      if (signal.aborted) break;
      signalGroup(this.pid, next);
    }
    await this.ended;
  }

  kill(why: string): void {
    if (this.#reason === "") this.#reason = why;
    if (this.#hasExited.signal.aborted) return;
    signalGroup(this.pid, "SIGKILL");
    this.#confined.kill();
  }

  async #end(exited: Promise<{ code: number | null; signal: string | null }>, closed: Promise<void>) {
    const exit = await exited;
    this.#hasExited.abort();
    await Promise.race([closed, delay(DRAIN_MS, undefined, { ref: false })]);
    // What it left behind would hold the pipes open and run on unwatched.
    signalGroup(this.pid, "SIGKILL");
    this.#confined.kill();
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
    return exit;
  }

  #read(stream: NodeJS.ReadableStream, onLine: (line: string) => void): LineReader {
    const { bytes, lines } = this.#options;
    const reader = new LineReader({
      lineBytesMax: LINE_BYTES_MAX,
      onLine: (line) => {
        if (this.#reason !== "") return;
        if (lines.take(1)) onLine(line);
        else this.kill("it wrote lines without end");
      },
      onTooLong: () => this.#options.onBad(`a line of more than ${LINE_BYTES_MAX} bytes`),
    });
    stream.on("data", (chunk: Buffer) => {
      if (this.#reason !== "") return;
      if (bytes.take(chunk.length)) reader.push(chunk);
      else this.kill("it wrote without end");
    });
    stream.on("error", () => undefined);
    return reader;
  }

  #take(text: string): void {
    if (text.trim() === "") return;
    const line = parsePluginLine(text);
    if ("bad" in line) this.#options.onBad(line.bad);
    else this.#options.onLine(line);
  }
}
