import type { KeyObject } from "node:crypto";
import type { CommandResult, Heartbeat, InvocationState, Log } from "@homeostat/schemas";
import type { TlsIdentity } from "../channel/tls-identity.ts";
import type { Wheel } from "../channel/wheel.ts";
import { type ChannelClient, createChannelClient } from "../host/channel-client.ts";
import { createChannelLink } from "../host/channel-link.ts";
import { CommandRunner, type CommandRunnerOptions } from "../host/executor/command-runner.ts";
import { createExecutorRegistry } from "../host/executor/registry.ts";
import type { Link } from "../host/link.ts";
import type { PolicyCheck } from "../host/policy.ts";
import type { SharedJournal } from "./shared-journal.ts";
import { type Markers, virtualExecutors } from "./virtual-executors.ts";

const VERSION = "0.1.0-virtual";
const STOP_GRACE_MS = 2_000;

export interface VirtualIdentity {
  readonly site: string;
  readonly tls: TlsIdentity;
  readonly trustedKeys: readonly KeyObject[];
}

/** What all virtual agents of a process share. */
export interface Surroundings {
  readonly servers: readonly string[];
  readonly dir: string;
  /** An empty folder in place of /proc: virtual commands have no processes that could be left over. */
  readonly proc: string;
  readonly journal: SharedJournal;
  readonly wheel: Wheel;
  readonly policy: PolicyCheck;
  readonly markers: Markers | null;
  readonly verify: CommandRunnerOptions["verify"];
  readonly now: () => number;
  readonly log: Log;
  readonly onState: (host: string, state: ChannelClient["state"], detail: string) => void;
  readonly onReported: (state: InvocationState) => void;
}

/** An agent as any other, but for its host: channel, sealing, verification, policy, journal and reporting are the real ones. */
export class VirtualAgent {
  readonly host: string;
  readonly #around: Surroundings;
  readonly #client: ChannelClient;
  readonly #link: Link;
  readonly #commands: CommandRunner;
  readonly #startedUnixMs: number;
  readonly #site: string;

  constructor(host: string, identity: VirtualIdentity, around: Surroundings) {
    const { now, log, wheel, servers, journal, proc, policy, verify } = around;
    this.host = host;
    this.#site = identity.site;
    this.#around = around;
    this.#startedUnixMs = now();
    this.#client = createChannelClient({
      host,
      agentVersion: VERSION,
      identity: () => identity.tls,
      site: identity.site,
      trustedKeys: () => identity.trustedKeys,
      servers,
      now,
      random: Math.random,
      log,
      wheel,
    });
    this.#client.onState((state, detail) => around.onState(host, state, detail));
    this.#link = createChannelLink({ client: this.#client, log });
    this.#commands = new CommandRunner({
      host,
      dir: around.dir,
      proc,
      trustedKeys: identity.trustedKeys,
      executors: createExecutorRegistry(virtualExecutors(host, around.markers)),
      policy,
      journal: journal.of(host),
      publishResult: (result) => this.#publishResult(result),
      publishProgress: (progress) => this.#link.publishProgress(progress),
      now,
      log,
      ...(verify === undefined ? {} : { verify }),
    });
  }

  async start(): Promise<void> {
    const commands = this.#commands;
    await this.#link.onOrder({
      command: (value) => commands.take(value),
      cancel: (value) => commands.cancel(value),
      input: (id, data) => commands.input(id, data),
      resize: (id, columns, rows) => commands.resize(id, columns, rows),
      // Virtual hosts have no plugins.
      desired: () => undefined,
    });
    commands.start();
    this.#client.start();
  }

  async stop(): Promise<void> {
    this.#link.leaving?.();
    await this.#commands.stop(STOP_GRACE_MS);
    await this.#client.stop();
  }

  /** False: it cannot be told now. */
  async beat(): Promise<boolean> {
    if (this.#client.state !== "sealed") return false;
    try {
      await this.#link.publishHeartbeat(this.#heartbeat());
      return true;
    } catch {
      // The channel broke in this moment; the next beat tells as much.
      return false;
    }
  }

  async #publishResult(result: CommandResult): Promise<void> {
    await this.#link.publishResult(result);
    this.#around.onReported(result.state);
  }

  #heartbeat(): Heartbeat {
    return {
      host: this.host,
      agent_version: VERSION,
      state: "online",
      problems: [],
      at_unix_ms: this.#around.now(),
      started_at_unix_ms: this.#startedUnixMs,
      ledger: { produced: 0, delivered: 0, spooled: 0, dropped: {} },
      topics: {},
      checkpoints: [],
      spool_bytes: 0,
      site: this.#site,
      labels: { virtual: "true" },
      plugins: [],
      clock_skew_ms: this.#client.clockSkewMs,
    };
  }
}
