import { join } from "node:path";
import { lesserLimits } from "../executor/child-limits.ts";
import type { Execution, Outcome } from "../executor/executor.ts";
import { failed } from "../executor/executor.ts";
import { pause } from "../pause.ts";
import { Allowance } from "./allowance.ts";
import { CallOutput } from "./call-output.ts";
import { backOff } from "./pace.ts";
import { PLUGIN_MARK, type PluginChild, startChild } from "./plugin-process.ts";
import { type FromPlugin, type PluginResult, PROTOCOL } from "./protocol.ts";
import { failure, type PluginRunner, type RunnerOptions } from "./runner.ts";

/** What it may write: so much at once, and so much a second. Above it, it is ended: reading more would cost the host. */
const BYTES_BURST = 8 * 1_048_576;
const BYTES_PER_SECOND = 1_048_576;
const LINES_BURST = 5_000;
const LINES_PER_SECOND = 500;
/** Calls that wait for their results. */
const CALLS_MAX = 32;
const HEALTH_FAILURES_MAX = 3;

interface PendingCall {
  readonly onOutput: (stream: "stdout" | "stderr", text: string) => void;
  readonly settle: (result: PluginResult) => void;
}

/** A supervised child that stays: asked for its health, restarted within a budget, ended when it hangs. */
export class ResidentRunner implements PluginRunner {
  readonly #options: RunnerOptions;
  readonly #stopping = new AbortController();
  readonly #calls = new Map<number, PendingCall>();
  #child: PluginChild | null = null;
  #restartsMs: number[] = [];
  #lastId = 0;
  #onReady: () => void = () => undefined;
  #life: Promise<void> | null = null;
  state: PluginRunner["state"] = "starting";
  problem: string | null = null;

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  start(): Promise<string | null> {
    return new Promise((resolve) => {
      let isWell = false;
      this.#life = this.#live(() => {
        isWell = true;
        resolve(null);
      }).then((reason) => {
        if (isWell && !this.#stopping.signal.aborted) this.#options.onFailed(reason);
        resolve(reason);
      });
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#child?.stop();
    await this.#life;
  }

  async execute(executor: string, args: unknown, execution: Execution): Promise<Outcome> {
    const { limits } = this.#options.manifest;
    const output = new CallOutput(execution, Math.min(execution.outputBytesMax, limits.output_bytes_max));
    if (this.state !== "running") return failed(`the plugin does not run now: ${this.state}`);
    const result = await this.#call({
      call: "execute",
      executor,
      args,
      timeoutMs: limits.call_timeout_ms,
      signal: execution.signal,
      onOutput: (stream, text) => output.add(stream, text),
    });
    return output.outcome(result);
  }

  /** From start to start until it is stopped, or its budget is used up; resolves with why. */
  async #live(onWell: () => void): Promise<string> {
    const { manifest, pace, random } = this.#options;
    for (;;) {
      this.#is("starting");
      const reason = await this.#once(onWell);
      if (this.#stopping.signal.aborted) return "it was stopped";
      this.problem = reason;
      const nowMs = this.#options.now();
      this.#restartsMs = [...this.#restartsMs.filter((at) => at > nowMs - pace.restartWindowMs), nowMs];
      if (this.#restartsMs.length > manifest.health.restarts_max) {
        this.#is("failed");
        const times = this.#restartsMs.length;
        return `${reason} (${times} time${times === 1 ? "" : "s"} in ${pace.restartWindowMs / 60_000} minutes)`;
      }
      this.#is("backing_off");
      const attempt = this.#restartsMs.length - 1;
      const waitMs = backOff(attempt, { firstMs: pace.backOffMs, mostMs: pace.backOffMsMax, random });
      await pause(waitMs, this.#stopping.signal);
      if (this.#stopping.signal.aborted) return "it was stopped";
    }
  }

  /** One child from its start to its end; resolves with how it ended. */
  async #once(onWell: () => void): Promise<string> {
    const { manifest, config } = this.#options;
    const ready = new Promise<void>((resolve) => {
      this.#onReady = resolve;
    });
    let child: PluginChild;
    try {
      child = await this.#startChild();
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
    this.#child = child;
    // Stopped while it was being started.
    if (this.#stopping.signal.aborted) void child.stop();
    child.send({ hello: { protocol: PROTOCOL, name: manifest.name, version: manifest.version, config } });
    const tending = new AbortController();
    const tended = this.#tend(child, { ready, onWell, signal: tending.signal });
    const { how } = await child.ended;
    tending.abort();
    await tended;
    this.#child = null;
    for (const call of this.#calls.values()) call.settle(failure(`the plugin ended while the call ran: ${how}`));
    return how;
  }

  /** Readiness, then health, for as long as this child lives. */
  async #tend(
    child: PluginChild,
    { ready, onWell, signal }: { ready: Promise<void>; onWell: () => void; signal: AbortSignal },
  ): Promise<void> {
    const { ready_ms, interval_ms, timeout_ms } = this.#options.manifest.health;
    const isReady = await Promise.race([ready.then(() => true), pause(ready_ms, signal).then(() => false)]);
    if (signal.aborted) return;
    if (!isReady) return child.kill(`not ready after ${ready_ms} ms`);
    for (let failures = 0; !signal.aborted; await pause(interval_ms, signal)) {
      const result = await this.#call({
        call: "health",
        executor: null,
        args: {},
        timeoutMs: timeout_ms,
        signal,
        onOutput: () => undefined,
      });
      if (signal.aborted) return;
      failures = result.state === "succeeded" ? 0 : failures + 1;
      this.problem = failures === 0 ? null : `its health: ${result.message}`;
      if (failures >= HEALTH_FAILURES_MAX) return child.kill(`${failures} health checks failed: ${result.message}`);
      if (failures > 0 || this.state === "running") continue;
      this.#is("running");
      onWell();
    }
  }

  async #call(call: {
    call: "execute" | "health";
    executor: string | null;
    args: unknown;
    timeoutMs: number;
    signal: AbortSignal;
    onOutput: (stream: "stdout" | "stderr", text: string) => void;
  }): Promise<PluginResult> {
    const child = this.#child;
    if (child === null) return failure("the plugin does not run now");
    // Its health is asked for also when all else waits.
    if (this.#calls.size >= CALLS_MAX && call.call !== "health")
      return failure(`${CALLS_MAX} calls wait for this plugin already`);
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve) => {
      const settle = (result: PluginResult) => {
        this.#calls.delete(id);
        clearTimeout(timer);
        clearTimeout(heedless);
        call.signal.removeEventListener("abort", onAbort);
        resolve(result);
      };
      let heedless: NodeJS.Timeout | undefined;
      const cancel = (why: string) => {
        if (call.call === "health") return settle(failure(why));
        child.send({ cancel: id });
        heedless ??= setTimeout(() => {
          settle(failure(`${why}, and it did not heed its cancellation`));
          child.kill("a call did not heed its cancellation");
        }, this.#options.pace.stopGraceMs);
      };
      const onAbort = () => cancel("its time was over, or it was cancelled");
      const timer = setTimeout(() => cancel(`no answer after ${call.timeoutMs} ms`), call.timeoutMs);
      this.#calls.set(id, { onOutput: call.onOutput, settle });
      if (!child.send({ id, call: call.call, executor: call.executor, args: call.args }))
        return settle(failure("it does not read what it is asked"));
      call.signal.addEventListener("abort", onAbort, { once: true });
      if (call.signal.aborted) onAbort();
    });
  }

  #startChild(): Promise<PluginChild> {
    const { manifest, root, confine, voice, mark, pace, now } = this.#options;
    if (manifest.run === "builtin") return Promise.reject(new Error("it is no program"));
    return startChild({
      program: { command: join(root, manifest.run.command), args: manifest.run.args },
      cwd: root,
      limits: lesserLimits(manifest.limits, {}),
      confine,
      env: { [PLUGIN_MARK]: mark },
      stopGraceMs: pace.stopGraceMs,
      bytes: new Allowance({ burst: BYTES_BURST, perSecond: BYTES_PER_SECOND, now }),
      lines: new Allowance({ burst: LINES_BURST, perSecond: LINES_PER_SECOND, now }),
      onLine: (line) => this.#take(line),
      onStderr: (line) => voice.stderr(line),
      onBad: (why) => voice.bad(why),
    });
  }

  #take(line: FromPlugin): void {
    const { voice } = this.#options;
    if (!voice.isAnswer(line)) return;
    if (line.kind === "ready") {
      this.#onReady();
      return;
    }
    const call = line.id === undefined ? undefined : this.#calls.get(line.id);
    // Late answers of calls that were given up are among these.
    if (call === undefined) voice.bad(`${line.kind}: no call ${line.id ?? "(no id)"} waits for it`);
    else if (line.kind === "output") call.onOutput(line.stream, line.output);
    else call.settle(line.result);
  }

  #is(state: PluginRunner["state"]): void {
    if (this.state === state) return;
    this.state = state;
    this.#options.onChange();
  }
}
