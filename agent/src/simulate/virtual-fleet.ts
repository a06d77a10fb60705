import { mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Command, isCommand, type Log, type verifyCommand } from "@homeostat/schemas";
import { Wheel } from "../channel/wheel.ts";
import type { ChannelState } from "../host/channel-client.ts";
import { AgentPolicy, createPolicyCheck } from "../host/policy.ts";
import { SharedJournal } from "./shared-journal.ts";
import type { SimulationCounts } from "./simulation.ts";
import { type Surroundings, VirtualAgent } from "./virtual-agent.ts";
import { VirtualIdentities } from "./virtual-identities.ts";
import type { WorkerTask } from "./worker-messages.ts";

const WHEEL_PERIOD_MS = 1_000;
const WHEEL_SLOTS = 20;
/** Between dialling and being welcome: what one server's handshakes take, so that none of them times out. */
const DIALLING_MAX = 64;
/** A dial that fails is tried again by the channel itself, and must not hold up those behind it. */
const DIAL_MS_MAX = 10_000;

interface FleetPorts {
  readonly log: Log;
  readonly onProblem: (message: string) => void;
  readonly now: () => number;
  readonly random: () => number;
}

/** The virtual agents of one process. */
export class VirtualFleet {
  readonly #task: WorkerTask;
  readonly #ports: FleetPorts;
  readonly #log: Log;
  readonly #agents: VirtualAgent[] = [];
  readonly #states = new Map<string, ChannelState>();
  readonly #dialling = new Map<string, () => void>();
  readonly #wheel = new Wheel({ periodMs: WHEEL_PERIOD_MS, slots: WHEEL_SLOTS });
  readonly #by: Record<ChannelState, number> = { connected: 0, sealed: 0, down: 0 };
  #journal: SharedJournal | null = null;
  #identities: VirtualIdentities | null = null;
  #commands = 0;
  #errors = 0;
  #beating: NodeJS.Timeout | null = null;
  #beaten = 0;
  #isStopping = false;

  constructor(task: WorkerTask, ports: FleetPorts) {
    this.#task = task;
    this.#ports = ports;
    this.#log = ports.log;
  }

  counts(): SimulationCounts {
    return {
      agents: this.#task.hosts.length,
      enrolled: this.#identities?.size ?? 0,
      connected: this.#by.connected + this.#by.sealed,
      sealed: this.#by.sealed,
      commands: this.#commands,
      errors: this.#errors,
    };
  }

  /** Resolves when every agent has begun to connect. */
  async start(): Promise<void> {
    const { dir, hosts, servers, token, heartbeatMs } = this.#task;
    const { log, now, random } = this.#ports;
    const proc = join(dir, "no-proc");
    mkdirSync(proc, { recursive: true });
    const journal = SharedJournal.open({ path: join(dir, "commands.journal"), log, nowUnixMs: now() });
    this.#journal = journal;
    const identities = VirtualIdentities.open({ path: join(dir, "identities"), servers, token, log, now, random });
    this.#identities = identities;
    const around = this.#surroundings(journal, proc);
    this.#wheel.start();
    if (heartbeatMs > 0) this.#beating = setInterval(() => this.#beat(), Math.max(1, heartbeatMs / hosts.length));
    let next = 0;
    const one = async (): Promise<void> => {
      for (let host = hosts[next++]; host !== undefined && !this.#isStopping; host = hosts[next++]) {
        const identity = await identities.of(host);
        const agent = new VirtualAgent(host, identity, around);
        this.#agents.push(agent);
        this.#count(host, "down");
        await agent.start();
        await this.#dialled(host);
      }
    };
    await Promise.all(Array.from({ length: DIALLING_MAX }, one));
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#beating !== null) clearInterval(this.#beating);
    await Promise.all(this.#agents.map((agent) => agent.stop()));
    this.#wheel.stop();
    this.#identities?.close();
    await this.#journal?.close();
  }

  #surroundings(journal: SharedJournal, proc: string): Surroundings {
    const { dir, servers, markerPath, verifies } = this.#task;
    return {
      servers,
      dir,
      proc,
      journal,
      wheel: this.#wheel,
      policy: createPolicyCheck(AgentPolicy.parse({}), () => ""),
      markers: markerPath === null ? null : { fd: openSync(markerPath, "a", 0o600) },
      verify: verifies ? undefined : believe,
      now: this.#ports.now,
      log: this.#log,
      onState: (host, state, detail) => this.#onState(host, state, detail),
      onReported: (state) => {
        this.#commands += 1;
        if (state !== "succeeded") this.#errors += 1;
      },
    };
  }

  /** Resolves when the agent is welcome, or has failed once. */
  async #dialled(host: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#dialling.set(host, resolve);
    const late = new AbortController();
    await Promise.race([promise, delay(DIAL_MS_MAX, undefined, { signal: late.signal }).catch(() => undefined)]);
    late.abort();
    this.#dialling.delete(host);
  }

  #onState(host: string, state: ChannelState, detail: string): void {
    this.#count(host, state);
    this.#dialling.get(host)?.();
    if (state === "down" && !this.#isStopping) this.#ports.onProblem(detail);
  }

  #count(host: string, state: ChannelState): void {
    const before = this.#states.get(host);
    if (before !== undefined) this.#by[before] -= 1;
    this.#by[state] += 1;
    this.#states.set(host, state);
  }

  /** One agent after the other, so that they are spread over the interval. */
  #beat(): void {
    const agent = this.#agents[this.#beaten++ % Math.max(1, this.#agents.length)];
    void agent?.beat();
  }
}

/** As `verifyCommand`, without looking at signature and proof. */
const believe: typeof verifyCommand = (value) => {
  const command = isCommand(value) ? value : Command.safeParse(value).data;
  if (command === undefined) return { refused: "malformed command" };
  // How large they are is only known of what has been verified.
  return { grant: command.signed.grant, args: command.args, command, bytes: 0 };
};
