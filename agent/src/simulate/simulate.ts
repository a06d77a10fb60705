import { type ChildProcess, fork } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { SimulateOptions, Simulation, SimulationCounts } from "./simulation.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";

const WORKER = fileURLToPath(new URL("./worker.ts", import.meta.url));
/** A worker that does not end by itself is killed. */
const STOP_MS_MAX = 15_000;
const PROGRESS_MS = 1_000;
const NOTHING: SimulationCounts = { agents: 0, enrolled: 0, connected: 0, sealed: 0, commands: 0, errors: 0 };

/** Begins `agents` virtual agents in worker processes. Resolves when the workers run; `ready` tells when all agents can be commanded. */
export const simulate = async (options: SimulateOptions): Promise<Simulation> => {
  if (!Number.isSafeInteger(options.agents) || options.agents < 1)
    throw new RangeError(`agents: want a whole number from 1, not ${options.agents}`);
  if (options.servers.length === 0) throw new RangeError("servers: want at least one site server, host:port");
  mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  return new WorkerSimulation(options);
};

class WorkerSimulation implements Simulation {
  readonly #options: SimulateOptions;
  readonly #workers: Worker[];
  readonly #ready = Promise.withResolvers<void>();
  #said = "";
  #saidMs = 0;
  #isStopped = false;

  constructor(options: SimulateOptions) {
    this.#options = options;
    this.#ready.promise.catch(() => undefined);
    const count = Math.max(1, Math.min(options.workers, options.agents));
    this.#workers = Array.from({ length: count }, (_, worker) => this.#begin(worker, count));
  }

  get pids(): readonly number[] {
    return this.#workers.map(({ child }) => child.pid ?? 0);
  }

  ready(): Promise<void> {
    return this.#ready.promise;
  }

  counts(): SimulationCounts {
    const sum = { ...NOTHING, agents: this.#options.agents };
    for (const { counts } of this.#workers)
      for (const key of ["enrolled", "connected", "sealed", "commands", "errors"] as const) sum[key] += counts[key];
    return sum;
  }

  async killWorker(at: number, deadMs: number): Promise<void> {
    const worker = this.#workers[at];
    if (worker === undefined) throw new RangeError(`there is no worker ${at} of ${this.#workers.length}`);
    await worker.kill();
    await delay(deadMs);
    if (!this.#isStopped) this.#workers[at] = this.#begin(at, this.#workers.length);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    this.#ready.reject(new Error("the simulation was stopped before all agents were ready"));
  }

  /** Hosts keep their worker, and with it their identity and journal, as long as the number of workers stays. */
  #begin(worker: number, count: number): Worker {
    const { agents, hostPrefix, dir, markerDir, servers, token, heartbeatMs, verifies } = this.#options;
    const hosts: string[] = [];
    for (let at = worker; at < agents; at += count) hosts.push(`${hostPrefix}${String(at).padStart(5, "0")}`);
    const workerDir = join(dir, `worker-${worker}-of-${count}`);
    mkdirSync(workerDir, { recursive: true, mode: 0o700 });
    const markerPath = markerDir === null ? null : join(markerDir, `markers-${worker}`);
    const task = { worker, hosts, servers, token, dir: workerDir, heartbeatMs, markerPath, verifies: verifies ?? true };
    return new Worker({ type: "begin", task }, (message) => this.#hear(worker, message));
  }

  #hear(worker: number, message: FromWorker | { type: "died"; reason: string }): void {
    const { onEvent, agents, log, monotonicMs } = this.#options;
    if (message.type === "problem") onEvent({ kind: "problem", message: message.message });
    if (message.type === "failed") this.#ready.reject(new Error(message.message));
    if (message.type === "died") {
      log.error({ worker, reason: message.reason }, "a worker of the simulation ended");
      this.#ready.reject(new Error(`worker ${worker} ended: ${message.reason}`));
      onEvent({ kind: "worker_died", worker, reason: message.reason });
    }
    if (message.type !== "counts") return;
    const counts = this.counts();
    if (counts.sealed >= agents) this.#ready.resolve();
    const said = JSON.stringify(counts);
    const now = monotonicMs();
    if (said === this.#said || now - this.#saidMs < PROGRESS_MS) return;
    this.#said = said;
    this.#saidMs = now;
    onEvent({ kind: "progress", counts });
  }
}

class Worker {
  readonly child: ChildProcess;
  counts: SimulationCounts = NOTHING;
  readonly #ended: Promise<void>;
  #isStopping = false;

  constructor(begin: ToWorker, hear: (message: FromWorker | { type: "died"; reason: string }) => void) {
    this.child = fork(WORKER, { stdio: ["ignore", "inherit", "inherit", "ipc"], serialization: "advanced" });
    this.child.on("message", (received) => {
      const message = received as FromWorker;
      if (message.type === "counts") this.counts = message.counts;
      hear(message);
    });
    this.#ended = new Promise((resolve) =>
      this.child.once("exit", (code, signal) => {
        this.counts = NOTHING;
        if (!this.#isStopping) hear({ type: "died", reason: String(code ?? signal) });
        resolve();
      }),
    );
    // Killed with a message on its way: `exit` tells.
    this.child.on("error", () => undefined);
    this.child.send(begin);
  }

  async kill(): Promise<void> {
    this.#isStopping = true;
    this.child.kill("SIGKILL");
    await this.#ended;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.child.connected) this.child.send({ type: "stop" } satisfies ToWorker);
    const timer = setTimeout(() => this.child.kill("SIGKILL"), STOP_MS_MAX);
    await this.#ended;
    clearTimeout(timer);
  }
}
