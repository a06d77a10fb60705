import type { KeyObject } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import {
  type Cancel,
  type Command,
  type CommandResult,
  type Grant,
  type InvocationState,
  type Log,
  type Progress,
  type ResourceLimits,
  type VerifiedCommand,
  verifyCancel,
  verifyCommand,
} from "@homeostat/schemas";
import type { PolicyCheck } from "../policy.ts";
import { CommandQueue, type Waiting } from "./command-queue.ts";
import { type End, resultOf } from "./command-result.ts";
import { CANCELLED, type Outcome, type Prepared } from "./executor.ts";
import { FileJournal } from "./file-journal.ts";
import type { DoneEntry, Journal, JournalEntry } from "./journal.ts";
import { shorten } from "./journal.ts";
import { type Child, childOf, killOrphan, markOf } from "./orphans.ts";
import { StateTeller } from "./progress-stream.ts";
import type { ExecutorRegistry } from "./registry.ts";
import { ResultReporter } from "./result-reporter.ts";
import { type ExecutionPorts, RunningCommand } from "./running-command.ts";
import { UnverifiedBudget } from "./unverified-budget.ts";
import { namesOf } from "./unverified-names.ts";

export const CONCURRENT_MAX = 4;
export const QUEUE_MAX = 1_000;
/** What is valid for longer than this would have to be remembered for as long. */
const LIFETIME_MS_MAX = 24 * 3_600_000;
const COMMAND_BYTES_MAX = 65_536;
/** Of all results that the platform has not taken yet; beyond it they keep the beginning of their output. */
const UNREPORTED_CHARS_MAX = 16 * 1_048_576;
const UNREPORTED_KEPT_CHARS = 4_096;
const TEND_MS = 60_000;

export interface CommandRunnerOptions {
  readonly host: string;
  /** The agent's own; tells its commands apart from those of other agents on this machine. */
  readonly dir: string;
  readonly proc: string;
  readonly trustedKeys: readonly KeyObject[];
  /** For measuring what verification costs; anything but the default belongs into simulations alone. */
  readonly verify?: typeof verifyCommand;
  readonly executors: ExecutorRegistry;
  readonly policy: PolicyCheck;
  /** The most that a command may take here, whatever its grant says. */
  readonly limits?: ResourceLimits;
  readonly concurrentMax?: number;
  readonly queueMax?: number;
  /** By default a file in `dir`. Who passes one tends and closes it. */
  readonly journal?: Journal;
  readonly publishResult: (result: CommandResult) => Promise<void>;
  /** May lose it. */
  readonly publishProgress: (progress: Progress) => void;
  readonly now: () => number;
  readonly monotonicMs?: () => number;
  readonly log: Log;
}

/** Takes signed grants, and runs each at most once, ever. */
export class CommandRunner {
  readonly #options: CommandRunnerOptions;
  readonly #journal: Journal;
  readonly #reporter: ResultReporter;
  readonly #queue: CommandQueue;
  readonly #ports: ExecutionPorts;
  readonly #states: StateTeller;
  readonly #unverified: UnverifiedBudget;
  /** Being written down: a repetition waits for the same. */
  readonly #taking = new Map<string, Promise<void>>();
  readonly #running = new Map<string, RunningCommand>();
  /** Somebody waits for one of those that run to end. */
  #oneEnds: PromiseWithResolvers<void> | null = null;
  #unreportedChars = 0;
  #isStopping = false;
  #tending: NodeJS.Timeout | null = null;

  constructor(options: CommandRunnerOptions) {
    this.#options = options;
    const { dir, log, host, now } = options;
    this.#journal = options.journal ?? FileJournal.open({ dir, log, nowUnixMs: now() });
    this.#queue = new CommandQueue({
      concurrentMax: options.concurrentMax ?? CONCURRENT_MAX,
      begin: (waiting) => void this.#beginWaiting(waiting),
    });
    const progress = { host, now, monotonicMs: options.monotonicMs ?? now, publish: options.publishProgress };
    this.#states = new StateTeller(progress);
    this.#unverified = new UnverifiedBudget(progress.monotonicMs);
    this.#ports = {
      host,
      dir,
      limits: options.limits ?? {},
      progress,
      noteChild: (running, pid) => this.#noteChild(running, pid),
      onFirstOutput: (commandId) => this.#states.forget(commandId),
      log,
    };
    this.#reporter = new ResultReporter({
      publish: options.publishResult,
      onReported: (commandId, entry) => this.#noteReported(commandId, entry),
      log,
    });
  }

  /** Settles what an earlier agent left behind. */
  start(): void {
    for (const [commandId, entry] of this.#journal.entries()) {
      if (entry.state === "running") this.#answerLost(commandId, entry);
      if (entry.state === "accepted") this.#admitAgain(entry.command);
      if (entry.state === "done" && !entry.is_reported) this.#reportDone(commandId, entry);
    }
    if (this.#options.journal !== undefined) return;
    this.#tending = setInterval(() => this.#journal.tend(this.#options.now()), TEND_MS).unref();
  }

  /** A Command. Resolves once it is written down, or needs not be; rejects when the disk will not take it: it must come again. */
  async take(value: unknown): Promise<void> {
    const { host, trustedKeys, verify = verifyCommand } = this.#options;
    const verified = verify(value, { host, trustedKeys });
    if ("refused" in verified) {
      await this.#answerUnverified(value, verified.refused);
      return;
    }
    const commandId = verified.grant.command_id;
    const taking = this.#taking.get(commandId);
    if (taking !== undefined) return taking;
    const known = this.#journal.get(commandId);
    if (known !== undefined) {
      if (known.state === "done") this.#reportAgain(commandId, known);
      return;
    }
    const taken = this.#takeNew(verified);
    this.#taking.set(commandId, taken);
    const over = () => this.#taking.delete(commandId);
    taken.then(over, over);
    return taken;
  }

  /** A SignedCancel. Final: what has not begun never begins, also when it comes only later. Resolves and rejects as `take`. */
  async cancel(value: unknown): Promise<void> {
    const { host, log, trustedKeys } = this.#options;
    const verified = verifyCancel(value, { host, trustedKeys });
    if ("refused" in verified) {
      const withheld = this.#unverified.take();
      if (withheld !== null) log.warn({ reason: verified.refused, withheld }, "refused a cancellation");
      return;
    }
    const { cancel } = verified;
    const commandId = cancel.command_id;
    // Should that fail, it is unknown here, and cancelled all the same.
    for (let taking = this.#taking.get(commandId); taking !== undefined; taking = this.#taking.get(commandId))
      await Promise.allSettled([taking]);
    const running = this.#running.get(commandId);
    const known = this.#journal.get(commandId);
    if (running !== undefined) running.end(CANCELLED);
    else if (known?.state === "done") this.#reportAgain(commandId, known);
    else if (known?.state === "accepted") await this.#cancelWaiting(known.command, cancel);
    else if (known === undefined) await this.#cancelUnseen(cancel);
  }

  /** To a command that runs; to another it goes nowhere. */
  input(commandId: string, data: Buffer): void {
    this.#running.get(commandId)?.input.type(data);
  }

  resize(commandId: string, columns: number, rows: number): void {
    this.#running.get(commandId)?.input.resize(columns, rows);
  }

  /**
   * Resolves in a moment in which nothing runs but this command, which does not end here: from then on nothing begins, what comes is only
   * written down for the next agent, and `stop` does not wait for this one. Rejects when `signal` aborts before that.
   */
  async handOver(commandId: string, signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => aborted.resolve(), { once: true });
    for (;;) {
      signal.throwIfAborted();
      if (this.#running.size === 0 || (this.#running.size === 1 && this.#running.has(commandId))) break;
      await Promise.race([aborted.promise, this.#oneEnded()]);
    }
    this.#isStopping = true;
    this.#queue.clear();
    this.#running.delete(commandId);
  }

  /** Waits for what runs, for at most this long; what is left is answered as lost by the next agent. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    this.#queue.clear();
    const deadline = delay(graceMs, undefined, { ref: false });
    await Promise.race([this.#allEnded(), deadline]);
    this.#states.stop();
    await Promise.race([this.#reporter.settled(), deadline]);
    await this.#reporter.stop(deadline);
    if (this.#tending !== null) clearInterval(this.#tending);
    if (this.#options.journal === undefined) await this.#journal.close();
  }

  async #allEnded(): Promise<void> {
    while (this.#running.size > 0) await this.#oneEnded();
  }

  #oneEnded(): Promise<void> {
    this.#oneEnds ??= Promise.withResolvers();
    return this.#oneEnds.promise;
  }

  // ——— taking

  async #takeNew(verified: VerifiedCommand): Promise<void> {
    const { command, grant } = verified;
    const decided = this.#decide(verified);
    if ("state" in decided) {
      await this.#refuse(grant, decided.state, decided.message);
      return;
    }
    const waiting = { command, prepared: decided };
    if (!this.#isStopping && this.#queue.tryBegin(waiting)) {
      await this.#begin(waiting);
      return;
    }
    await this.#journal.write(grant.command_id, { state: "accepted", command });
    this.#options.log.debug({ command_id: grant.command_id, executor: grant.executor }, "a command waits for its turn");
    this.#states.tell(grant.command_id, "accepted");
    // Cancelled while it was written down.
    if (this.#journal.get(grant.command_id)?.state === "accepted" && !this.#isStopping) this.#queue.add(waiting);
  }

  #decide({ command, grant, bytes }: VerifiedCommand): Prepared | { state: "refused" | "expired"; message: string } {
    const nowUnixMs = this.#options.now();
    const refused = (message: string) => ({ state: "refused" as const, message });
    if (nowUnixMs > grant.not_after_unix_ms) return { state: "expired", message: expiredMessage(grant, nowUnixMs) };
    if (grant.not_after_unix_ms - grant.issued_at_unix_ms > LIFETIME_MS_MAX)
      return refused("valid for more than a day");
    if (this.#journal.mayHaveForgotten?.(grant.not_after_unix_ms) === true)
      return refused("this host's clock was far ahead, and what had run here by then is forgotten: this may be of it");
    if (bytes > COMMAND_BYTES_MAX) return refused(`more than ${COMMAND_BYTES_MAX} bytes`);
    const prepared = this.#prepare(command);
    if ("refused" in prepared) return refused(prepared.refused);
    const queueMax = this.#options.queueMax ?? QUEUE_MAX;
    if (this.#queue.length >= queueMax) return refused(`${queueMax} commands are waiting already`);
    return this.#journal.hasRoom(nowUnixMs) ? prepared : refused("the journal of commands is full");
  }

  #prepare({ signed: { grant }, args }: Command): Prepared | { refused: string } {
    const executor = this.#options.executors.get(grant.executor);
    if (executor === undefined)
      return { refused: `there is no ${grant.executor} here: not allowed, or its plugin is not there or not well` };
    const prepared = executor.prepare(args);
    if ("refused" in prepared) return prepared;
    const refused = this.#options.policy({ grant, args, risk: prepared.risk ?? executor.risk });
    return refused === null ? prepared : { refused };
  }

  /** Accepted by an earlier agent; what is allowed now counts. */
  #admitAgain(command: Command): void {
    const prepared = this.#prepare(command);
    if ("refused" in prepared) this.#finish(command.signed.grant, "refused", { message: prepared.refused });
    else this.#queue.add({ command, prepared });
  }

  /**
   * Written down before it is told, so that it stays so when the clock goes back or the command comes again: told and forgotten, it could
   * be run then. Without room for that it is not told, and is looked at anew when it comes again.
   */
  async #refuse(grant: Grant, state: InvocationState, message: string): Promise<void> {
    if (!this.#journal.hasRoom(this.#options.now(), "end")) {
      this.#options.log.warn({ command_id: grant.command_id, state, message }, "no room to remember what is not run");
      return;
    }
    const entry = this.#doneEntry(grant, state, { message });
    await this.#journal.write(grant.command_id, entry);
    this.#options.log.info({ command_id: grant.command_id, state, reason: message }, "did not run a command");
    this.#journalled(grant.command_id, entry);
  }

  // ——— cancelling

  async #cancelWaiting(command: Command, cancel: Cancel): Promise<void> {
    const { grant } = command.signed;
    const isWaiting = this.#queue.cancel(grant.command_id);
    const running = this.#running.get(grant.command_id);
    // Its turn came in this very moment.
    if (!isWaiting && running !== undefined) {
      running.end(CANCELLED);
      return;
    }
    // Otherwise it waits for its turn, or for the next agent: when the disk took neither its beginning nor a cancellation before.
    const entry = this.#doneEntry(grant, "cancelled", { message: cancelledMessage(cancel) });
    await this.#journal.write(grant.command_id, entry);
    this.#journalled(grant.command_id, entry);
  }

  /** Told only when this host is named: a cancellation without hosts may be of a command that was never meant for it. */
  async #cancelUnseen(cancel: Cancel): Promise<void> {
    const nowUnixMs = this.#options.now();
    const { command_id: commandId, not_after_unix_ms } = cancel;
    if (nowUnixMs > not_after_unix_ms || not_after_unix_ms > nowUnixMs + 2 * LIFETIME_MS_MAX) return;
    if (!this.#journal.hasRoom(nowUnixMs, "end")) {
      // Then there is no room for the command either: it is refused when it comes.
      this.#options.log.warn({ command_id: commandId }, "no room to remember a cancellation");
      return;
    }
    const isNamed = cancel.hosts.length > 0;
    const invocation = { commandId, host: this.#options.host, executor: "" };
    const result = resultOf(invocation, "cancelled", { message: cancelledMessage(cancel) });
    const entry: DoneEntry = { state: "done", not_after_unix_ms, result, is_reported: !isNamed };
    await this.#journal.write(commandId, entry);
    if (isNamed) this.#journalled(commandId, entry);
  }

  // ——— running

  /** Its turn has come after it had waited. */
  async #beginWaiting(waiting: Waiting): Promise<void> {
    const { grant } = waiting.command.signed;
    const nowUnixMs = this.#options.now();
    if (nowUnixMs > grant.not_after_unix_ms) {
      this.#finish(grant, "expired", { message: expiredMessage(grant, nowUnixMs) });
      this.#queue.ended(waiting.prepared.target);
      return;
    }
    // Not written down means not done: it stays accepted, and is tried again at the next start while it is valid.
    await this.#begin(waiting).catch((error: unknown) => {
      this.#options.log.error({ command_id: grant.command_id, error: String(error) }, "a command could not begin");
    });
  }

  /** Resolves when it is written down that it runs. Its place among those that run is taken already. */
  async #begin(waiting: Waiting): Promise<void> {
    const running = new RunningCommand(waiting, this.#ports, this.#options.now());
    this.#running.set(running.commandId, running);
    try {
      await this.#journal.write(running.commandId, runningEntry(running, null));
    } catch (error) {
      this.#leave(running);
      throw error;
    }
    this.#run(running);
  }

  #run(running: RunningCommand): void {
    const { commandId, startedUnixMs } = running;
    const { grant } = running.command.signed;
    if (running.endingBecause !== null) {
      this.#finish(grant, "cancelled", { message: "cancelled before it began" });
      this.#leave(running);
      return;
    }
    this.#states.tell(commandId, "running");
    running.run((outcome) => {
      try {
        this.#finish(grant, stateOf(outcome, running), { ...outcome, startedUnixMs });
      } finally {
        this.#leave(running);
      }
    });
  }

  #leave(running: RunningCommand): void {
    this.#running.delete(running.commandId);
    this.#queue.ended(running.prepared.target);
    this.#oneEnds?.resolve();
    this.#oneEnds = null;
  }

  #noteChild(running: RunningCommand, pid: number): void {
    const child = childOf(this.#options.proc, pid);
    if (child !== null) this.#journal.note(running.commandId, runningEntry(running, child));
  }

  #answerLost(commandId: string, entry: Extract<JournalEntry, { state: "running" }>): void {
    const { proc, log } = this.#options;
    const wasKilled = killOrphan(proc, markOf(this.#options, commandId), entry.child);
    log.warn({ command_id: commandId }, "a command was running when the agent ended: it is lost");
    const message = `the agent ended while the command ran; it is not run again${wasKilled ? "; its process was ended" : ""}`;
    this.#finish(entry.command.signed.grant, "lost", { message, startedUnixMs: entry.started_at_unix_ms });
  }

  // ——— results

  /**
   * Noted, which survives a kill, and told at once. Should the power fail before the disk has it, the next agent says that it is lost; who
   * has heard the result knows better.
   */
  #finish(grant: Grant, state: InvocationState, end: End): void {
    const entry = this.#doneEntry(grant, state, end);
    const { message } = entry.result;
    this.#states.forget(grant.command_id);
    this.#options.log.info({ command_id: grant.command_id, state, reason: message }, "a command ended");
    this.#journal.note(grant.command_id, entry);
    this.#journalled(grant.command_id, entry);
  }

  #doneEntry(grant: Grant, state: InvocationState, end: End): DoneEntry {
    const { host, now } = this.#options;
    const times = end.startedUnixMs === undefined ? end : { ...end, endedUnixMs: now() };
    const result = resultOf({ commandId: grant.command_id, host, executor: grant.executor }, state, times);
    const entry: DoneEntry = {
      state: "done",
      not_after_unix_ms: grant.not_after_unix_ms,
      result,
      is_reported: false,
    };
    return this.#unreportedChars > UNREPORTED_CHARS_MAX ? shorten(entry, UNREPORTED_KEPT_CHARS) : entry;
  }

  #journalled(commandId: string, entry: DoneEntry): void {
    // Not taken by the journal, or cut there: it is told as it is.
    if (this.#journal.get(commandId) === undefined) this.#journal.note(commandId, entry);
    this.#reportDone(commandId, entry);
  }

  #reportDone(commandId: string, entry: DoneEntry): void {
    this.#unreportedChars += charsOf(entry);
    const replaced = this.#reporter.report(commandId, entry);
    if (replaced !== null) this.#isNoLongerUntold(replaced);
  }

  #reportAgain(commandId: string, known: DoneEntry): void {
    const entry = { ...known, is_reported: false };
    this.#journal.note(commandId, entry);
    this.#reportDone(commandId, entry);
  }

  #noteReported(commandId: string, entry: DoneEntry): void {
    this.#isNoLongerUntold(entry);
    // Asked for again meanwhile: then it is told again.
    if (this.#journal.get(commandId) === entry) this.#journal.note(commandId, { ...entry, is_reported: true });
  }

  #isNoLongerUntold(entry: DoneEntry): void {
    this.#unreportedChars = Math.max(0, this.#unreportedChars - charsOf(entry));
  }

  /** Nothing of it can be trusted, so nothing is written down; but whoever sent it (with a wrong key, say) should not wait in vain. */
  async #answerUnverified(value: unknown, reason: string): Promise<void> {
    const { host, log, publishResult } = this.#options;
    const withheld = this.#unverified.take();
    if (withheld === null) return;
    log.warn({ reason, withheld }, "refused a command");
    const named = namesOf(value);
    if (named === null || named.host !== host || this.#taking.has(named.commandId)) return;
    if (this.#journal.get(named.commandId) !== undefined) return;
    try {
      const result = resultOf({ ...named, host }, "refused", { message: reason });
      await this.#unverified.answer(() => publishResult(result));
    } catch (error) {
      log.warn({ command_id: named.commandId, error: String(error) }, "could not answer a refused command");
    }
  }
}

const charsOf = ({ result }: DoneEntry): number => result.stdout.length + result.stderr.length;

/** What it was granted counts from now on, not how and with what: it never begins again. */
const runningEntry = ({ command, startedUnixMs }: RunningCommand, child: Child | null): JournalEntry => ({
  state: "running",
  command: { ...command, args: {}, proof: { ...command.proof, path: [] } },
  started_at_unix_ms: startedUnixMs,
  child,
});

const stateOf = ({ state }: Outcome, { endingBecause }: RunningCommand): InvocationState => {
  if (state !== "failed" || endingBecause === null) return state;
  return endingBecause === CANCELLED ? "cancelled" : "timed_out";
};

const expiredMessage = (grant: Grant, nowUnixMs: number): string =>
  `valid until ${timeOf(grant.not_after_unix_ms)}, and this host's clock says ${timeOf(nowUnixMs)}`;

const timeOf = (unixMs: number): string => new Date(unixMs).toISOString();

const cancelledMessage = (cancel: Cancel): string => `cancelled by ${cancel.cancelled_by} before it began`;
