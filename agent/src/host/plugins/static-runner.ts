import { join } from "node:path";
import type { ResourceLimits } from "@homeostat/schemas";
import { lesserLimits } from "../executor/child-limits.ts";
import type { Execution, Outcome } from "../executor/executor.ts";
import { Allowance } from "./allowance.ts";
import { CallOutput } from "./call-output.ts";
import { PLUGIN_MARK, type PluginChild, startChild } from "./plugin-process.ts";
import { type FromPlugin, type PluginResult, PROTOCOL } from "./protocol.ts";
import { failure, type PluginRunner, type RunnerOptions } from "./runner.ts";

/** What one call may write in all, whatever of it is kept. */
const CALL_BYTES_MAX = 16 * 1_048_576;
const CALL_LINES_MAX = 20_000;
/** Calls of one plugin at a time, its collecting among them. */
const CALLS_MAX = 8;

interface Call {
  readonly call: "execute" | "collect" | "selftest";
  readonly executor: string | null;
  readonly args: unknown;
  readonly limits: ResourceLimits;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly onStarted: (pid: number) => void;
  readonly onOutput: (stream: "stdout" | "stderr", text: string) => void;
}

/** A process per call: one line in, lines out, one of them the result. */
export class StaticRunner implements PluginRunner {
  readonly #options: RunnerOptions;
  readonly #stopping = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  #timer: NodeJS.Timeout | null = null;
  #collectProblem: string | null = null;
  #hasStarted = false;

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  get state(): PluginRunner["state"] {
    return this.#hasStarted ? "idle" : "starting";
  }

  get problem(): string | null {
    return this.#collectProblem;
  }

  async start(): Promise<string | null> {
    const result = await this.#quietly("selftest");
    if (result.state === "failed") return `its selftest failed: ${result.message}`;
    this.#hasStarted = true;
    // Not all plugins of all hosts in the same second.
    if (this.#options.manifest.collects) this.#collectIn(this.#options.random());
    return null;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    await Promise.allSettled(this.#running);
  }

  async execute(executor: string, args: unknown, execution: Execution): Promise<Outcome> {
    const { limits } = this.#options.manifest;
    const output = new CallOutput(execution, Math.min(execution.outputBytesMax, limits.output_bytes_max));
    const result = await this.#call({
      call: "execute",
      executor,
      args,
      limits: lesserLimits(limits, execution.limits),
      env: { [execution.mark.name]: execution.mark.value },
      signal: execution.signal,
      onStarted: execution.noteChild,
      onOutput: (stream, text) => output.add(stream, text),
    });
    return output.outcome(result);
  }

  #collectIn(share: number): void {
    this.#timer = setTimeout(() => void this.#collect(), this.#options.manifest.collect_interval_ms * share);
    this.#timer.unref();
  }

  async #collect(): Promise<void> {
    const result = await this.#quietly("collect");
    if (this.#stopping.signal.aborted) return;
    const before = this.#collectProblem;
    this.#collectProblem = result.state === "failed" ? `it cannot collect: ${result.message}` : null;
    if (before !== this.#collectProblem) this.#options.onChange();
    this.#collectIn(1);
  }

  #quietly(call: "collect" | "selftest"): Promise<PluginResult> {
    const { manifest, voice } = this.#options;
    return this.#call({
      call,
      executor: null,
      args: {},
      limits: lesserLimits(manifest.limits, {}),
      env: {},
      signal: this.#stopping.signal,
      onStarted: () => undefined,
      onOutput: (_, text) => voice.stderr(text),
    });
  }

  async #call(call: Call): Promise<PluginResult> {
    if (this.#stopping.signal.aborted) return failure("the plugin is being stopped");
    if (this.#running.size >= CALLS_MAX) return failure(`${CALLS_MAX} calls of this plugin run already`);
    const done = this.#run(call);
    this.#running.add(done);
    try {
      return await done;
    } finally {
      this.#running.delete(done);
    }
  }

  async #run(call: Call): Promise<PluginResult> {
    const said: { result: PluginResult | null } = { result: null };
    const hasResult = new AbortController();
    let child: PluginChild;
    try {
      child = await this.#startChild(call, (line) => {
        if (line.kind === "output") call.onOutput(line.stream, line.output);
        if (line.kind !== "result" || said.result !== null) return;
        said.result = line.result;
        hasResult.abort();
      });
    } catch (error) {
      return failure(error instanceof Error ? error.message : String(error));
    }
    const { manifest, config, pace } = this.#options;
    call.onStarted(child.pid);
    // It has said all: what it does afterwards nobody waits for.
    hasResult.signal.addEventListener("abort", () => {
      overtime = setTimeout(() => child.kill("it went on after its result"), pace.stopGraceMs);
    });
    let overtime: NodeJS.Timeout | undefined;
    const timeoutMs = manifest.limits.call_timeout_ms;
    const tooLong = setTimeout(() => child.kill(`no end after ${timeoutMs} ms`), timeoutMs);
    const ending = AbortSignal.any([call.signal, this.#stopping.signal]);
    const onAbort = () => child.kill("its time was over, or it was cancelled");
    ending.addEventListener("abort", onAbort, { once: true });
    if (ending.aborted) onAbort();
    child.send({ protocol: PROTOCOL, call: call.call, executor: call.executor, args: call.args, config });
    child.closeInput();
    const { code, how } = await child.ended;
    ending.removeEventListener("abort", onAbort);
    clearTimeout(tooLong);
    clearTimeout(overtime);
    return said.result ?? failure(`${how}, without a result`, code);
  }

  #startChild(call: Call, onLine: (line: FromPlugin) => void): Promise<PluginChild> {
    const { manifest, root, confine, voice, mark, pace, now } = this.#options;
    if (manifest.run === "builtin") return Promise.reject(new Error("it is no program"));
    return startChild({
      program: { command: join(root, manifest.run.command), args: manifest.run.args },
      cwd: root,
      limits: call.limits,
      confine,
      env: { ...call.env, [PLUGIN_MARK]: mark },
      stopGraceMs: pace.stopGraceMs,
      bytes: new Allowance({ burst: CALL_BYTES_MAX, perSecond: 0, now }),
      lines: new Allowance({ burst: CALL_LINES_MAX, perSecond: 0, now }),
      onLine: (line) => {
        if (voice.isAnswer(line)) onLine(line);
      },
      onStderr: (line) => voice.stderr(line),
      onBad: (why) => voice.bad(why),
    });
  }
}
