import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import type { Log } from "@homeostat/schemas";
import type { TopicBatch } from "../channel/batch-body.ts";
import { Counts } from "../channel/counts.ts";
import { type ControlState, FRAME, FRAME_BYTES_MAX, jsonBody, type RevokedList, u32 } from "../channel/frame.ts";
import type { TlsIdentity } from "../channel/tls-identity.ts";
import { listenTls, type TlsListener } from "../channel/tls-listener.ts";
import { type Pulsed, Wheel } from "../channel/wheel.ts";
import { AgentEnd, type AgentEndReason, type AgentPorts } from "./agent-end.ts";
import { ArtefactCache } from "./artefact-cache.ts";
import { BatchIntake, type IntakeAnswer } from "./batch-intake.ts";
import { Revocations } from "./revocations.ts";
import { Uplink, type UplinkEvents } from "./uplink.ts";

export interface SiteServerOptions {
  readonly site: string;
  /** Unique within the site. */
  readonly server: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** `host:port` of all servers of the site, this one included: agents are told. */
  readonly advertise: readonly string[];
  readonly tls: TlsIdentity;
  /** A fresh way to control: asked for again, with back-off, whenever the one before has ended. */
  readonly uplink: () => Duplex | Promise<Duplex>;
  /** Resolves when the batches of this host are durable. Rejects with a BusError: retryable or not decides what the agent is told. */
  readonly publish: (host: string, batches: readonly TopicBatch[]) => Promise<void>;
  readonly now: () => number;
  readonly log: Log;
  readonly random?: () => number;
  readonly wheel?: Wheel;
  readonly ticketKeys?: Buffer;
  readonly limits?: Partial<SiteLimits>;
}

export interface SiteLimits {
  readonly agentsMax: number;
  readonly pendingMax: number;
  readonly pendingPerAddressMax: number;
  /** Bytes that one agent may leave unread. */
  readonly queueBytesMax: number;
  /** Of telemetry that is on its way to the bus, of all agents. */
  readonly inFlightBytesMax: number;
  readonly cacheBytesMax: number;
  /** Of artefacts that agents have not read yet; beyond it they are told to ask again. */
  readonly artefactBytesMax: number;
  /** Beyond a burst of twice as many; who comes later is told to come again. */
  readonly enrolmentsPerS: number;
}

export interface SiteStats {
  readonly agents: number;
  readonly pending: number;
  readonly control: boolean;
  readonly cache_bytes: number;
  readonly in_flight_bytes: number;
  /** By reason. */
  readonly refused: Readonly<Record<string, number>>;
  readonly closed: Readonly<Record<string, number>>;
  readonly frames: { readonly to_agents: number; readonly to_control: number; readonly dropped: number };
}

export interface SiteServer {
  start(): Promise<void>;
  /** Agents are sent to the other servers, spread over drainMs (0: all are cut off). */
  stop(options?: { readonly drainMs?: number }): Promise<void>;
  /** `host:port`, once it has started. */
  readonly address: string;
  /** For connections from now on. */
  renew(tls: TlsIdentity): void;
  stats(): SiteStats;
}

export const createSiteServer = (options: SiteServerOptions): SiteServer => new Server(options);

const MIB = 1_048_576;
/** On the uplink a type and a session stand before it. */
const SESSION_BYTES_MAX = FRAME_BYTES_MAX - 5;
const LIMITS: SiteLimits = {
  agentsMax: 50_000,
  // Some five seconds' worth of handshakes: whoever waits much longer would only time out, and is sent away to come back later.
  pendingMax: 5_000,
  pendingPerAddressMax: 1_000,
  queueBytesMax: 4 * MIB,
  inFlightBytesMax: 16 * MIB,
  cacheBytesMax: 64 * MIB,
  artefactBytesMax: 64 * MIB,
  // Ten thousand in 70 s. A certificate costs control 3 ms: with this many it has half of a core left for its other work.
  enrolmentsPerS: 150,
};
/** From the connection to HELLO, or to the answer to an enrolment. */
const PENDING_TIMEOUT_MS = 15_000;
/** Agents ping after 4 s of silence. */
const SILENT_MS_MAX = 20_000;
const WHEEL_PERIOD_MS = 1_000;
const WHEEL_SLOTS = 10;
/** What a handshake costs control and the rest of the way, with room: agents spread theirs so that it is not overrun. */
const HANDSHAKE_MS_PER_AGENT = 1;
/** Enrolments at once: this many seconds' worth. */
const ENROL_BURST_S = 2;
const RETRY_AFTER_MS = 1_000;
/** Given to the last words of a server that stops. */
const LAST_WORDS_MS = 50;

class Server implements SiteServer, AgentPorts, UplinkEvents, Pulsed {
  readonly #options: SiteServerOptions;
  readonly #limits: SiteLimits;
  readonly #wheel: Wheel;
  readonly #uplink: Uplink;
  readonly #intake: BatchIntake;
  readonly #cache: ArtefactCache;
  readonly #revocations = new Revocations();
  readonly #bySession = new Map<number, AgentEnd>();
  readonly #byHost = new Map<string, AgentEnd>();
  /** Without a certificate, or before their HELLO. */
  readonly #strangers = new Set<AgentEnd>();
  /** Not read while control is behind. */
  readonly #paused = new Set<AgentEnd>();
  readonly #refused = new Counts<string>();
  readonly #closed = new Counts<AgentEndReason>();
  readonly #frames = { to_agents: 0, to_control: 0, dropped: 0 };
  #listener: TlsListener | null = null;
  #session = 0;
  /** Had something of an artefact handed out, and may not have read all of it yet. */
  readonly #readers = new Set<AgentEnd>();
  /** Of artefacts: handed out since the last pulse, and what then was still unread. */
  #artefactBytes = 0;
  /** Of artefacts: asked for, and not yet handed out. */
  #fetchingBytes = 0;
  #epoch: number;
  #enrolments: number;
  #isStopping = false;
  readonly queueBytesMax: number;
  readonly silentPeriodsMax: number;

  constructor(options: SiteServerOptions) {
    const { publish, log, site, server, uplink: dial, random = Math.random } = options;
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#wheel = options.wheel ?? new Wheel({ periodMs: WHEEL_PERIOD_MS, slots: WHEEL_SLOTS });
    this.queueBytesMax = this.#limits.queueBytesMax;
    this.#enrolments = ENROL_BURST_S * this.#limits.enrolmentsPerS;
    this.silentPeriodsMax = this.#wheel.periods(SILENT_MS_MAX);
    this.#uplink = new Uplink({ site, server, dial, events: this, wheel: this.#wheel, random, log });
    this.#intake = new BatchIntake({ publish, log, inFlightBytesMax: this.#limits.inFlightBytesMax });
    const read = this.#uplink.fetch.bind(this.#uplink);
    this.#cache = new ArtefactCache({ bytesMax: this.#limits.cacheBytesMax, read });
    // An agent that comes from another server must not take this server's epoch for the one it knows.
    this.#epoch = Math.floor(random() * 2 ** 32);
  }

  get address(): string {
    const { host } = this.#options.listen;
    return `${host.includes(":") ? `[${host}]` : host}:${this.#listener?.port ?? this.#options.listen.port}`;
  }

  async start(): Promise<void> {
    const { listen, tls, site, now, ticketKeys } = this.#options;
    const { pendingMax, pendingPerAddressMax } = this.#limits;
    this.#listener = await listenTls({
      ...listen,
      identity: tls,
      expected: { kind: "agent", site },
      wheel: this.#wheel,
      now,
      ticketKeys,
      pendingMax,
      pendingPerAddressMax,
      pendingTimeoutMs: PENDING_TIMEOUT_MS,
      onPeer: (socket, peer, settle) => {
        this.#strangers.add(new AgentEnd(socket, peer, this, settle));
      },
      onRefused: (reason) => this.#refused.add(reason),
    });
    this.#wheel.add(this);
    this.#wheel.start();
    this.#uplink.start();
  }

  async stop({ drainMs = 0 }: { drainMs?: number } = {}): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#listener?.close();
    for (const agent of [...this.#strangers]) agent.destroy("stopped", "the server stops");
    if (drainMs > 0) await this.#drain(drainMs);
    for (const agent of [...this.#bySession.values()]) agent.close("stopped", "the server stops");
    await delay(LAST_WORDS_MS);
    this.#uplink.stop();
    this.#wheel.delete(this);
    if (this.#options.wheel === undefined) this.#wheel.stop();
  }

  renew(tls: TlsIdentity): void {
    this.#listener?.renew(tls);
  }

  stats(): SiteStats {
    return {
      agents: this.#bySession.size,
      pending: this.#listener?.pending ?? 0,
      control: this.#uplink.isUp,
      cache_bytes: this.#cache.bytes,
      in_flight_bytes: this.#intake.inFlightBytes,
      refused: this.#refused.toJSON(),
      closed: this.#closed.toJSON(),
      frames: { ...this.#frames },
    };
  }

  onPulse(): void {
    this.#artefactBytes = this.#unreadBytes();
    const { enrolmentsPerS } = this.#limits;
    const more = (enrolmentsPerS * this.#wheel.periodMs) / 1_000;
    this.#enrolments = Math.min(ENROL_BURST_S * enrolmentsPerS, this.#enrolments + more);
  }

  #unreadBytes(): number {
    let unread = 0;
    for (const agent of this.#readers) {
      const { isClosed, queuedBytes } = agent.connection;
      if (isClosed || queuedBytes === 0) this.#readers.delete(agent);
      else unread += queuedBytes;
    }
    return unread;
  }

  /** Each agent gets a moment of its own to leave. */
  async #drain(drainMs: number): Promise<void> {
    const agents = [...this.#bySession.values()];
    agents.forEach((agent, index) => {
      const retryAfterMs = Math.floor((index * drainMs) / agents.length);
      agent.connection.send(FRAME.goaway, jsonBody({ reason: "the server stops", retry_after_ms: retryAfterMs }));
    });
    for (let waitedMs = 0; this.#bySession.size > 0 && waitedMs < drainMs; waitedMs += LAST_WORDS_MS)
      await delay(LAST_WORDS_MS);
  }

  // ——— agents

  admit(agent: AgentEnd): { reason: AgentEndReason; text: string } | null {
    const { peer } = agent;
    if (peer === null) return { reason: "protocol", text: "no certificate" };
    const flaw = this.#flawOf(peer);
    if (flaw !== null) {
      this.#refused.add(flaw.reason);
      this.#goAway(agent, flaw.text, RETRY_AFTER_MS);
      return flaw;
    }
    this.#byHost.get(peer.name)?.close("replaced", "the host has connected again");
    this.#strangers.delete(agent);
    do this.#session = (this.#session + 1) >>> 0;
    while (this.#session === 0 || this.#bySession.has(this.#session));
    agent.session = this.#session;
    this.#bySession.set(agent.session, agent);
    this.#byHost.set(peer.name, agent);
    this.#wheel.add(agent);
    const { site, server, advertise } = this.#options;
    const control = this.#controlState(0);
    agent.connection.send(FRAME.welcome, jsonBody({ site, server, servers: advertise, control }));
    if (this.#uplink.isUp) this.#announce(agent);
    return null;
  }

  #flawOf(peer: { name: string; serial: string }): { reason: AgentEndReason; text: string } | null {
    if (this.#revocations.has(peer)) return { reason: "revoked", text: "the certificate is revoked" };
    if (this.#isStopping) return { reason: "stopped", text: "the server stops" };
    if (this.#bySession.size < this.#limits.agentsMax) return null;
    return { reason: "protocol", text: `the server has its ${this.#limits.agentsMax} agents` };
  }

  gone(agent: AgentEnd, reason: AgentEndReason, text: string): void {
    this.#closed.add(reason);
    this.#strangers.delete(agent);
    this.#paused.delete(agent);
    if (agent.session === 0) return;
    this.#wheel.delete(agent);
    this.#bySession.delete(agent.session);
    if (this.#byHost.get(agent.host) === agent) this.#byHost.delete(agent.host);
    this.#uplink.send(FRAME.agentDown, u32(agent.session));
    this.#options.log.debug({ host: agent.host, reason, text }, "an agent is gone");
  }

  /** While control is out of reach nothing is kept here: agents send again until it has arrived. */
  toControl(agent: AgentEnd, type: number, body: Buffer): boolean {
    if (body.length > SESSION_BYTES_MAX) {
      agent.destroy("protocol", `a message of ${body.length} bytes: control takes ${SESSION_BYTES_MAX}`);
      return true;
    }
    if (type === FRAME.handshake) agent.epoch = this.#epoch;
    if (!this.#uplink.isUp || agent.epoch !== this.#epoch) {
      this.#frames.dropped += 1;
      return true;
    }
    this.#frames.to_control += 1;
    if (this.#uplink.send(type, u32(agent.session), body) || !this.#uplink.isUp) return true;
    this.#paused.add(agent);
    return false;
  }

  async batches(host: string, body: Buffer): Promise<IntakeAnswer> {
    if (!this.#revocations.isKnown) return { status: "busy", text: "control has not yet said who is revoked" };
    return this.#intake.take(host, body);
  }

  async fetch(agent: AgentEnd, sha256: string, offset: number, length: number): Promise<Buffer> {
    if (this.#artefactBytes + this.#fetchingBytes + length > this.#limits.artefactBytesMax)
      throw new Error("much is on its way to other agents: ask again");
    this.#fetchingBytes += length;
    try {
      const bytes = await this.#cache.read(sha256, offset, length);
      this.#artefactBytes += bytes.length;
      this.#readers.add(agent);
      return bytes;
    } finally {
      this.#fetchingBytes -= length;
    }
  }

  async enrol(request: Buffer): Promise<Buffer> {
    if (this.#enrolments < 1) return jsonBody({ refused: "busy", message: "too many enrolments: try again later" });
    this.#enrolments -= 1;
    try {
      return await this.#uplink.enrol(request);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return jsonBody({ refused: "unavailable", message: message.slice(0, 500) });
    }
  }

  #goAway(agent: AgentEnd, reason: string, retryAfterMs: number): void {
    agent.connection.send(FRAME.goaway, jsonBody({ reason: reason.slice(0, 500), retry_after_ms: retryAfterMs }));
  }

  #controlState(spreadMs: number): ControlState {
    return { up: this.#uplink.isUp, epoch: this.#epoch, spread_ms: spreadMs };
  }

  #announce(agent: AgentEnd): void {
    const socket = agent.connection.stream as TLSSocket;
    const up = { host: agent.host, address: socket.remoteAddress ?? "" };
    this.#uplink.send(FRAME.agentUp, u32(agent.session), jsonBody(up));
  }

  // ——— control

  onUp(): void {
    this.#epoch = (this.#epoch + 1) >>> 0;
    this.#revocations.restart();
    this.#options.log.info({ agents: this.#bySession.size }, "control is within reach");
    for (const agent of this.#bySession.values()) this.#announce(agent);
    this.#tellAll(this.#controlState(Math.floor(this.#bySession.size * HANDSHAKE_MS_PER_AGENT)));
  }

  onDown(reason: string): void {
    this.#options.log.warn({ reason }, "control is out of reach");
    this.onDrain();
    this.#tellAll(this.#controlState(0));
  }

  #tellAll(state: ControlState): void {
    const body = jsonBody(state);
    for (const agent of [...this.#bySession.values()]) agent.connection.send(FRAME.control, body);
  }

  onSession(type: number, session: number, body: Buffer): void {
    const agent = this.#bySession.get(session);
    if (agent === undefined) {
      this.#frames.dropped += 1;
      return;
    }
    if (type === FRAME.close) {
      this.#goAway(agent, body.toString("utf8", 0, 500), RETRY_AFTER_MS);
      agent.close("by_control", "control ends it");
      return;
    }
    this.#frames.to_agents += 1;
    agent.connection.send(type, body);
  }

  onRevoked(part: RevokedList): string | null {
    const added = this.#revocations.add(part);
    if (added !== "whole") return added === "too many" ? "too much is revoked to be a list" : null;
    for (const agent of [...this.#bySession.values()]) {
      if (agent.peer === null || !this.#revocations.has(agent.peer)) continue;
      this.#goAway(agent, "the certificate is revoked", RETRY_AFTER_MS);
      agent.close("revoked", "the certificate is revoked");
    }
    return null;
  }

  onDrain(): void {
    const paused = [...this.#paused];
    this.#paused.clear();
    for (const agent of paused) agent.resume();
  }
}
