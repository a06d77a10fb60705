import type { PluginManifest } from "@homeostat/schemas";
import type { Confine } from "../executor/child-limits.ts";
import type { Execution, Outcome } from "../executor/executor.ts";
import type { Pace } from "./pace.ts";
import type { PluginVoice } from "./plugin-voice.ts";
import type { PluginResult } from "./protocol.ts";

/** What runs one version of a plugin: a process for each call (static-runner.ts), or one that stays (resident-runner.ts). */
export interface PluginRunner {
  /** Resolves with null when it is well, with the reason when it is not, or was stopped meanwhile. */
  start(): Promise<string | null>;
  stop(): Promise<void>;
  execute(executor: string, args: unknown, execution: Execution): Promise<Outcome>;
  readonly state: "running" | "idle" | "starting" | "backing_off" | "failed";
  readonly problem: string | null;
}

export interface RunnerOptions {
  readonly manifest: PluginManifest;
  /** Where the artefact was unpacked. */
  readonly root: string;
  readonly config: unknown;
  readonly confine: Confine;
  readonly voice: PluginVoice;
  /** The value of PLUGIN_MARK. */
  readonly mark: string;
  readonly pace: Pace;
  readonly now: () => number;
  readonly random: () => number;
  /** It was well, and is no longer: its restart budget is used up. */
  readonly onFailed: (reason: string) => void;
  readonly onChange: () => void;
}

export const failure = (message: string, exitCode: number | null = null): PluginResult => ({
  state: "failed",
  message: message.slice(0, 2_000),
  exit_code: exitCode,
});
