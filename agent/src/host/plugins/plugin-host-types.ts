import type { KeyObject } from "node:crypto";
import type { DesiredPlugins, Log, PluginStatus } from "@homeostat/schemas";
import type { Collector } from "../collectors/collector.ts";
import type { Confine } from "../executor/child-limits.ts";
import type { Executor } from "../executor/executor.ts";
import type { FetchPiece } from "../fetch-artefact.ts";
import type { Sink } from "../metrics/series-book.ts";
import type { Builtin } from "./builtin.ts";
import type { Pace } from "./pace.ts";
import type { RunAs } from "./run-as.ts";

/** What the host needs of the registry of executors. */
export interface ExecutorShelf {
  get(name: string): Executor | undefined;
  add(executor: Executor): void;
  remove(name: string): void;
}

/** A piece of an artefact, as long as asked for, shorter only at its end. Rejects when it cannot be had now. */

export interface PluginHostOptions {
  /** The agent's own directory; what belongs to plugins is in `plugins` below it. */
  readonly dir: string;
  readonly fetch: FetchPiece;
  /** Publishers' public keys: what none of them signed is refused. */
  readonly trustedKeys: readonly KeyObject[];
  /** Names that may not be installed or turned on here, whatever the control plane wishes. */
  readonly denied: readonly string[];
  readonly executors: ExecutorShelf;
  readonly sink: Sink;
  /** What came with the agent. */
  readonly builtins: readonly Builtin[];
  readonly confine: Confine;
  /** Without it plugins run as the agent does. */
  readonly runAs?: RunAs;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: Log;
  readonly proc?: string;
  /** For tests: how long everything waits. */
  readonly pace?: Partial<Pace>;
  /** Called when the status of any plugin has changed. */
  readonly onChange?: () => void;
}

export interface PluginHost {
  /** Ends what an earlier agent left behind, and starts what is installed; the control plane need not be reachable. */
  start(): Promise<void>;
  /** In order: stdin's end, SIGTERM, SIGKILL. */
  stop(): Promise<void>;
  /** From `OrderListener.desired`. The newest counts; resolves when it is written down, not when it is done. */
  desired(desired: DesiredPlugins): Promise<void>;
  /** For the heartbeat: what came with the agent, and what was installed. */
  status(): readonly PluginStatus[];
  /** For the agent's own list: one line each. */
  problems(): readonly string[];
  /** To be called with the agent's others: hands on what plugins have measured since the last time. */
  readonly collector: Collector;
}
