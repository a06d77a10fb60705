import { spawn } from "node:child_process";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { copyFile, truncate } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "@homeostat/schemas";
import { z } from "zod";
import { ProcFile } from "../collectors/proc-file.ts";
import { isAlive, type ProcessStat, readProcessStat } from "../collectors/process-stat.ts";
import type { ProcessService } from "../config.ts";
import { failed, type Outcome, succeeded } from "../executor/executor.ts";
import { markedProcesses } from "../executor/marked-processes.ts";
import { CLEAN_PATH, signalGroup } from "../executor/process-group.ts";
import type { Supervised } from "./supervised.ts";

/** A restarted service that lives this long has started. */
const ALIVE_MS = 500;
const POLL_MS = 25;
const KILL_WAIT_MS = 5_000;
/** Our own default log is copied away and truncated beyond this; one that was declared is the operator's to rotate. */
const LOG_BYTES_MAX = 64 * 1_048_576;
const LOG_LOOK_MS = 60_000;
/** Marks a child in its environment, so that one whose pid was not yet written down is found again. */
const MARK = "HOMEOSTAT_SERVICE";

/** `pid` is null between the intent to start and the start. */
const PidRecord = z.strictObject({
  pid: z.int().positive().nullable(),
  start_ticks: z.int().min(0),
  boot_id: z.string(),
});
type PidRecord = z.infer<typeof PidRecord>;

interface Running {
  readonly pid: number;
  readonly startTicks: number;
  readonly stat: ProcFile;
}

/** A service that the agent runs itself: a process group of its own, which outlives the agent and is adopted by the next one. */
export class SupervisedProcess implements Supervised {
  readonly name: string;
  readonly #config: ProcessService;
  readonly #dir: string;
  readonly #proc: string;
  readonly #log: Log;
  #running: Running | null = null;
  #isWanted: boolean;
  #trimming: NodeJS.Timeout | null = null;
  restarts = 0;
  problem: string | null = null;

  constructor(options: { config: ProcessService; dir: string; proc: string; log: Log }) {
    this.#config = options.config;
    this.#isWanted = options.config.start_with_agent;
    this.name = options.config.name;
    this.#dir = join(options.dir, "services");
    this.#proc = options.proc;
    this.#log = options.log;
  }

  get pid(): number | null {
    return this.isUp() ? (this.#running?.pid ?? null) : null;
  }

  /** null until somebody has wanted it to run: what was never started is not down. */
  isUp(): boolean | null {
    if (!this.#isWanted) return null;
    return this.#running !== null && this.#statOf(this.#running) !== null;
  }

  async begin(): Promise<void> {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    if (this.#config.log === undefined) {
      this.#trimming = setInterval(() => void this.#trimLog(), LOG_LOOK_MS);
      this.#trimming.unref();
      await this.#trimLog();
    }
    this.#running = this.#adopt();
    if (this.#running !== null)
      this.#log.info({ service: this.name, pid: this.#running.pid }, "adopted a running service");
    else if (this.#config.start_with_agent) {
      const outcome = await this.#start();
      if (outcome.state !== "succeeded") this.problem = `service ${this.name}: ${outcome.message}`;
    }
  }

  async end(): Promise<void> {
    if (this.#trimming !== null) clearInterval(this.#trimming);
    if (this.#config.stop_with_agent)
      await this.#stop(AbortSignal.timeout(this.#config.stop_timeout_ms + KILL_WAIT_MS));
    this.#running?.stat.close();
  }

  async restart(signal: AbortSignal): Promise<Outcome> {
    this.restarts += 1;
    this.#isWanted = true;
    const before = this.#running?.pid ?? null;
    if (!(await this.#stop(signal))) return failed(`service ${this.name}: process ${before} does not end`);
    if (signal.aborted) return failed(`service ${this.name}: stopped, and out of time before it was started again`);
    const outcome = await this.#start();
    if (outcome.state === "succeeded") this.problem = null;
    return outcome;
  }

  async #start(): Promise<Outcome> {
    // The intent comes first: a kill between the start and the note of its pid must not lead to a second instance.
    this.#writePid({ pid: null, start_ticks: 0, boot_id: this.#bootId() });
    const { command, args, cwd, env } = this.#config;
    const output = this.#openLog();
    const spawnError = Promise.withResolvers<string>();
    const child = spawn(command, args, {
      detached: true,
      stdio: ["ignore", output, output],
      cwd: cwd ?? "/",
      env: { PATH: CLEAN_PATH, ...env, [MARK]: this.#mark() },
    });
    closeSync(output);
    child.once("error", (error) => spawnError.resolve(error.message));
    child.unref();
    if (child.pid === undefined) return failed(`cannot start ${command}: ${await spawnError.promise}`);
    const stat = new ProcFile(`${this.#proc}/${child.pid}/stat`);
    this.#running = { pid: child.pid, startTicks: readProcessStat(stat)?.startTicks ?? 0, stat };
    this.#writePid({ pid: child.pid, start_ticks: this.#running.startTicks, boot_id: this.#bootId() });
    const exited = new Promise<string>((resolve) => {
      child.once("exit", (code, signal) => resolve(`exited with ${code ?? signal}`));
    });
    const waiting = new AbortController();
    const verdict = await Promise.race([exited, delay(ALIVE_MS, null, { signal: waiting.signal })]);
    waiting.abort();
    if (verdict !== null) return failed(`service ${this.name} ${verdict} within ${ALIVE_MS} ms of its start`);
    this.#log.info({ service: this.name, pid: child.pid }, "started a service");
    return succeeded(`service ${this.name} runs as process ${child.pid}`);
  }

  /** TERM, time to end, KILL, for the whole group. True once the process is gone. */
  async #stop(signal: AbortSignal): Promise<boolean> {
    const running = this.#running;
    if (running === null) return true;
    if (this.#statOf(running) !== null) {
      signalGroup(running.pid, "SIGTERM");
      await this.#waitForEnd(running, this.#config.stop_timeout_ms, signal);
    }
    const isGone = this.#statOf(running) === null;
    // Also when the leader has ended in time: what it left behind must not run beside its successor.
    if (!isGone || this.#groupHasMembers(running.pid)) signalGroup(running.pid, "SIGKILL");
    await this.#waitForEnd(running, KILL_WAIT_MS, null);
    if (this.#statOf(running) !== null) return false;
    running.stat.close();
    this.#running = null;
    rmSync(this.#pidPath(), { force: true });
    return true;
  }

  async #waitForEnd(running: Running, timeoutMs: number, signal: AbortSignal | null): Promise<void> {
    for (let waitedMs = 0; waitedMs < timeoutMs && this.#statOf(running) !== null; waitedMs += POLL_MS) {
      if (signal?.aborted) return;
      await delay(POLL_MS);
    }
  }

  #statOf(running: Running): ProcessStat | null {
    const stat = readProcessStat(running.stat);
    return isAlive(stat) && stat.startTicks === running.startTicks ? stat : null;
  }

  /** The group's number cannot be taken by another process while a member lives; without members it must not be signalled. */
  #groupHasMembers(pid: number): boolean {
    return this.#pids().some((candidate) => {
      const text = readOrNull(join(this.#proc, String(candidate), "stat"));
      const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
      return fields?.[2] === String(pid) && fields[0] !== "Z";
    });
  }

  // ——— adoption

  #adopt(): Running | null {
    const text = readOrNull(this.#pidPath());
    if (text === null) return null;
    const parsed = PidRecord.safeParse(jsonOrNull(text));
    if (!parsed.success || parsed.data.boot_id !== this.#bootId()) return null;
    // A stop takes the note away: somebody started it, and nobody stopped it.
    this.#isWanted = true;
    const { pid, start_ticks } = parsed.data;
    if (pid === null) return this.#findMarked();
    const stat = new ProcFile(`${this.#proc}/${pid}/stat`);
    const running = { pid, startTicks: start_ticks, stat };
    if (this.#statOf(running) !== null) return running;
    stat.close();
    return null;
  }

  #findMarked(): Running | null {
    const mark = `${MARK}=${this.#mark()}`;
    for (const pid of markedProcesses(this.#proc, mark)) {
      const stat = new ProcFile(`${this.#proc}/${pid}/stat`);
      const found = readProcessStat(stat);
      if (!isAlive(found)) {
        stat.close();
        continue;
      }
      this.#writePid({ pid, start_ticks: found.startTicks, boot_id: this.#bootId() });
      return { pid, startTicks: found.startTicks, stat };
    }
    return null;
  }

  #pids(): number[] {
    return readdirSync(this.#proc)
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  }

  #mark(): string {
    return join(this.#dir, this.name);
  }

  #bootId(): string {
    return (readOrNull(join(this.#proc, "sys/kernel/random/boot_id")) ?? "").trim();
  }

  #pidPath(): string {
    return join(this.#dir, `${this.name}.pid`);
  }

  #writePid(record: PidRecord): void {
    const path = this.#pidPath();
    const fd = openSync(`${path}.new`, "w", 0o600);
    try {
      writeFileSync(fd, JSON.stringify(record));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(`${path}.new`, path);
  }

  #defaultLog(): string {
    return join(this.#dir, `${this.name}.log`);
  }

  /** Lines that are written between the copy and the cut are lost: the price of a file that another process holds open. */
  async #trimLog(): Promise<void> {
    const path = this.#defaultLog();
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size <= LOG_BYTES_MAX) return;
    try {
      await copyFile(path, `${path}.1`);
    } catch (error) {
      this.#log.warn({ service: this.name, error: String(error) }, "cannot keep a copy of a service's log");
    }
    await truncate(path, 0);
  }

  #openLog(): number {
    const path = this.#config.log ?? this.#defaultLog();
    mkdirSync(dirname(path), { recursive: true });
    return openSync(path, "a", 0o640);
  }
}

const readOrNull = (path: string): string | null => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Not there, or a process that has just ended, or another user's.
    return null;
  }
};

const jsonOrNull = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
};
