import { createHash, type KeyObject } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type Command, type CommandResult, type InvocationState, type Log, verifyCommand } from "@homeostat/schemas";
import { ProcFile } from "../collectors/proc-file.ts";
import { isAlive, type ProcessStat, readProcessStat } from "../collectors/process-stat.ts";
import type { Executor, Outcome, Prepared } from "./executor.ts";
import { Journal, type JournalEntry } from "./journal.ts";
import { markedProcesses } from "./marked-processes.ts";
import { signalGroup } from "./process-group.ts";

export const CONCURRENT_MAX = 4;
export const QUEUE_MAX = 64;
/** What is valid for longer than this would have to be remembered for as long. */
const LIFETIME_MS_MAX = 24 * 3_600_000;
const COMMAND_BYTES_MAX = 65_536;
/** A result must fit a message of the bus, whatever JSON makes of its bytes. */
const RESULT_BYTES_MAX = 458_752;
/** Beyond the time limit an execution gets this long to notice; then it is given up. */
const GIVE_UP_MS = 10_000;
const REPORT_RETRY_MS_MAX = 15_000;
const TEND_MS = 60_000;
const MARK = "HOMEOSTAT_COMMAND";

interface Waiting {
  readonly command: Command;
  readonly prepared: Prepared;
}

export interface CommandRunnerOptions {
  readonly host: string;
  readonly dir: string;
  readonly proc: string;
  readonly trustedKeys: readonly KeyObject[];
  /** The allow list, made real. */
  readonly executors: readonly Executor[];
  readonly publishResult: (result: CommandResult) => Promise<void>;
  readonly now: () => number;
  readonly log: Log;
}

/** Takes signed commands, and runs each at most once, ever. */
export class CommandRunner {
  readonly #options: CommandRunnerOptions;
  readonly #journal: Journal;
  readonly #queue: Waiting[] = [];
  readonly #busy = new Set<string>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();
  #reporting: Promise<void> | null = null;
  #tending: NodeJS.Timeout | null = null;

  constructor(options: CommandRunnerOptions) {
    this.#options = options;
    this.#journal = Journal.open({ dir: options.dir, log: options.log, nowUnixMs: options.now() });
  }

  /** Settles what an earlier agent left behind. */
  start(): void {
    for (const [commandId, entry] of this.#journal.entries()) {
      if (entry.state === "running") this.#answerLost(commandId, entry);
      if (entry.state === "accepted") this.#admit(entry.command);
    }
    this.#report();
    this.#tending = setInterval(() => this.#journal.tend(this.#options.now()), TEND_MS);
    this.#tending.unref();
  }

  /** Resolves once the command is written down, or needs not be; rejects when the disk will not take it: it must come again. */
  async take(signed: unknown): Promise<void> {
    const { host, log, trustedKeys } = this.#options;
    const verified = verifyCommand(signed, trustedKeys);
    if ("refused" in verified) {
      log.warn({ reason: verified.refused }, "refused a command");
      await this.#answerUnverified(signed, verified.refused);
      return;
    }
    const { command } = verified;
    if (command.host !== host) {
      log.warn({ command_id: command.command_id, host: command.host }, "refused a command for another host");
      return;
    }
    const known = this.#journal.get(command.command_id);
    if (known !== undefined) {
      if (known.state === "done") this.#journal.note(command.command_id, { ...known, is_reported: false });
      this.#report();
      return;
    }
    const refusal = this.#refusalOf(command);
    if (refusal !== null) {
      this.#finish(command, refusal.state, { message: refusal.message });
      return;
    }
    this.#journal.write(command.command_id, { state: "accepted", command });
    log.info(
      { command_id: command.command_id, executor: command.executor, by: command.requested_by },
      "accepted a command",
    );
    this.#admit(command);
  }

  /** Waits for what runs, for at most this long; what is left is answered as lost by the next agent. */
  async stop(graceMs: number): Promise<void> {
    this.#queue.length = 0;
    const deadline = delay(graceMs, undefined, { ref: false });
    await Promise.race([Promise.all(this.#running.values()), deadline]);
    this.#stopping.abort();
    await Promise.race([this.#reporting, deadline]);
    if (this.#tending !== null) clearInterval(this.#tending);
    this.#journal.close();
  }

  #refusalOf(command: Command): { state: "refused" | "expired"; message: string } | null {
    const nowUnixMs = this.#options.now();
    const refused = (message: string) => ({ state: "refused" as const, message });
    if (nowUnixMs > command.not_after_unix_ms) return { state: "expired", message: expiredMessage(command, nowUnixMs) };
    if (command.not_after_unix_ms - command.issued_at_unix_ms > LIFETIME_MS_MAX)
      return refused("valid for more than a day");
    if (Buffer.byteLength(JSON.stringify(command)) > COMMAND_BYTES_MAX)
      return refused(`more than ${COMMAND_BYTES_MAX} bytes`);
    const prepared = this.#prepare(command);
    if ("refused" in prepared) return refused(prepared.refused);
    if (this.#queue.length >= QUEUE_MAX) return refused(`${QUEUE_MAX} commands are waiting already`);
    return this.#journal.hasRoom(nowUnixMs) ? null : refused("the journal of commands is full");
  }

  #prepare(command: Command): Prepared | { refused: string } {
    const executor = this.#options.executors.find(({ name }) => name === command.executor);
    return executor?.prepare(command.args) ?? { refused: `${command.executor} is not on this host's allow list` };
  }

  #admit(command: Command): void {
    const prepared = this.#prepare(command);
    if ("refused" in prepared) {
      this.#finish(command, "refused", { message: prepared.refused });
      return;
    }
    this.#queue.push({ command, prepared });
    this.#runNext();
  }

  #runNext(): void {
    while (this.#running.size < CONCURRENT_MAX && !this.#stopping.signal.aborted) {
      const index = this.#queue.findIndex(({ prepared }) => !this.#busy.has(prepared.target));
      const [next] = index === -1 ? [] : this.#queue.splice(index, 1);
      if (next === undefined) return;
      this.#busy.add(next.prepared.target);
      const done = this.#run(next).finally(() => {
        this.#busy.delete(next.prepared.target);
        this.#running.delete(next.command.command_id);
        this.#runNext();
      });
      this.#running.set(next.command.command_id, done);
    }
  }

  async #run({ command, prepared }: Waiting): Promise<void> {
    const startedUnixMs = this.#options.now();
    if (startedUnixMs > command.not_after_unix_ms) {
      this.#finish(command, "expired", { message: expiredMessage(command, startedUnixMs) });
      return;
    }
    try {
      this.#journal.write(command.command_id, {
        state: "running",
        command,
        started_at_unix_ms: startedUnixMs,
        child: null,
      });
    } catch (error) {
      // Not written down means not done: it stays accepted, and is tried again at the next start while it is valid.
      this.#options.log.error(
        { command_id: command.command_id, error: String(error) },
        "cannot write the journal of commands",
      );
      return;
    }
    const timeout = AbortSignal.timeout(command.timeout_ms);
    const outcome = await this.#execute(command, prepared, { startedUnixMs, timeout });
    const isTimedOut = timeout.aborted && outcome.state === "failed";
    this.#finish(command, isTimedOut ? "timed_out" : outcome.state, { ...outcome, startedUnixMs });
  }

  async #execute(
    command: Command,
    prepared: Prepared,
    at: { startedUnixMs: number; timeout: AbortSignal },
  ): Promise<Outcome> {
    const giveUp = new AbortController();
    const givenUp = delay(command.timeout_ms + GIVE_UP_MS, null, { signal: giveUp.signal, ref: false }).then(
      () => failure("given up: it does not end"),
      () => failure("ended"),
    );
    try {
      return await Promise.race([
        prepared.run({
          signal: at.timeout,
          outputBytesMax: command.output_bytes_max,
          mark: { name: MARK, value: this.#markOf(command) },
          noteChild: (pid) => this.#noteChild(command, at.startedUnixMs, pid),
        }),
        givenUp,
      ]);
    } catch (error) {
      this.#options.log.error({ command_id: command.command_id, error: String(error) }, "an executor failed");
      return failure(error instanceof Error ? error.message : String(error));
    } finally {
      giveUp.abort();
    }
  }

  #noteChild(command: Command, startedUnixMs: number, pid: number): void {
    const startTicks = this.#statOf(pid)?.startTicks;
    if (startTicks === undefined) return;
    const child = { pid, start_ticks: startTicks };
    this.#journal.note(command.command_id, { state: "running", command, started_at_unix_ms: startedUnixMs, child });
  }

  #answerLost(
    commandId: string,
    entry: { command: Command; started_at_unix_ms: number; child: { pid: number; start_ticks: number } | null },
  ): void {
    const { command, child } = entry;
    const wasKilled = this.#killOrphan(command, child);
    this.#options.log.warn({ command_id: commandId }, "a command was running when the agent ended: it is lost");
    const message = `the agent ended while the command ran; it is not run again${wasKilled ? "; its process was ended" : ""}`;
    this.#finish(command, "lost", { message, startedUnixMs: entry.started_at_unix_ms });
  }

  /** Ends the group that the command ran in. What it has put into a group of its own, a daemon perhaps, is left alone, as after a normal end. */
  #killOrphan(command: Command, child: { pid: number; start_ticks: number } | null): boolean {
    const marked = markedProcesses(this.#options.proc, `${MARK}=${this.#markOf(command)}`);
    // Killed between the start and the note of the pid: the lowest of the marked ones is the one that we started.
    const leader = child?.pid ?? marked[0];
    if (leader === undefined) return false;
    const isSameLeader = child !== null && this.#statOf(leader)?.startTicks === child.start_ticks;
    if (!isSameLeader && !marked.some((pid) => this.#statOf(pid)?.group === leader)) return false;
    signalGroup(leader, "SIGKILL");
    return true;
  }

  #statOf(pid: number): ProcessStat | null {
    const file = new ProcFile(`${this.#options.proc}/${pid}/stat`);
    const stat = readProcessStat(file);
    file.close();
    return isAlive(stat) ? stat : null;
  }

  /** Ids may hold anything; a digest may stand in an environment. */
  #markOf(command: Command): string {
    return createHash("sha256").update(`${this.#options.dir}\0${command.command_id}`).digest("hex");
  }

  /** Writes the result down, then reports it for as long as it takes. */
  #finish(command: Command, state: InvocationState, end: Partial<Outcome> & { startedUnixMs?: number }): void {
    const result = fit({
      command_id: command.command_id,
      host: this.#options.host,
      executor: command.executor,
      state,
      exit_code: end.exitCode ?? null,
      stdout: end.stdout ?? "",
      stderr: end.stderr ?? "",
      output_truncated: end.isOutputTruncated ?? false,
      started_at_unix_ms: end.startedUnixMs ?? null,
      ended_at_unix_ms: end.startedUnixMs === undefined ? null : this.#options.now(),
      message: (end.message ?? "").slice(0, 2000),
    });
    const entry = { state: "done" as const, not_after_unix_ms: command.not_after_unix_ms, result, is_reported: false };
    this.#options.log.info({ command_id: command.command_id, state, message: result.message }, "a command ended");
    this.#writeDone(command.command_id, entry);
    this.#report();
  }

  #writeDone(
    commandId: string,
    entry: { state: "done"; not_after_unix_ms: number; result: CommandResult; is_reported: boolean },
  ): void {
    try {
      this.#journal.write(commandId, entry);
    } catch (error) {
      this.#options.log.error(
        { command_id: commandId, error: String(error) },
        "cannot write a result to the journal of commands",
      );
      // Told all the same; should the agent end now, the next one says that it is lost.
      this.#journal.remember(commandId, entry);
    }
  }

  #report(): void {
    this.#reporting ??= this.#reportAll().finally(() => {
      this.#reporting = null;
      if (this.#hasUnreported() && !this.#stopping.signal.aborted) this.#report();
    });
  }

  #noteReported(commandId: string, entry: JournalEntry): void {
    try {
      this.#journal.note(commandId, entry);
    } catch (error) {
      this.#options.log.warn({ command_id: commandId, error: String(error) }, "cannot write the journal of commands");
      this.#journal.remember(commandId, entry);
    }
  }

  #hasUnreported(): boolean {
    return this.#journal.entries().some(([, entry]) => entry.state === "done" && !entry.is_reported);
  }

  async #reportAll(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      if (!this.#hasUnreported()) return;
      try {
        for (const [commandId, entry] of this.#journal.entries()) {
          if (entry.state !== "done" || entry.is_reported) continue;
          await this.#options.publishResult(entry.result);
          if (this.#stopping.signal.aborted) return;
          // Asked for again meanwhile: then it is told again.
          if (this.#journal.get(commandId) === entry) this.#noteReported(commandId, { ...entry, is_reported: true });
          attempt = 0;
        }
      } catch (error) {
        this.#options.log.warn({ error: String(error) }, "cannot report the result of a command; trying again");
        const waitMs = Math.min(REPORT_RETRY_MS_MAX, 200 * 2 ** Math.min(attempt, 10));
        const isStopped = await delay(waitMs, false, { signal: this.#stopping.signal }).catch(() => true);
        if (isStopped) return;
      }
      if (this.#stopping.signal.aborted) return;
    }
  }

  /** Nothing of it can be trusted, so nothing is written down; but whoever sent it (with a wrong key, say) should not wait in vain. */
  async #answerUnverified(signed: unknown, reason: string): Promise<void> {
    const command = signed !== null && typeof signed === "object" && "command" in signed ? signed.command : null;
    if (command === null || typeof command !== "object") return;
    const { command_id, executor, host } = command as Record<string, unknown>;
    if (typeof command_id !== "string" || command_id.length === 0 || command_id.length > 128) return;
    if (host !== this.#options.host || this.#journal.get(command_id) !== undefined) return;
    try {
      await this.#options.publishResult({
        command_id,
        host: this.#options.host,
        executor: typeof executor === "string" ? executor.slice(0, 64) : "",
        state: "refused",
        exit_code: null,
        stdout: "",
        stderr: "",
        output_truncated: false,
        started_at_unix_ms: null,
        ended_at_unix_ms: null,
        message: reason,
      });
    } catch (error) {
      this.#options.log.warn({ command_id, error: String(error) }, "could not answer a refused command");
    }
  }
}

const failure = (message: string): Outcome => ({
  state: "failed",
  exitCode: null,
  stdout: "",
  stderr: "",
  isOutputTruncated: false,
  message,
});

const expiredMessage = (command: Command, nowUnixMs: number): string =>
  `valid until ${command.not_after_unix_ms}, seen at ${nowUnixMs}`;

const fit = (result: CommandResult): CommandResult => {
  let fitted = result;
  for (let chars = 262_144; Buffer.byteLength(JSON.stringify(fitted)) > RESULT_BYTES_MAX; chars /= 2)
    fitted = {
      ...fitted,
      stdout: fitted.stdout.slice(0, chars),
      stderr: fitted.stderr.slice(0, chars),
      output_truncated: true,
    };
  return fitted;
};
