import type { KeyObject } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { join } from "node:path";
import type { AgentState, DesiredPlugins, Heartbeat, Log } from "@homeostat/schemas";
import type { AgentPart, AgentSurface } from "./agent-part.ts";
import { AGENT_VERSION } from "./agent-version.ts";
import { builtinCollectors, builtinExecutors } from "./builtin.ts";
import { CollectorSchedule } from "./collectors/schedule.ts";
import { type AgentConfig, agentHost, type CollectorName } from "./config.ts";
import { type Confine, confineOnThisHost, lesserLimits } from "./executor/child-limits.ts";
import { CommandRunner } from "./executor/command-runner.ts";
import { createExecutorRegistry, type ExecutorRegistry } from "./executor/registry.ts";
import type { CommandSubscription, Link } from "./link.ts";
import { SeriesBook } from "./metrics/series-book.ts";
import { createPolicyCheck } from "./policy.ts";
import { Publisher } from "./publisher.ts";
import { SupervisedProcess } from "./services/process-service.ts";
import type { Supervised } from "./services/supervised.ts";
import { SystemdUnit } from "./services/systemd-service.ts";
import { Spool } from "./spool/spool.ts";
import { Tail } from "./tail/tail.ts";

/** After the collectors have been called, those that work off the main thread get this long to join the batch. */
const SETTLE_MS = 25;
const TAIL_SCAN_MS = 1_000;
/** A change in a watched directory is looked at after this, so that a busy log costs ten looks a second and no more. */
const HINT_MS = 100;
const SUBSCRIBE_RETRY_MS = 2_000;
const STOP_GRACE_MS = 3_000;
const PROBLEMS_MAX = 20;
/** As many as a heartbeat may name. */
const PLUGINS_MAX = 128;

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
  readonly version?: string;
  /** As its identity says; by default the configuration's. */
  readonly site?: () => string;
  /** null until it has been measured. */
  readonly clockSkewMs?: () => number | null;
  /**
   * What is plugged in beside what ships with the agent: the host of plugins, the agent's care for itself. Called once; the parts are
   * started in order before the first command is taken, and stopped last-first.
   */
  readonly parts?: (surface: AgentSurface) => readonly AgentPart[];
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
  readonly #confine: Confine;
  readonly #executors: ExecutorRegistry;
  readonly #commands: CommandRunner;
  readonly #collectors: CollectorSchedule;
  readonly #parts: readonly AgentPart[];
  readonly #problems = new Map<string, string>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #watchers = new Map<string, FSWatcher>();
  #subscription: CommandSubscription | null = null;
  #startedUnixMs: number;
  #isStopping = false;
  #isTailScheduled = false;
  #lastFlushMs = 0;
  #scannedMs = Number.NEGATIVE_INFINITY;
  #heartbeatProblem: string | null = null;

  constructor(options: AgentOptions) {
    const site = () => options.config.site;
    const clockSkewMs = () => null;
    const defaults = { proc: "/proc", random: Math.random, version: AGENT_VERSION, site, clockSkewMs, parts: () => [] };
    this.#options = { ...defaults, ...options };
    const { config, dir, link, log, now, proc, random } = this.#options;
    this.#host = agentHost(config);
    this.#startedUnixMs = now();
    this.#spool = Spool.open({ dir: join(dir, "spool"), host: this.#host, bytesMax: config.spool.bytes_max, log });
    this.#book = new SeriesBook({ host: this.#host, spool: this.#spool });
    const { logs: sources, log_files_max: filesMax } = config;
    this.#tail = new Tail({ sources, filesMax, host: this.#host, spool: this.#spool, log });
    this.#publisher = new Publisher({ spool: this.#spool, link, log, random });
    this.#services = config.services.map((declared) =>
      declared.manager === "process"
        ? new SupervisedProcess({ config: declared, dir, proc, log })
        : new SystemdUnit({ name: declared.name, unit: declared.unit }),
    );
    const { cgroup, pids_max: pidsMax } = config.command_limits;
    this.#confine = confineOnThisHost({ cgroup, pidsMax, proc, log });
    this.#executors = createExecutorRegistry(this.#makeExecutors());
    this.#collectors = new CollectorSchedule(log);
    this.#addCollectors();
    this.#commands = this.#makeRunner();
    this.#parts = this.#options.parts(this.#surface());
    for (const { collector } of this.#parts) if (collector !== undefined) this.#collectors.add(collector);
  }

  async start(): Promise<void> {
    const { config } = this.#options;
    // Before the services start: what they write from their first line on is new, and read from its beginning.
    this.#tail.scan(this.#options.now());
    for (const supervised of this.#services) await this.#guard(`service ${supervised.name}`, () => supervised.begin());
    for (const part of this.#parts) await this.#guard(part.name ?? "plugins", () => part.start());
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
    this.#options.link.onUp?.(() => {
      this.#publisher.linkIsUp();
      void this.#beat();
    });
    void this.#beat();
  }

  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    await this.#subscription?.stop();
    this.#options.link.leaving?.();
    await this.#commands.stop(STOP_GRACE_MS);
    for (const part of this.#parts.toReversed()) await this.#guard(part.name ?? "plugins", () => part.stop());
    for (const supervised of this.#services) await this.#guard(`service ${supervised.name}`, () => supervised.end());
    this.#tail.close();
    this.#book.flush();
    await this.#publisher.stop(STOP_GRACE_MS);
    this.#collectors.close();
    this.#spool.close();
  }

  status(): Heartbeat {
    const problems = this.#allProblems();
    const state: AgentState = problems.length === 0 ? "online" : "degraded";
    return {
      host: this.#host,
      agent_version: this.#options.version,
      state,
      problems: problems.slice(0, PROBLEMS_MAX).map((problem) => problem.slice(0, 500)),
      at_unix_ms: this.#options.now(),
      started_at_unix_ms: this.#startedUnixMs,
      ledger: this.#spool.ledger(),
      topics: this.#spool.topicLedgers(),
      checkpoints: this.#spool.checkpoints(),
      spool_bytes: this.#spool.bytes,
      site: this.#options.site(),
      labels: this.#options.config.labels,
      plugins: this.#parts.flatMap((part) => part.status?.() ?? []).slice(0, PLUGINS_MAX),
      clock_skew_ms: this.#options.clockSkewMs(),
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
      ...this.#collectors.problems(),
      ...this.#parts.flatMap((part) => part.problems?.() ?? []),
      ...this.#problems.values(),
    ];
    return found.filter((problem) => problem !== null);
  }

  // ——— metrics

  #tick(): void {
    const nowUnixMs = this.#options.now();
    const nowMs = this.#options.monotonicMs();
    this.#book.tick(nowUnixMs);
    this.#collectors.tick({ nowUnixMs, monotonicMs: nowMs, tickMs: this.#options.config.interval_ms });
    if (nowMs - this.#lastFlushMs < this.#options.config.flush_ms - this.#options.config.interval_ms / 2) return;
    this.#lastFlushMs = nowMs;
    if (this.#collectors.isPending) setTimeout(() => this.#flushMetrics(), SETTLE_MS);
    else this.#flushMetrics();
  }

  #flushMetrics(): void {
    if (this.#isStopping) return;
    this.#book.flush();
    this.#publisher.wake();
  }

  #addCollectors(): void {
    const { config } = this.#options;
    for (const [name, make] of Object.entries(this.#builtinCollectors())) {
      const collector = config.collectors[name as CollectorName] === false ? null : make();
      if (collector !== null) this.#collectors.add(collector);
    }
  }

  #builtinCollectors() {
    const { config, proc, monotonicMs, now } = this.#options;
    return builtinCollectors({
      config,
      proc,
      sink: this.#book,
      services: this.#services,
      monotonicMs,
      now,
      spoolBytes: () => this.#spool.bytes,
      ledger: () => this.#spool.ledger(),
      logFiles: () => this.#tail.files(),
      report: (key, problem) => this.#note(key, problem),
    });
  }

  // ——— logs

  #pollTail(): void {
    const nowMs = this.#options.monotonicMs();
    if (nowMs - this.#scannedMs >= this.#tail.scanEveryMs) {
      this.#tail.scan(this.#options.now());
      this.#scannedMs = nowMs;
    }
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

  #makeExecutors() {
    const { config, now, proc } = this.#options;
    const make = builtinExecutors({ config, services: this.#services, now, proc, confine: this.#confine });
    return config.executors.map((name) => make[name]());
  }

  #makeRunner(): CommandRunner {
    const { config, dir, link, log, now, proc, trustedKeys, site, monotonicMs } = this.#options;
    const { concurrent_max: concurrentMax, queue_max: queueMax, cpu_percent, memory_bytes } = config.command_limits;
    return new CommandRunner({
      host: this.#host,
      dir,
      proc,
      trustedKeys,
      executors: this.#executors,
      policy: createPolicyCheck(config.policy, site),
      limits: lesserLimits({ cpu_percent, memory_bytes }, {}),
      concurrentMax,
      queueMax,
      publishResult: (result) => link.publishResult(result),
      publishProgress: (progress) => link.publishProgress(progress),
      now,
      monotonicMs,
      log,
    });
  }

  #surface(): AgentSurface {
    const { config, dir, proc, log, now, monotonicMs, random } = this.#options;
    return {
      host: this.#host,
      config,
      dir,
      proc,
      log,
      now,
      monotonicMs,
      random,
      sink: this.#book,
      executors: this.#executors,
      collectors: this.#collectors,
      confine: this.#confine,
      makeCollector: this.#builtinCollectors(),
      spool: this.#spool,
      handOver: (commandId, signal) => this.#commands.handOver(commandId, signal),
      report: (key, problem) => this.#note(key, problem),
    };
  }

  async #subscribe(): Promise<void> {
    try {
      const subscription = await this.#options.link.onOrder({
        command: (value) => this.#commands.take(value),
        cancel: (value) => this.#commands.cancel(value),
        input: (commandId, data) => this.#commands.input(commandId, data),
        resize: (commandId, columns, rows) => this.#commands.resize(commandId, columns, rows),
        desired: (desired) => this.#desire(desired),
      });
      if (this.#isStopping) await subscription.stop();
      else this.#subscription = subscription;
      this.#problems.delete("commands");
    } catch (error) {
      this.#problems.set("commands", `no commands can be received: ${String(error)}`);
      if (!this.#isStopping) setTimeout(() => void this.#subscribe(), SUBSCRIBE_RETRY_MS);
    }
  }

  #desire(desired: DesiredPlugins): void {
    for (const part of this.#parts) void this.#guard("desired plugins", async () => part.desired?.(desired));
  }

  async #beat(): Promise<void> {
    // One that arrives would tell of itself that it cannot be sent.
    this.#heartbeatProblem = null;
    try {
      await this.#options.link.publishHeartbeat(this.status());
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
