import type { KeyObject } from "node:crypto";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import type {
  AssignedPartition,
  Bus,
  BusMessage,
  Consumer,
  DesiredPlugins,
  Job,
  JobRequest,
  Log,
} from "@homeostat/schemas";
import type { Audit } from "./audit/audit.ts";
import { AuditLog } from "./audit/audit-log.ts";
import type { ControlConfig } from "./control-config.ts";
import { type Authority, createAuthority } from "./identity/authority.ts";
import type { Identities } from "./identity/identities.ts";
import type { PluginCatalog } from "./plugins/catalog-types.ts";
import { Reign } from "./reign.ts";
import { sparingLog } from "./sparing-log.ts";
import { WRITER_HEADER } from "./term.ts";
import { pause, processTimers, type Timers } from "./timers.ts";
import type {
  AgentView,
  ControlHealth,
  JobEvent,
  JobFilter,
  JobPreview,
  JobView,
  Principal,
  Refused,
} from "./views.ts";

export interface ControlOptions {
  readonly bus: Bus;
  readonly config: ControlConfig;
  /** Its own folder: the authority's key, artefacts, the anchor of the audit log. */
  readonly dataDir: string;
  /** The control plane's Ed25519 command key: signs grants, cancellations, sessions' handshakes and the audit log. */
  readonly signingKey: KeyObject;
  /** Keys that were used before it, or by other controls: what they signed in the audit log counts. */
  readonly trustedKeys?: readonly KeyObject[];
  /** Public keys of whoever publishes plugins; none: nothing is published. */
  readonly pluginKeys?: readonly KeyObject[];
  /** The agent in this process, which has no session: it is told here which plugins it should have. */
  readonly beside?: { readonly host: string; desired(desired: DesiredPlugins): void };
  readonly now: () => number;
  readonly log: Log;
  readonly newId: () => string;
  readonly timers?: Timers;
}

export interface Control {
  /** Resolves when it stands for the lease; it may lead a moment later. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Resolves when it leads, or when `signal` aborts. */
  leads(signal: AbortSignal): Promise<void>;
  /** A site server in this process. While this control does not lead the stream is ended at once: it comes again. */
  attach(stream: Duplex): void;
  /** Where site servers reach it, when the configuration has `listen` and while it leads. */
  readonly address: { readonly host: string; readonly port: number } | null;
  agents(): readonly AgentView[];
  agent(host: string): AgentView | null;
  /** Resolves when the job is durable. */
  submit(request: JobRequest, by: Principal): Promise<Job | Refused>;
  preview(request: JobRequest, by: Principal): JobPreview | Refused;
  jobs(filter: JobFilter): readonly Job[];
  /** Hosts of a site that jobs are changing at this moment: whoever sends commands of their own says so in their grants. */
  changingAt(site: string): number;
  job(id: string): JobView | null;
  /**
   * The job as it is now comes before this returns; nothing comes of a job that is not known. A follower that throws is let go.
   * @throws RangeError when the job has 100 followers already
   */
  follow(id: string, listener: (event: JobEvent) => void): () => void;
  cancel(id: string, by: Principal, note: string): Promise<Job | Refused>;
  approve(id: string, by: Principal): Promise<Job | Refused>;
  reject(id: string, by: Principal, note: string): Promise<Job | Refused>;
  /** False when the host has no session, or the way there is full: nothing was sent. At most 48 KiB at a time. */
  input(commandId: string, host: string, data: Buffer): boolean;
  resize(commandId: string, host: string, size: { readonly columns: number; readonly rows: number }): boolean;
  /** null while this control does not lead. */
  readonly identities: Identities | null;
  /** null while this control does not lead. */
  readonly plugins: PluginCatalog | null;
  /** The certificate authority, for site servers in this process; null before `start`. */
  readonly authority: Authority | null;
  readonly audit: Audit;
  health(): ControlHealth;
}

export const LEADER_GROUP = "control";
const LEASE_TOPIC = "agent.jobs";
const RETRY_MS = 1_000;
const INPUT_BYTES_MAX = 49_152;
const NOT_LEADER: Refused = { refused: "not_leader", message: "another control plane leads, or none does yet" };

/** Leads while it owns the one partition of `agent.jobs` in the group `control`; everything else lives in a Reign, which the lease ends. */
class LeasedControl implements Control {
  readonly audit: AuditLog;
  readonly #options: ControlOptions;
  readonly #timers: Timers;
  authority: Authority | null = null;
  #lease: Consumer | null = null;
  #reign: Reign | null = null;
  #leading: Promise<void> = Promise.resolve();
  #lastError: string | null = null;
  #onLead = Promise.withResolvers<void>();

  constructor(options: ControlOptions) {
    const log = sparingLog(options.log, options.now);
    this.#options = { ...options, log };
    this.#timers = options.timers ?? processTimers;
    const { bus, signingKey, trustedKeys = [], dataDir, now, newId } = options;
    this.audit = new AuditLog({ bus, signingKey, trustedKeys, dir: dataDir, now, log, newId, timers: this.#timers });
  }

  async start(): Promise<void> {
    if (this.#lease !== null) throw new Error("the control plane has been started already");
    const { dataDir, now, bus, log } = this.#options;
    this.authority = await createAuthority({ dir: join(dataDir, "authority"), now });
    this.#lease = await bus.consume({
      group: LEADER_GROUP,
      topics: [LEASE_TOPIC],
      open: async (partition) => this.#beginTerm(partition),
      onError: (error) => log.warn({ err: error }, "the lease is in trouble"),
    });
  }

  async stop(): Promise<void> {
    const lease = this.#lease;
    this.#lease = null;
    await lease?.stop();
    await this.#leading;
  }

  async leads(signal: AbortSignal): Promise<void> {
    if (this.#reign !== null || signal.aborted) return;
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => aborted.resolve(), { once: true });
    await Promise.race([this.#onLead.promise, aborted.promise]);
  }

  #beginTerm(partition: AssignedPartition) {
    const ended = new AbortController();
    const signal = AbortSignal.any([partition.signal, ended.signal]);
    this.#leading = this.#leading.then(() => this.#lead(partition, signal));
    return {
      startOffset: partition.endOffset,
      receive: async (messages: readonly BusMessage[]) => this.#watchForOthers(messages),
      close: async () => {
        ended.abort();
        await this.#leading;
      },
    };
  }

  /** Reigns until the lease ends; a reign that cannot begin, or is in doubt, begins anew from what the bus holds. */
  async #lead(lease: AssignedPartition, signal: AbortSignal): Promise<void> {
    const { authority } = this;
    if (authority === null) throw new Error("the control plane was not started");
    while (!signal.aborted) {
      const doubt = new AbortController();
      const isOver = AbortSignal.any([signal, doubt.signal]);
      const options = { ...this.#options, timers: this.#timers };
      const reign = new Reign(options, {
        authority,
        audit: this.audit,
        lease,
        signal: isOver,
        onDoubt: () => doubt.abort(),
      });
      try {
        await reign.start();
        this.#reign = reign;
        this.#onLead.resolve();
        this.#options.log.info({ agents: reign.term.registry.size, jobs: reign.term.book.open }, "control leads");
        if (!isOver.aborted)
          await new Promise<void>((resolve) => isOver.addEventListener("abort", () => resolve(), { once: true }));
      } catch (thrown) {
        if (!signal.aborted) this.#options.log.warn({ err: thrown }, "control could not begin to lead, trying again");
        this.#lastError = thrown instanceof Error ? thrown.message : String(thrown);
      } finally {
        if (this.#reign !== null) this.#onLead = Promise.withResolvers<void>();
        this.#reign = null;
        this.#lastError = reign.term.lastError ?? this.#lastError;
        await reign.stop();
      }
      await pause(RETRY_MS, signal, this.#timers);
    }
  }

  /** A record that we did not write came from a leader who did not know that it was over: what we hold may miss it. */
  #watchForOthers(messages: readonly BusMessage[]): void {
    const term = this.#reign?.term;
    if (term === undefined) return;
    const other = messages.find(
      (message) =>
        message.headers[WRITER_HEADER] !== term.writer &&
        message.timestampUnixMs >= term.sinceUnixMs &&
        term.isByControl(message),
    );
    if (other !== undefined) term.doubt(new Error(`somebody else wrote to ${LEASE_TOPIC} at ${other.offset}`));
  }

  attach(stream: Duplex): void {
    const uplinks = this.#reign?.uplinks;
    if (uplinks === undefined) stream.destroy();
    else uplinks.attach(stream);
  }

  get address() {
    return this.#reign?.address ?? null;
  }

  get identities(): Identities | null {
    return this.#reign?.identities ?? null;
  }

  get plugins(): PluginCatalog | null {
    return this.#reign?.plugins ?? null;
  }

  agents(): readonly AgentView[] {
    return this.#reign?.term.registry.views() ?? [];
  }

  agent(host: string): AgentView | null {
    return this.#reign?.term.registry.view(host) ?? null;
  }

  preview(request: JobRequest, by: Principal): JobPreview | Refused {
    return this.#reign?.term.jobs.preview(request, by) ?? NOT_LEADER;
  }

  submit(request: JobRequest, by: Principal): Promise<Job | Refused> {
    return this.#ask((reign) => reign.term.jobs.submit(request, by));
  }

  approve(id: string, by: Principal): Promise<Job | Refused> {
    return this.#ask((reign) => reign.term.jobs.approve(id, by));
  }

  reject(id: string, by: Principal, note: string): Promise<Job | Refused> {
    return this.#ask((reign) => reign.term.jobs.reject(id, by, note));
  }

  cancel(id: string, by: Principal, note: string): Promise<Job | Refused> {
    return this.#ask((reign) => reign.term.jobs.cancel(id, by, note));
  }

  /** What fails here was perhaps done all the same: the job's record tells. */
  async #ask<T>(ask: (reign: Reign) => Promise<T | Refused>): Promise<T | Refused> {
    if (this.#reign === null) return NOT_LEADER;
    try {
      return await ask(this.#reign);
    } catch (thrown) {
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      this.#options.log.warn({ err: thrown }, "what was asked of the control plane could not be done");
      return { refused: "unavailable", message: `the bus did not confirm it, look before you ask again: ${why}` };
    }
  }

  jobs(filter: JobFilter): readonly Job[] {
    return this.#reign?.term.book.list(filter) ?? [];
  }

  changingAt(site: string): number {
    return this.#reign?.term.book.changingAt(site) ?? 0;
  }

  job(id: string): JobView | null {
    return this.#reign?.term.book.view(id) ?? null;
  }

  follow(id: string, listener: (event: JobEvent) => void): () => void {
    const term = this.#reign?.term;
    const job = term?.book.current(id) ?? null;
    if (term === undefined || job === null) return () => undefined;
    listener({ type: "job", job });
    if (term.book.liveRun(id) !== null) return term.followers.add(id, listener);
    listener({ type: "end", job });
    return () => undefined;
  }

  input(command_id: string, host: string, data: Buffer): boolean {
    if (data.length > INPUT_BYTES_MAX)
      throw new RangeError(`input of ${data.length} bytes: at most ${INPUT_BYTES_MAX}`);
    return this.#send(host, { type: "input", command_id, data: data.toString("base64") });
  }

  resize(command_id: string, host: string, { columns, rows }: { columns: number; rows: number }): boolean {
    return this.#send(host, { type: "resize", command_id, columns, rows });
  }

  #send(host: string, message: object): boolean {
    const sessions = this.#reign?.term.sessions;
    return sessions?.hasRoom(host) === true && sessions.send(host, JSON.stringify(message));
  }

  health(): ControlHealth {
    const reign = this.#reign;
    const role = this.#lease === null ? "stopped" : reign === null ? "standby" : "leader";
    const agents = { online: 0, degraded: 0, offline: 0, quarantined: 0, revoked: 0 };
    for (const { state } of this.agents()) agents[state] += 1;
    const term = reign?.term;
    return {
      role,
      leader_since_unix_ms: term?.sinceUnixMs ?? null,
      agents,
      sessions: term?.sessions.size ?? 0,
      servers: reign?.uplinks.servers().length ?? 0,
      jobs_open: term?.book.open ?? 0,
      invocations_open: term?.dispatcher.open ?? 0,
      held: term?.dispatcher.held() ?? 0,
      turned_away: Object.fromEntries(term?.turnedAway ?? []),
      audit_is_whole: this.audit.isAnchored,
      last_error: term?.lastError ?? this.#lastError,
    };
  }
}

export const createControl = (options: ControlOptions): Control => new LeasedControl(options);
