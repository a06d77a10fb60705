import type { KeyObject } from "node:crypto";
import type { AgentPart, AgentSurface } from "../agent-part.ts";
import { COLLECTOR_NAMES, EXECUTOR_NAMES } from "../config.ts";
import type { FetchPiece } from "../fetch-artefact.ts";
import { type Builtin, builtinManifest } from "./builtin.ts";
import { createPluginHost } from "./plugin-host.ts";

export interface PluginPartOptions {
  readonly fetch: FetchPiece;
  /** `trust.plugin_keys`: of publishers. */
  readonly trustedKeys: readonly KeyObject[];
  /** Of the agent, and so of what came with it. */
  readonly version: string;
  readonly onChange?: () => void;
}

/** The host of plugins as a part of an agent. */
export const pluginPart =
  (options: PluginPartOptions) =>
  (surface: AgentSurface): AgentPart => {
    const { dir, executors, sink, confine, now, random, log, proc } = surface;
    const host = createPluginHost({
      ...options,
      denied: surface.config.plugins_denied,
      runAs: { users: surface.config.plugins_run_as, pidsMax: surface.config.command_limits.pids_max },
      builtins: [...builtinCollectors(surface, options.version), ...builtinExecutors(surface, options.version)],
      dir,
      executors,
      sink,
      confine,
      now,
      random,
      log,
      proc,
    });
    return {
      name: "plugins",
      start: () => host.start(),
      stop: () => host.stop(),
      collector: host.collector,
      problems: () => host.problems(),
      status: () => host.status(),
      desired: (desired) => host.desired(desired),
    };
  };

const builtinCollectors = ({ config, collectors, makeCollector }: AgentSurface, version: string): Builtin[] =>
  COLLECTOR_NAMES.map((name) => ({
    manifest: builtinManifest({ name, version, collects: true }),
    isAllowed: config.collectors[name] !== false,
    turnOn: () => {
      const collector = makeCollector[name]();
      if (collector !== null) collectors.add(collector);
    },
    turnOff: () => collectors.remove(name),
    problem: () => {
      const prefix = `collector ${name}: `;
      const found = collectors.problems().find((problem) => problem.startsWith(prefix));
      return found === undefined ? null : found.slice(prefix.length);
    },
  }));

/** Their arguments are checked by themselves: the schema that is told here says that they are an object. */
const builtinExecutors = ({ executors }: AgentSurface, version: string): Builtin[] =>
  EXECUTOR_NAMES.map((name) => {
    const made = executors.get(name);
    const risk = made?.risk ?? "destructive";
    return {
      manifest: builtinManifest({ name, version, executor: { risk, args_schema: { type: "object" } } }),
      isAllowed: made !== undefined,
      turnOn: () => {
        if (made !== undefined) executors.add(made);
      },
      turnOff: () => executors.remove(name),
      problem: () => null,
    };
  });
