import type { KeyObject } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { AgentState, Heartbeat, Log } from "@homeostat/schemas";
import { agent as agentCollector } from "./collectors/agent.ts";
import type { Collector } from "./collectors/collector.ts";
import { cpu } from "./collectors/cpu.ts";
import { diskIo } from "./collectors/disk-io.ts";
import { filesystem } from "./collectors/filesystem.ts";
import { load } from "./collectors/load.ts";
import { memory } from "./collectors/memory.ts";
import { network } from "./collectors/network.ts";
import { paging } from "./collectors/paging.ts";
import { paths } from "./collectors/path.ts";
import { processes } from "./collectors/process.ts";
import { service } from "./collectors/service.ts";
import { type AgentConfig, agentHost, type CollectorName, type ExecutorName } from "./config.ts";
import { CommandRunner } from "./executor/command-runner.ts";
import { execRun } from "./executor/exec-run.ts";
import type { Executor } from "./executor/executor.ts";
import { filesFree } from "./executor/files-free.ts";
import { serviceRestart } from "./executor/service-restart.ts";
import type { CommandSubscription, Link } from "./link.ts";
import { SeriesBook } from "./metrics/series-book.ts";
import { Publisher } from "./publisher.ts";
import { SupervisedProcess } from "./services/process-service.ts";
import type { Supervised } from "./services/supervised.ts";
import { SystemdUnit } from "./services/systemd-service.ts";
import { Spool } from "./spool/spool.ts";
import { Tail } from "./tail/tail.ts";

const AGENT_VERSION = "0.1.0";
/** After the collectors have been called, those that work off the main thread get this long to join the batch. */
const SETTLE_MS = 25;
const TAIL_SCAN_MS = 1_000;
/** A change in a watched directory is looked at after this, so that a busy log costs ten looks a second and no more. */
const HINT_MS = 100;
const SUBSCRIBE_RETRY_MS = 2_000;
const STOP_GRACE_MS = 3_000;
const PROBLEMS_MAX = 20;

export interface AgentOptions {
  readonly config: AgentConfig;
  /** The agent's own: spool, journal of commands, pids and logs of services. Two agents must not share one. */
  readonly dir: string;
  readonly link: Link;
  readonly trustedKeys: readonly KeyObject[];
  readonly now: () => number;
  /** Milliseconds that only go forward, whatever happens to the clock. */
  readonly monotonicMs: () => number;
  readonly log: Log;
  readonly random?: () => number;
  readonly proc?: string;
}

export interface Agent {
  /** Resolves once it watches; the platform need not be reachable for that. */
  start(): Promise<void>;
  stop(): Promise<void>;
  status(): Heartbeat;
}

export const createAgent = (options: AgentOptions): Agent => new HostAgent(options);

class HostAgent implements Agent {
  readonly #options: Required<AgentOptions>;
  readonly #host: string;
  readonly #spool: Spool;
  readonly #book: SeriesBook;
  readonly #tail: Tail;
  readonly #publisher: Publisher;
  readonly #services: readonly Supervised[];
  readonly #commands: CommandRunner;
  readonly #collectors: readonly { collector: Collector; nextAtMs: number }[];
  readonly #problems = new Map<string, string>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #watchers = new Map<string, FSWatcher>();
  #subscription: CommandSubscription | null = null;
  #startedUnixMs: number;
  #isStopping = false;
  #isTailScheduled = false;
  #lastFlushMs = 0;
  #heartbeatProblem: string | null = null;

  constructor(options: AgentOptions) {
    this.#options = { proc: "/proc", random: Math.random, ...options };
    const { config, dir, link, log, now, proc, random, trustedKeys } = this.#options;
    this.#host = agentHost(config);
    this.#startedUnixMs = now();
    this.#spool = Spool.open({ dir: join(dir, "spool"), host: this.#host, bytesMax: config.spool.bytes_max, log });
    this.#book = new SeriesBook({ host: this.#host, spool: this.#spool });
    this.#tail = new Tail({ sources: config.logs, host: this.#host, spool: this.#spool, log });
    this.#publisher = new Publisher({ spool: this.#spool, link, log, random });
    this.#services = config.services.map((declared) =>
      declared.manager === "process"
        ? new SupervisedProcess({ config: declared, dir, proc, log })
        : new SystemdUnit({ name: declared.name, unit: declared.unit }),
    );
    const publishResult = link.publishResult.bind(link);
    this.#commands = new CommandRunner({
      host: this.#host,
      dir,
      proc,
      trustedKeys,
      executors: this.#executors(),
      publishResult,
      now,
      log,
    });
    this.#collectors = this.#makeCollectors().map((collector) => ({ collector, nextAtMs: 0 }));
  }

  async start(): Promise<void> {
    const { config } = this.#options;
    // Before the services start: what they write from their first line on is new, and read from its beginning.
    this.#tail.scan(this.#options.now());
    for (const supervised of this.#services) await this.#guard(`service ${supervised.name}`, () => supervised.begin());
    this.#commands.start();
    this.#publisher.start();
    this.#tick();
    this.#pollTail();
    this.#timers.push(
      setInterval(() => this.#tick(), config.interval_ms),
      setInterval(() => this.#pollTail(), TAIL_SCAN_MS),
      setInterval(() => this.#flushLogs(), config.flush_ms),
      setInterval(() => void this.#beat(), config.heartbeat_ms),
    );
    for (const directory of this.#tail.directories()) this.#watch(directory);
    void this.#subscribe();
    void this.#beat();
  }

  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    await this.#subscription?.stop();
    await this.#commands.stop(STOP_GRACE_MS);
    for (const supervised of this.#services) await this.#guard(`service ${supervised.name}`, () => supervised.end());
    this.#tail.close();
    this.#book.flush();
    await this.#publisher.stop(STOP_GRACE_MS);
    for (const { collector } of this.#collectors) collector.close?.();
    this.#spool.close();
  }

  status(): Heartbeat {
    const problems = this.#allProblems();
    const state: AgentState = problems.length === 0 ? "online" : "degraded";
    return {
      host: this.#host,
      agent_version: AGENT_VERSION,
      state,
      problems: problems.slice(0, PROBLEMS_MAX).map((problem) => problem.slice(0, 500)),
      at_unix_ms: this.#options.now(),
      started_at_unix_ms: this.#startedUnixMs,
      ledger: this.#spool.ledger(),
      topics: this.#spool.topicLedgers(),
      checkpoints: this.#spool.checkpoints(),
      spool_bytes: this.#spool.bytes,
    };
  }

  #allProblems(): string[] {
    const found = [
      this.#spool.problem,
      this.#publisher.problem,
      this.#book.clockProblem,
      this.#book.isOverflowing ? "too many series: some are dropped" : null,
      this.#heartbeatProblem,
      ...this.#services.map((supervised) => supervised.problem),
      ...this.#tail.problems(),
      ...this.#problems.values(),
    ];
    return found.filter((problem) => problem !== null);
  }

  // ——— metrics

  #tick(): void {
    const nowUnixMs = this.#options.now();
    const nowMs = this.#options.monotonicMs();
    this.#book.tick(nowUnixMs);
    for (const entry of this.#collectors) {
      // Half a tick early is on time: timers are never exact.
      if (nowMs < entry.nextAtMs - this.#options.config.interval_ms / 2) continue;
      entry.nextAtMs = nowMs + entry.collector.everyMs;
      this.#collect(entry.collector, nowUnixMs);
    }
    if (nowMs - this.#lastFlushMs < this.#options.config.flush_ms - this.#options.config.interval_ms / 2) return;
    this.#lastFlushMs = nowMs;
    setTimeout(() => this.#flushMetrics(), SETTLE_MS);
  }

  #collect(collector: Collector, nowUnixMs: number): void {
    const key = `collector ${collector.name}`;
    try {
      collector.collect(nowUnixMs);
      this.#problems.delete(key);
    } catch (error) {
      if (!this.#problems.has(key))
        this.#options.log.error({ collector: collector.name, error: String(error) }, "a collector failed");
      this.#problems.set(key, `${key}: ${String(error)}`);
    }
  }

  #flushMetrics(): void {
    if (this.#isStopping) return;
    this.#book.flush();
    this.#publisher.wake();
  }

  #makeCollectors(): Collector[] {
    const { config, proc, monotonicMs } = this.#options;
    const sink = this.#book;
    const make: Record<CollectorName, () => Collector | null> = {
      cpu: () => cpu({ proc, sink }),
      load: () => load({ proc, sink }),
      memory: () => memory({ proc, sink }),
      paging: () => paging({ proc, sink }),
      filesystem: () => filesystem({ proc, sink }),
      disk_io: () => diskIo({ proc, sink }),
      network: () => network({ proc, sink }),
      process: () =>
        config.processes.length === 0
          ? null
          : processes({ proc, sink, cpuCount: availableParallelism(), watch: config.processes }),
      service: () => (this.#services.length === 0 ? null : service({ sink, services: this.#services })),
      path: () =>
        config.paths.length === 0
          ? null
          : paths({
              sink,
              watch: config.paths,
              monotonicMs,
              report: (name, problem) => this.#note(`path ${name}`, problem),
            }),
      agent: () =>
        agentCollector({
          sink,
          cpuMicros: () => {
            const { user, system } = process.cpuUsage();
            return user + system;
          },
          rssBytes: () => process.memoryUsage.rss(),
          monotonicMs,
          spoolBytes: () => this.#spool.bytes,
          ledger: () => this.#spool.ledger(),
        }),
    };
    return Object.entries(make)
      .filter(([name]) => config.collectors[name as CollectorName] !== false)
      .map(([, begin]) => begin())
      .filter((collector) => collector !== null);
  }

  // ——— logs

  #pollTail(): void {
    this.#tail.scan(this.#options.now());
    this.#readTail();
  }

  #readTail(): void {
    if (this.#isStopping) return;
    const hasMore = this.#tail.read(this.#options.now());
    if (this.#spool.hasPending) this.#publisher.wake();
    if (!hasMore || this.#isTailScheduled) return;
    this.#isTailScheduled = true;
    setImmediate(() => {
      this.#isTailScheduled = false;
      this.#readTail();
    });
  }

  #flushLogs(): void {
    if (this.#tail.flush()) this.#publisher.wake();
  }

  /** A hint only: the poll sees everything a second later. Heard once, then closed until the look is done. */
  #watch(directory: string): void {
    if (this.#isStopping) return;
    try {
      const watcher = watch(directory, { persistent: false });
      this.#watchers.set(directory, watcher);
      const again = () => {
        watcher.close();
        this.#watchers.delete(directory);
      };
      watcher.once("change", () => {
        again();
        setTimeout(() => {
          if (this.#isStopping) return;
          this.#pollTail();
          this.#watch(directory);
        }, HINT_MS);
      });
      watcher.once("error", again);
    } catch (error) {
      this.#options.log.debug({ directory, error: String(error) }, "cannot watch a directory; it is polled");
    }
  }

  // ——— commands and heartbeats

  #executors(): Executor[] {
    const { config, now } = this.#options;
    const make: Record<ExecutorName, () => Executor> = {
      "service.restart": () => serviceRestart(this.#services),
      "files.free": () => filesFree({ paths: config.paths, now }),
      "exec.run": () => execRun(config.commands),
    };
    return config.executors.map((name) => make[name]());
  }

  async #subscribe(): Promise<void> {
    try {
      const subscription = await this.#options.link.onCommand((signed) => this.#commands.take(signed));
      if (this.#isStopping) await subscription.stop();
      else this.#subscription = subscription;
      this.#problems.delete("commands");
    } catch (error) {
      this.#problems.set("commands", `no commands can be received: ${String(error)}`);
      if (!this.#isStopping) setTimeout(() => void this.#subscribe(), SUBSCRIBE_RETRY_MS);
    }
  }

  async #beat(): Promise<void> {
    try {
      await this.#options.link.publishHeartbeat(this.status());
      this.#heartbeatProblem = null;
    } catch (error) {
      this.#heartbeatProblem = `no heartbeat can be sent: ${String(error)}`;
    }
  }

  #note(key: string, problem: string | null): void {
    if (problem === null) this.#problems.delete(key);
    else this.#problems.set(key, problem);
  }

  async #guard(key: string, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#options.log.error({ key, error: String(error) }, "supervision failed");
      this.#problems.set(key, `${key}: ${String(error)}`);
    }
  }
}
