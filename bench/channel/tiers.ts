import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Simulation, simulate } from "@homeostat/agent/simulate";
import { freePort } from "../../test/fixtures/free-port.ts";
import { type Child, residentBytes, startChild } from "./child.ts";
import type { StartControl } from "./control-process.ts";
import { silentLog, warnLog } from "./quiet-log.ts";
import type { StartSite } from "./site-process.ts";

/*
 * Three tiers, each in processes of its own: control with the durable embedded bus, site servers, and virtual agents in workers; mutual
 * TLS between them, commands sealed from end to end, and a journal at the agents that is synced before a command begins.
 */

const CONTROL = fileURLToPath(new URL("./control-process.ts", import.meta.url));
const SITE = fileURLToPath(new URL("./site-process.ts", import.meta.url));
/** As `homeostat start` begins a process that is a site server and nothing else. */
const SITE_ENV = { MALLOC_MMAP_THRESHOLD_: "16384" };
const SITE_ARGS = ["--expose-gc", "--max-semi-space-size=1"];
const WORKERS = 2;
const POLL_MS = 100;

export interface TiersOptions {
  readonly agents: number;
  readonly servers: number;
  /** Further ones that agents are told of, and that do not run until `startSite`. */
  readonly standby?: number;
  /** Processes that the agents are spread over; 2 unless told. */
  readonly workers?: number;
  readonly verifies: boolean;
  readonly heartbeatMs: number;
  /** What is killed by intent complains. */
  readonly isQuiet: boolean;
  readonly say: (text: string) => void;
}

const startSiteChild = (): Child => startChild(SITE, SITE_ARGS, SITE_ENV);

export class Tiers {
  readonly dir = mkdtempSync(join(tmpdir(), "homeostat-tiers-"));
  readonly #options: TiersOptions;
  /** As `site.ticket_key` does it for all servers of a site. */
  readonly #ticketKeys = randomBytes(48);
  #control: Child | null = null;
  #controlPort = 0;
  readonly #sites = new Map<string, { child: Child; start: StartSite }>();
  #simulation: Simulation | null = null;
  #token = "";
  /** Of a site server before the first agent came. */
  emptySiteBytes = 0;

  constructor(options: TiersOptions) {
    this.#options = options;
    mkdirSync(this.markerDir);
  }

  get hosts(): string[] {
    return Array.from({ length: this.#options.agents }, (_, at) => `virtual-${String(at).padStart(5, "0")}`);
  }

  get markerDir(): string {
    return join(this.dir, "markers");
  }

  get control(): Child {
    if (this.#control === null) throw new Error("control does not run");
    return this.#control;
  }

  site(server: string): Child {
    const found = this.#sites.get(server);
    if (found === undefined) throw new Error(`there is no site server ${server}`);
    return found.child;
  }

  get servers(): readonly string[] {
    return [...this.#sites.keys()];
  }

  get simulation(): Simulation {
    if (this.#simulation === null) throw new Error("the simulation does not run");
    return this.#simulation;
  }

  /** Resolves when every agent can be commanded. */
  async start(): Promise<void> {
    this.#controlPort = await freePort();
    await this.startControl();
    const { agents, servers, standby = 0 } = this.#options;
    const ports = await Promise.all(Array.from({ length: servers + standby }, freePort));
    const advertise = ports.map((port) => `127.0.0.1:${port}`);
    for (const [at, port] of ports.entries())
      await this.#newSite(`site-${at}`, { port, advertise, isStandby: at >= servers });
    const [first] = this.servers;
    if (first !== undefined) {
      await this.site(first).ask("collect");
      this.emptySiteBytes = residentBytes(this.site(first).pid);
    }
    this.#token = await this.control.ask<string>("token", agents);
    await this.startSimulation();
    await this.allSealed();
  }

  async startControl(): Promise<void> {
    this.#control = startChild(CONTROL);
    const start: StartControl = { dir: this.dir, port: this.#controlPort, isQuiet: this.#options.isQuiet };
    await this.#control.ask("start", start);
  }

  async startSite(server: string): Promise<void> {
    const site = this.#sites.get(server);
    if (site === undefined) throw new Error(`there is no site server ${server}`);
    site.child = startSiteChild();
    await site.child.ask("start", site.start);
  }

  async startSimulation(verifies = this.#options.verifies): Promise<void> {
    const { agents, heartbeatMs, isQuiet, say, workers = WORKERS } = this.#options;
    this.#simulation = await simulate({
      agents,
      servers: [...this.#sites.values()].map(({ start }) => `127.0.0.1:${start.port}`),
      token: this.#token,
      dir: join(this.dir, "agents"),
      hostPrefix: "virtual-",
      heartbeatMs,
      workers,
      markerDir: this.markerDir,
      verifies,
      monotonicMs: () => performance.now(),
      log: isQuiet ? silentLog : warnLog,
      onEvent: (event) => {
        if (event.kind !== "progress") return isQuiet ? undefined : say(JSON.stringify(event));
        const { enrolled, connected, sealed, commands, errors } = event.counts;
        say(`${enrolled} enrolled, ${connected} connected, ${sealed} sealed, ${commands} commands, ${errors} errors`);
      },
    });
  }

  /** kill -9, and begin it anew: control and site servers come back with what the bus and their certificates hold, agents with their journal. */
  async killControl(waitMs: number): Promise<void> {
    this.control.kill("SIGKILL");
    await this.control.ended();
    await delay(waitMs);
    await this.startControl();
  }

  async killSite(server: string, waitMs: number): Promise<void> {
    this.site(server).kill("SIGKILL");
    await this.site(server).ended();
    await delay(waitMs);
    await this.startSite(server);
  }

  async killAgents(waitMs: number): Promise<void> {
    for (const pid of this.simulation.pids) process.kill(pid, "SIGKILL");
    await this.simulation.stop();
    await delay(waitMs);
    await this.startSimulation();
  }

  /** As control sees it: every session is confirmed. */
  async allSealed(): Promise<void> {
    while (this.simulation.counts().sealed < this.#options.agents) await delay(POLL_MS);
    while ((await this.control.ask<number>("sealed")) < this.#options.agents) await delay(POLL_MS);
  }

  /** A second time does nothing. */
  async stop(): Promise<void> {
    const [simulation, control, sites] = [this.#simulation, this.#control, [...this.#sites.values()]];
    [this.#simulation, this.#control] = [null, null];
    this.#sites.clear();
    await simulation?.stop();
    for (const { child } of sites) await child.stop();
    await control?.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #newSite(server: string, at: { port: number; advertise: string[]; isStandby: boolean }): Promise<void> {
    const tls = await this.control.ask<StartSite["tls"]>("siteIdentity", { server, dir: this.dir });
    const { port, advertise, isStandby } = at;
    const { isQuiet } = this.#options;
    const ticketKeys = this.#ticketKeys;
    const start = { server, port, advertise, controlPort: this.#controlPort, tls, ticketKeys, isQuiet };
    this.#sites.set(server, { child: startSiteChild(), start });
    if (isStandby) await this.site(server).stop();
    else await this.site(server).ask("start", start);
  }
}
