import { availableParallelism } from "node:os";
import type { Ledger } from "@homeostat/schemas";
import { agent } from "./collectors/agent.ts";
import type { Collector } from "./collectors/collector.ts";
import { cpu } from "./collectors/cpu.ts";
import { diskIo } from "./collectors/disk-io.ts";
import { filesystem } from "./collectors/filesystem.ts";
import { load } from "./collectors/load.ts";
import { Meminfo } from "./collectors/meminfo.ts";
import { memory } from "./collectors/memory.ts";
import { network } from "./collectors/network.ts";
import { paging } from "./collectors/paging.ts";
import { paths } from "./collectors/path.ts";
import { processes } from "./collectors/process.ts";
import { service } from "./collectors/service.ts";
import type { AgentConfig, CollectorName, ExecutorName } from "./config.ts";
import type { Confine } from "./executor/child-limits.ts";
import { execRun } from "./executor/exec-run.ts";
import type { Executor } from "./executor/executor.ts";
import { filesFree } from "./executor/files-free.ts";
import { serviceRestart } from "./executor/service-restart.ts";
import { shellOpen } from "./executor/shell-open.ts";
import type { Sink } from "./metrics/series-book.ts";
import type { Supervised } from "./services/supervised.ts";
import type { LogFileCounts } from "./tail/tail.ts";

export interface BuiltinOptions {
  readonly config: AgentConfig;
  readonly proc: string;
  readonly sink: Sink;
  readonly services: readonly Supervised[];
  readonly monotonicMs: () => number;
  readonly now: () => number;
  readonly spoolBytes: () => number;
  readonly ledger: () => Ledger;
  readonly logFiles: () => LogFileCounts;
  /** A problem by its key, or null when it is over. */
  readonly report: (key: string, problem: string | null) => void;
}

/** What ships with the agent, made only when it is wanted; null where the configuration leaves it nothing to watch. */
export const builtinCollectors = (options: BuiltinOptions): Record<CollectorName, () => Collector | null> => {
  const { config, proc, sink, services, monotonicMs } = options;
  const meminfo = new Meminfo(proc);
  return {
    cpu: () => cpu({ proc, sink }),
    load: () => load({ proc, sink }),
    memory: () => memory({ meminfo, sink }),
    paging: () => paging({ meminfo, sink }),
    filesystem: () => filesystem({ proc, sink }),
    disk_io: () => diskIo({ proc, sink }),
    network: () => network({ proc, sink }),
    process: () =>
      config.processes.length === 0
        ? null
        : processes({ proc, sink, cpuCount: availableParallelism(), watch: config.processes }),
    service: () => (services.length === 0 ? null : service({ sink, services })),
    path: () =>
      config.paths.length === 0
        ? null
        : paths({
            sink,
            watch: config.paths,
            monotonicMs,
            report: (name, problem) => options.report(`path ${name}`, problem),
          }),
    agent: () =>
      agent({
        sink,
        cpuMicros: () => {
          const { user, system } = process.cpuUsage();
          return user + system;
        },
        rssBytes: () => process.memoryUsage.rss(),
        monotonicMs,
        spoolBytes: options.spoolBytes,
        ledger: options.ledger,
        logFiles: config.logs.length === 0 ? null : options.logFiles,
      }),
  };
};

export const builtinExecutors = ({
  config,
  services,
  now,
  proc,
  confine,
}: Pick<BuiltinOptions, "config" | "services" | "now" | "proc"> & { readonly confine: Confine }): Record<
  ExecutorName,
  () => Executor
> => ({
  "service.restart": () => serviceRestart(services),
  "files.free": () => filesFree({ paths: config.paths, now }),
  "exec.run": () => execRun(config.commands, confine),
  "shell.open": () => shellOpen({ config: config.shell, proc, uid: process.getuid?.() ?? 0 }),
});
