import type { DesiredPlugins, Log, PluginStatus } from "@homeostat/schemas";
import type { Collector } from "./collectors/collector.ts";
import type { CollectorSchedule } from "./collectors/schedule.ts";
import type { AgentConfig, CollectorName } from "./config.ts";
import type { Confine } from "./executor/child-limits.ts";
import type { ExecutorRegistry } from "./executor/registry.ts";
import type { Sink } from "./metrics/series-book.ts";
import type { Spool } from "./spool/spool.ts";

/** What an agent offers to what is plugged into it. */
export interface AgentSurface {
  readonly host: string;
  readonly config: AgentConfig;
  /** The agent's own directory. */
  readonly dir: string;
  readonly proc: string;
  readonly log: Log;
  readonly now: () => number;
  readonly monotonicMs: () => number;
  readonly random: () => number;
  /** For metrics of one's own. */
  readonly sink: Sink;
  /** Those that ship with the agent, as far as the configuration allows them, are in it. */
  readonly executors: ExecutorRegistry;
  readonly collectors: CollectorSchedule;
  /** Makes one that ships with the agent anew, to be added after it has been removed; null where the configuration leaves it nothing to watch. */
  readonly makeCollector: Readonly<Record<CollectorName, () => Collector | null>>;
  /** Puts limits around a child: control groups where the agent may make them, otherwise ulimit and nice. */
  readonly confine: Confine;
  readonly spool: Spool;
  /** Waits for a moment in which no other command runs, and has none begin from then on: whoever called it ends the agent. Rejects when `signal` aborts before. */
  readonly handOver: (commandId: string, signal: AbortSignal) => Promise<void>;
  /** A problem for the heartbeat by its key, or null when it is over. */
  readonly report: (key: string, problem: string | null) => void;
}

/** Something that lives in an agent: the host of plugins, the agent's care for itself. */
export interface AgentPart {
  readonly name?: string;
  /** Called before the first command is taken. What it throws is a problem of the host; the agent goes on. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Called with the agent's own collectors. */
  readonly collector?: Collector;
  /** One line each, for the heartbeat. */
  problems?(): readonly string[];
  /** For the heartbeat. */
  status?(): readonly PluginStatus[];
  desired?(desired: DesiredPlugins): void | Promise<void>;
}
