import type { AssignedPartition, BusMessage, Consumer, Incident, RemediationRun } from "@homeostat/schemas";
import type { Decision } from "./event.ts";
import { replay } from "./replay.ts";
import { isLive } from "./run-state.ts";
import { Session, type SessionPorts, WRITER_HEADER } from "./session.ts";
import { pause } from "./timers.ts";

export type EnginePorts = SessionPorts;

export const LEADER_GROUP = "remediation-leader";
const LEASE_TOPIC = "remediation.journal";
const RETRY_MS = 1000;

export interface EngineStatus {
  readonly role: "leader" | "standby" | "stopped";
  readonly leader_since_unix_ms: number | null;
  readonly incidents_open: number;
  readonly runs_live: number;
  readonly notifications_pending: number;
  readonly notifications_dead: number;
  /** Findings that were turned away by reason, and messages that could not be read, since this engine leads. */
  readonly turned_away: Readonly<Record<string, number>>;
  readonly malformed: number;
  readonly last_error: string | null;
}

export type Refused = {
  readonly refused: "not_leader" | "not_found" | "not_awaiting_approval";
  readonly message: string;
};

export interface Engine {
  /** Resolves when this engine stands for the lease; it may lead a moment later. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Resolves when the decision is in the journal. */
  decide(runId: string, decision: Decision): Promise<RemediationRun | Refused>;
  acknowledge(incidentId: string, by: string): Promise<Incident | Refused>;
  /** What the leader holds; empty on a standby, which knows nothing fresh. */
  incidents(): readonly Incident[];
  runs(): readonly RemediationRun[];
  status(): EngineStatus;
}

/**
 * Leads while it owns the journal's one partition in the group `remediation-leader`. Everything else (replay, the worker group, timers,
 * effects) lives in a Session, which the end of the lease ends.
 */
class LeasedEngine implements Engine {
  readonly #ports: EnginePorts;
  #lease: Consumer | null = null;
  #session: Session | null = null;
  #term: Promise<void> = Promise.resolve();
  #lastError: string | null = null;

  constructor(ports: EnginePorts) {
    this.#ports = ports;
  }

  async start(): Promise<void> {
    if (this.#lease !== null) throw new Error("the engine has been started already");
    this.#lease = await this.#ports.bus.consume({
      group: LEADER_GROUP,
      topics: [LEASE_TOPIC],
      open: async (partition) => this.#beginTerm(partition),
      onError: (error) => this.#ports.log.warn({ err: error }, "the lease is in trouble"),
    });
  }

  async stop(): Promise<void> {
    const lease = this.#lease;
    this.#lease = null;
    await lease?.stop();
    await this.#term;
  }

  #beginTerm(partition: AssignedPartition) {
    const ended = new AbortController();
    const signal = AbortSignal.any([partition.signal, ended.signal]);
    const before = this.#term;
    this.#term = before.then(() => this.#lead(partition, signal));
    return {
      startOffset: partition.endOffset,
      receive: async (messages: readonly BusMessage[]) => this.#watchForOthers(messages),
      close: async () => {
        ended.abort();
        await this.#term;
      },
    };
  }

  /** Serves terms until the lease ends; a term that cannot begin, or met another writer, begins anew from the journals. */
  async #lead(lease: AssignedPartition, signal: AbortSignal): Promise<void> {
    const { bus, log, newId, timers } = this.#ports;
    while (!signal.aborted) {
      const term = new AbortController();
      this.#endTerm = () => term.abort();
      try {
        const world = await replay(bus, { group: `remediation-replay-${newId()}`, log, signal });
        const session = new Session(world, { lease, ports: this.#ports, onDoubt: () => term.abort() });
        this.#session = session;
        const isOver = AbortSignal.any([signal, term.signal]);
        const over = isOver.aborted
          ? Promise.resolve()
          : new Promise<void>((resolve) => isOver.addEventListener("abort", () => resolve(), { once: true }));
        try {
          await session.start();
          log.info({ incidents: world.incidents.size, runs: world.runs.size }, "remediation leads");
          await over;
        } finally {
          this.#session = null;
          await session.stop();
        }
        await pause(RETRY_MS, signal, timers);
      } catch (thrown) {
        if (signal.aborted) return;
        this.#lastError = thrown instanceof Error ? thrown.message : String(thrown);
        log.warn({ err: thrown }, "remediation could not begin to lead, trying again");
        await pause(RETRY_MS, signal, timers);
      }
    }
  }

  #endTerm: () => void = () => undefined;

  /** A record that we did not write came from a leader who did not know that it was over: what we hold may miss it. */
  #watchForOthers(messages: readonly BusMessage[]): void {
    const session = this.#session;
    if (session === null) return;
    const other = messages.find(
      ({ headers, timestampUnixMs }) =>
        headers[WRITER_HEADER] !== session.writer && timestampUnixMs >= session.sinceUnixMs,
    );
    if (other === undefined) return;
    this.#ports.log.error(
      { offset: other.offset, writer: other.headers[WRITER_HEADER] },
      "somebody else wrote to the journal; reading it again",
    );
    this.#endTerm();
  }

  async decide(runId: string, decision: Decision): Promise<RemediationRun | Refused> {
    const session = this.#leading();
    if (session === null) return { refused: "not_leader", message: "another engine leads, or none does yet" };
    const run = session.world.runs.get(runId);
    if (run === undefined) return { refused: "not_found", message: `there is no run ${runId}` };
    if (run.state !== "awaiting_approval")
      return { refused: "not_awaiting_approval", message: `run ${runId} is ${run.state}` };
    await session.take({ kind: "decided", runId, decision });
    const decided = session.world.runs.get(runId) ?? run;
    const isOurs = decided.decision?.by === decision.by && decided.decision.approved === decision.approved;
    return isOurs ? decided : { refused: "not_awaiting_approval", message: `run ${runId} is ${decided.state}` };
  }

  async acknowledge(incidentId: string, by: string): Promise<Incident | Refused> {
    const session = this.#leading();
    if (session === null) return { refused: "not_leader", message: "another engine leads, or none does yet" };
    const incident = session.world.incidents.get(incidentId);
    if (incident === undefined) return { refused: "not_found", message: `there is no incident ${incidentId}` };
    await session.take({ kind: "acknowledged", incidentId, by });
    return session.world.incidents.get(incidentId) ?? incident;
  }

  incidents(): readonly Incident[] {
    return [...(this.#session?.world.incidents.values() ?? [])];
  }

  runs(): readonly RemediationRun[] {
    return [...(this.#session?.world.runs.values() ?? [])];
  }

  status(): EngineStatus {
    const session = this.#leading();
    const notifications = [...(session?.world.notifications.values() ?? [])];
    return {
      role: this.#lease === null ? "stopped" : session === null ? "standby" : "leader",
      leader_since_unix_ms: session?.sinceUnixMs ?? null,
      incidents_open: this.incidents().filter(({ state }) => state !== "closed" && state !== "resolved").length,
      runs_live: this.runs().filter(isLive).length,
      notifications_pending: notifications.filter(({ state }) => state === "pending").length,
      notifications_dead: notifications.filter(({ state }) => state === "dead").length,
      turned_away: Object.fromEntries(session?.turnedAway ?? []),
      malformed: session?.malformed ?? 0,
      last_error: session?.lastError ?? this.#lastError,
    };
  }

  #leading(): Session | null {
    return this.#session?.hasStarted ? this.#session : null;
  }
}

export const createEngine = (ports: EnginePorts): Engine => new LeasedEngine(ports);
