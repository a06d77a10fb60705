import { createHash } from "node:crypto";
import {
  canonicalJson,
  type DesiredPlugin,
  type PluginManifest,
  type PluginStatus,
  releaseDistrust,
} from "@homeostat/schemas";
import type { Confine } from "../executor/child-limits.ts";
import { pause } from "../pause.ts";
import { install } from "./install.ts";
import { backOff, type Pace } from "./pace.ts";
import { executorsOf, manifestFlaw, PlacedExecutors } from "./plugin-executors.ts";
import type { PluginHostOptions } from "./plugin-host-types.ts";
import { PluginVoice } from "./plugin-voice.ts";
import { ResidentRunner } from "./resident-runner.ts";
import { confineAs, openWay, userFor } from "./run-as.ts";
import type { PluginRunner } from "./runner.ts";
import { StaticRunner } from "./static-runner.ts";
import type { Deployment, PluginState, PluginStore } from "./store.ts";
import { compareVersions } from "./version-order.ts";

/** An agent that ended so often while a new version was on trial is taken to have been ended by it. */
const TRIALS_MAX = 3;
/** Bytes that do not match may come from a server that lies; another one may be asked by then. */
const CORRUPT_MAX = 3;

export interface PluginUnitOptions extends Omit<PluginHostOptions, "pace" | "onChange" | "builtins"> {
  readonly name: string;
  readonly store: PluginStore;
  readonly pace: Pace;
  readonly mark: string;
  readonly onChange: () => void;
}

const digestOf = (value: unknown): string => createHash("sha256").update(canonicalJson(value)).digest("hex");
/** Names what would run. */
const keyOf = ({ release, config }: DesiredPlugin): string => digestOf([release.sha256, config]);
/** Names the wish: the same release with another signature, another pin, or wished again, is looked at anew. */
const wishOf = ({ release, config, pinned, wished_at_unix_ms }: DesiredPlugin): string =>
  digestOf([release, config, pinned, wished_at_unix_ms]);

/**
 * One installed plugin: brings about what is wished, one thing after the other, and falls back to the last good version by itself. Whatever
 * it does can be interrupted by a newer wish, and by `stop`.
 */
export class PluginUnit {
  readonly #options: PluginUnitOptions;
  readonly #voice: PluginVoice;
  readonly #executors: PlacedExecutors;
  #state: PluginState;
  #runner: PluginRunner | null = null;
  #runningKey = "";
  #wished: DesiredPlugin | null = null;
  #wishedText = "";
  #interrupt = new AbortController();
  #working: Promise<void> | null = null;
  #isStale = false;
  #isStopped = false;
  #problem: string | null = null;

  constructor(options: PluginUnitOptions) {
    this.#options = options;
    this.#voice = new PluginVoice(options);
    this.#executors = new PlacedExecutors(options.executors);
    this.#state = options.store.state(options.name);
  }

  /** null: it is wished no longer, and is removed. */
  wish(wished: DesiredPlugin | null): void {
    // Told again at each connection: that must not break off what is being done.
    const text = canonicalJson(wished);
    if (text === this.#wishedText) return;
    this.#wishedText = text;
    this.#wished = wished;
    this.#wake();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#interrupt.abort();
    await this.#working;
    await this.#halt();
  }

  /** Resolves when all that was wished so far is done, or has been given up. */
  async settled(): Promise<void> {
    while (this.#working !== null) await this.#working;
  }

  get isGone(): boolean {
    return this.#wished === null && this.#working === null;
  }

  handOnMetrics(): void {
    this.#voice.handOnMetrics();
  }

  status(): PluginStatus | null {
    const { current, failed } = this.#state;
    const version = current?.version ?? this.#wished?.release.manifest.version;
    if (version === undefined) return null;
    const problems = [this.#problem, this.#runner?.problem ?? null, this.#voice.problem()];
    return {
      name: this.#options.name,
      version,
      state: this.#stateNow(),
      pinned: this.#wished?.pinned ?? false,
      desired_version: this.#wished?.release.manifest.version ?? null,
      problem: problems
        .filter((problem) => problem !== null)
        .join("; ")
        .slice(0, 1_000),
      last_failed: failed === null ? null : { version: failed.version, reason: failed.reason },
    };
  }

  #stateNow(): PluginStatus["state"] {
    if (this.#wished !== null && !this.#isEnabled(this.#wished)) return "disabled";
    if (this.#runner !== null) return this.#runner.state;
    return this.#working === null ? "failed" : "starting";
  }

  #isEnabled({ enabled }: DesiredPlugin): boolean {
    return enabled && !this.#options.denied.includes(this.#options.name);
  }

  /** One at a time; what comes meanwhile interrupts it, and is looked at next. */
  #wake(): void {
    if (this.#isStopped) return;
    this.#isStale = true;
    this.#interrupt.abort();
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
      if (this.#isStale) this.#wake();
      this.#options.onChange();
    });
  }

  async #work(): Promise<void> {
    while (this.#isStale && !this.#isStopped) {
      this.#isStale = false;
      this.#interrupt = new AbortController();
      try {
        await this.#bringAbout(this.#wished, this.#interrupt.signal);
      } catch (error) {
        this.#problem = `not brought about: ${error instanceof Error ? error.message : String(error)}`;
        this.#options.log.error({ plugin: this.#options.name, error: String(error) }, "a plugin could not be tended");
      }
    }
  }

  async #bringAbout(wished: DesiredPlugin | null, signal: AbortSignal): Promise<void> {
    this.#problem = null;
    if (wished === null) {
      await this.#halt();
      this.#options.store.remove(this.#options.name);
      return;
    }
    if (!this.#isEnabled(wished)) return this.#halt();
    if (this.#state.failed?.wish !== wishOf(wished) && this.#state.current?.key !== keyOf(wished)) {
      const isReady = await this.#prepare(wished, signal);
      if (!isReady && signal.aborted) return;
    }
    await this.#run(signal);
    if (this.#state.current === null) await this.#halt();
  }

  /** Makes what is wished the current one, on disk; false when it stays as it is. */
  async #prepare(wished: DesiredPlugin, signal: AbortSignal): Promise<boolean> {
    const { release, config } = wished;
    const { version } = release.manifest;
    const [key, wish] = [keyOf(wished), wishOf(wished)];
    const refusal = this.#refusalOf(wished);
    if (refusal !== null) return this.#fail({ wish, version, reason: refusal });
    const { store, name } = this.#options;
    const directory = store.directoryOf(release);
    if (!store.has(name, directory)) {
      const why = await this.#install(wished, signal);
      if (signal.aborted) return false;
      if (why !== null) return this.#fail({ wish, version, reason: why });
    }
    this.#write({ current: { directory, version, config, key, wish }, trials: 0 });
    return true;
  }

  #refusalOf({ release, config, pinned }: DesiredPlugin): string | null {
    const { manifest } = release;
    if (manifest.run === "builtin" || release.sha256 === "") return "nothing of this name came with the agent";
    const distrust = releaseDistrust(release, this.#options.trustedKeys);
    if (distrust !== null) return distrust;
    const current = this.#state.current?.version;
    if (current !== undefined && !pinned && compareVersions(manifest.version, current) < 0)
      return `it would go back from ${current}; pin it to have that`;
    return manifestFlaw(manifest, { config, executors: this.#options.executors, own: this.#executors.names });
  }

  /** Tries for as long as it is wished and there is hope. Resolves with why there is none, or null when it is there. */
  async #install({ release }: DesiredPlugin, signal: AbortSignal): Promise<string | null> {
    const { store, fetch, pace, random } = this.#options;
    for (let attempt = 0, corrupt = 0; ; attempt++) {
      const retryMs = pace.pieceRetryMs;
      const setting = { store, fetch, signal, retryMs, random, unpackMs: pace.unpackMs };
      const { outcome, detail } = await install(release, setting);
      if (outcome === "installed" || signal.aborted) {
        this.#problem = null;
        return null;
      }
      if (outcome === "corrupt") corrupt += 1;
      if (outcome === "refused" || corrupt >= CORRUPT_MAX) return detail;
      this.#problem = detail;
      this.#options.onChange();
      const waitMs = backOff(attempt, { firstMs: pace.fetchRetryMs, mostMs: pace.fetchRetryMsMax, random });
      await pause(waitMs, signal);
    }
  }

  /** Runs the current version, or the last good one when that fails, until one is well or none is left. */
  async #run(signal: AbortSignal): Promise<void> {
    for (let current = this.#state.current; current !== null; current = this.#state.current) {
      if (this.#runner !== null && this.#runner.state !== "failed" && this.#runningKey === current.key) return;
      await this.#halt();
      if (signal.aborted) return;
      const reason = await this.#try(current, signal);
      if (signal.aborted) return;
      if (reason === null) return this.#commend(current);
      await this.#halt();
      this.#fallBack(current, reason);
    }
  }

  /** Starts it; null when it is well. */
  async #try(current: Deployment, signal: AbortSignal): Promise<string | null> {
    const isKnown = this.#state.good.some(({ key }) => key === current.key);
    if (!isKnown && this.#state.trials >= TRIALS_MAX)
      return `the agent ended ${TRIALS_MAX} times while it was on trial`;
    if (!isKnown) this.#write({ trials: this.#state.trials + 1 });
    const { name, store, trustedKeys, executors } = this.#options;
    const release = store.release(name, current.directory);
    if (release === null) return "it is not whole on the disk";
    const flaw =
      releaseDistrust(release, trustedKeys) ??
      manifestFlaw(release.manifest, { config: current.config, executors, own: this.#executors.names });
    if (flaw !== null) return flaw;
    const confine = await this.#confineFor(current);
    if ("refused" in confine) return confine.refused;
    const runner = this.#makeRunner(release.manifest, current, confine);
    this.#runner = runner;
    this.#runningKey = current.key;
    this.#options.onChange();
    const onAbort = () => void runner.stop();
    signal.addEventListener("abort", onAbort, { once: true });
    const reason = await runner.start();
    signal.removeEventListener("abort", onAbort);
    if (reason === null && !signal.aborted)
      this.#executors.place(executorsOf(release.manifest, (...call) => runner.execute(...call)));
    // The trial was broken off, not failed.
    if (signal.aborted && !isKnown) this.#write({ trials: this.#state.trials - 1 });
    return reason;
  }

  /** As the operator's file says, as somebody else. */
  async #confineFor(current: Deployment): Promise<Confine | { readonly refused: string }> {
    const { name, dir, store, confine, runAs } = this.#options;
    const user = runAs === undefined ? null : userFor(runAs, name);
    if (runAs === undefined || user === null) return confine;
    const confined = await confineAs(user, { confine, pidsMax: runAs.pidsMax, uid: process.getuid?.() ?? -1 });
    if (!("refused" in confined)) openWay(dir, store.rootOf(name, current.directory));
    return confined;
  }

  #makeRunner(manifest: PluginManifest, current: Deployment, confine: Confine): PluginRunner {
    const { name, store, pace, mark, now, random, onChange } = this.#options;
    const runner: PluginRunner = new (manifest.kind === "static" ? StaticRunner : ResidentRunner)({
      manifest,
      root: store.rootOf(name, current.directory),
      config: current.config,
      confine,
      voice: this.#voice,
      mark,
      pace,
      now,
      random,
      onFailed: (reason) => {
        if (this.#runner === runner) this.#onFailed(current, reason);
      },
      onChange,
    });
    return runner;
  }

  /** It was well once, and has used up its budget: the one before it takes over. */
  #onFailed(current: Deployment, reason: string): void {
    this.#fallBack(current, reason);
    this.#wake();
  }

  #commend(current: Deployment): void {
    const others = this.#state.good.filter(({ key }) => key !== current.key);
    const good = [current, ...others].slice(0, 2);
    const { failed } = this.#state;
    const isWished = this.#wished !== null && keyOf(this.#wished) === current.key;
    this.#write({ good, trials: 0, failed: isWished && failed?.version === current.version ? null : failed });
    this.#options.store.keep(
      this.#options.name,
      good.map(({ directory }) => directory),
    );
    this.#options.log.info({ plugin: this.#options.name, version: current.version }, "a plugin is well");
  }

  #fallBack(current: Deployment, reason: string): void {
    const good = this.#state.good.filter(({ key }) => key !== current.key);
    this.#fail({ wish: current.wish, version: current.version, reason });
    this.#write({ current: good[0] ?? null, good, trials: 0 });
  }

  #fail(failed: { wish: string; version: string; reason: string }): false {
    const reason = failed.reason.slice(0, 1_000);
    this.#options.log.error(
      { plugin: this.#options.name, version: failed.version, reason },
      "a version of a plugin failed",
    );
    this.#write({ failed: { ...failed, reason } });
    return false;
  }

  #write(change: Partial<PluginState>): void {
    this.#state = { ...this.#state, ...change };
    this.#options.store.writeState(this.#options.name, this.#state);
    this.#options.onChange();
  }

  async #halt(): Promise<void> {
    this.#executors.clear();
    await this.#runner?.stop();
    this.#runner = null;
    this.#runningKey = "";
  }
}
