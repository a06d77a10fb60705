import { createPrivateKey, type KeyObject } from "node:crypto";
import type { Duplex } from "node:stream";
import type { Log } from "@homeostat/schemas";
import { backOffMs } from "../channel/backoff.ts";
import { Connection, type ConnectionOwner } from "../channel/connection.ts";
import {
  ControlState,
  FRAME,
  FRAME_BYTES_MAX,
  GoAway,
  jsonBody,
  jsonOrNull,
  PROTOCOL,
  parseJsonBody,
  SERVERS_MAX,
  SiteWelcome,
} from "../channel/frame.ts";
import { type FromAgent, saidToAgent, type ToAgent } from "../channel/messages.ts";
import { type AgentHandshake, beginHandshake, SealError, type SealedSession } from "../channel/sealed.ts";
import { shuffled } from "../channel/shuffled.ts";
import { dialTls, type Resumable } from "../channel/tls-dial.ts";
import type { TlsIdentity } from "../channel/tls-identity.ts";
import { type Pulsed, Wheel } from "../channel/wheel.ts";
import { ChannelRequests } from "./channel-requests.ts";
import { clockSkewMs } from "./clock-skew.ts";
import type { OutgoingBatch } from "./link.ts";
import { readMessage } from "./read-message.ts";

export interface ChannelClientOptions {
  readonly host: string;
  readonly agentVersion: string;
  /** Asked at each connect and handshake: a renewed certificate counts from then on. */
  readonly identity: () => TlsIdentity;
  readonly site: string;
  /** Whose signature makes a control plane. */
  readonly trustedKeys: () => readonly KeyObject[];
  /** `host:port`; what a server tells of others is added. */
  readonly servers: readonly string[];
  readonly now: () => number;
  readonly random: () => number;
  readonly log: Log;
  /** Shared by the virtual agents of a process. */
  readonly wheel?: Wheel;
  /** Between attempts; half of each wait is random. */
  readonly backOff?: { readonly minMs: number; readonly maxMs: number };
  /** For virtual agents, which need more ports than one source address has. */
  readonly localAddress?: string;
  /** In place of TLS to one of the servers. */
  readonly dial?: (server: string, signal: AbortSignal) => Promise<Duplex>;
}

export type ChannelState = "connected" | "sealed" | "down";

export interface ChannelClient {
  start(): void;
  stop(): Promise<void>;
  /** False: not sent; the channel is not sealed, or behind. */
  send(message: FromAgent): boolean;
  onMessage(listener: (message: ToAgent) => void): void;
  onState(listener: (state: ChannelState, detail: string) => void): void;
  /** Resolves when the bus has them. @throws LinkError */
  publish(batches: readonly OutgoingBatch[]): Promise<void>;
  /** Fewer bytes than asked for at the artefact's end. The bytes are not to be believed: check the digest. @throws LinkError */
  fetch(sha256: string, offset: number, length: number): Promise<Buffer>;
  /** Why no commands can come, null while they can. */
  readonly problem: string | null;
  readonly state: ChannelState;
  /** This host's clock less control's, null until measured. */
  readonly clockSkewMs: number | null;
  readonly wheel: Wheel;
  stats(): ChannelStats;
}

/** Counted since the start. */
export interface ChannelStats {
  readonly connects: number;
  readonly handshakes: number;
  /** Ends of connections and failed attempts, by reason. */
  readonly ended: Readonly<Record<EndReason, number>>;
  readonly malformed: number;
  /** Answers to pings. */
  readonly pongs: number;
  /** Where it is connected, or was. */
  readonly server: string;
}

export const END_REASONS = [
  "dial_failed",
  "half_open",
  "closed",
  "goaway",
  "seal_broken",
  "handshake_failed",
  "protocol",
  "stopped",
] as const;
export type EndReason = (typeof END_REASONS)[number];

/** The first attempt after a connection was lost waits between half the minimum and all of it: with thousands of agents that is the spread. */
const BACK_OFF = { minMs: 1_000, maxMs: 30_000 };
/** A session that has held this long was a good one: the next loss starts with the shortest wait again. */
const GOOD_AFTER_MS = 10_000;
const QUEUE_BYTES_MAX = 8 * 1_048_576;
const WHEEL_PERIOD_MS = 1_000;
/** A server that says nothing for so long is asked, and then given up: back elsewhere within 10 s. */
const PING_AFTER_MS = 4_000;
const DEAD_AFTER_MS = 7_000;
/** For WELCOME, and for control's half of the handshake (which may come from a control that is just back). */
const WELCOME_MS_MAX = 10_000;
const HANDSHAKE_MS_MAX = 20_000;
const CLOCK_EVERY_MS = 60_000;

export const createChannelClient = (options: ChannelClientOptions): ChannelClient => new Client(options);

class Client implements ChannelClient, ConnectionOwner, Pulsed {
  readonly frameBytesMax = FRAME_BYTES_MAX;
  readonly queueBytesMax = QUEUE_BYTES_MAX;
  readonly wheel: Wheel;
  readonly #options: ChannelClientOptions;
  readonly #requests: ChannelRequests;
  readonly #servers: string[];
  readonly #messageListeners: ((message: ToAgent) => void)[] = [];
  readonly #stateListeners: ((state: ChannelState, detail: string) => void)[] = [];
  readonly #ended: Record<EndReason, number>;
  #stopping = new AbortController();
  /** To dial, or to leave a server that sent this agent away. */
  #timer: NodeJS.Timeout | null = null;
  #handshakeTimer: NodeJS.Timeout | null = null;
  #connection: Connection | null = null;
  #handshake: AgentHandshake | null = null;
  #sealed: SealedSession | null = null;
  #session: Resumable | undefined;
  #key: { pem: string; key: KeyObject } | null = null;
  #server = "";
  #isWelcome = false;
  #control: ControlState = { up: false, epoch: 0, spread_ms: 0 };
  #endReason: EndReason = "closed";
  #retryAfterMs: number | null = null;
  #awayBecause = "";
  #failures = 0;
  #silentPeriods = 0;
  #waitingPeriods = 0;
  #goodPeriods = 0;
  #clockPeriods = 0;
  #connects = 0;
  #handshakes = 0;
  #malformed = 0;
  #pongs = 0;
  state: ChannelState = "down";
  problem: string | null = "not yet connected";
  clockSkewMs: number | null = null;

  constructor(options: ChannelClientOptions) {
    this.#options = options;
    this.wheel = options.wheel ?? new Wheel({ periodMs: WHEEL_PERIOD_MS, slots: 1 });
    this.#requests = new ChannelRequests(this.wheel);
    this.#servers = shuffled(options.servers.slice(0, SERVERS_MAX), options.random);
    this.#ended = Object.fromEntries(END_REASONS.map((reason) => [reason, 0])) as Record<EndReason, number>;
    if (this.#servers.length === 0) throw new RangeError("no server to connect to");
  }

  start(): void {
    this.#stopping = new AbortController();
    this.wheel.add(this);
    this.wheel.start();
    void this.#dial();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#clearTimers();
    this.#end("stopped", "the agent stops");
    this.wheel.delete(this);
    if (this.#options.wheel === undefined) this.wheel.stop();
  }

  onMessage(listener: (message: ToAgent) => void): void {
    this.#messageListeners.push(listener);
  }

  onState(listener: (state: ChannelState, detail: string) => void): void {
    this.#stateListeners.push(listener);
  }

  send(message: FromAgent): boolean {
    const { state } = this;
    if (state !== "sealed" || this.#sealed === null || this.#connection === null || this.#connection.isBehind)
      return false;
    try {
      this.#connection.send(FRAME.sealed, this.#sealed.seal(Buffer.from(JSON.stringify(message))));
      return true;
    } catch (error) {
      if (!(error instanceof SealError)) throw error;
      // The keys have done their work.
      this.#beginHandshake();
      return false;
    }
  }

  publish(batches: readonly OutgoingBatch[]): Promise<void> {
    return this.#requests.publish(this.#isWelcome ? this.#connection : null, batches);
  }

  fetch(sha256: string, offset: number, length: number): Promise<Buffer> {
    return this.#requests.fetch(this.#isWelcome ? this.#connection : null, { sha256, offset, length });
  }

  stats(): ChannelStats {
    return {
      connects: this.#connects,
      handshakes: this.#handshakes,
      ended: { ...this.#ended },
      malformed: this.#malformed,
      pongs: this.#pongs,
      server: this.#server,
    };
  }

  // ——— connecting

  async #dial(): Promise<void> {
    this.#timer = null;
    const server = this.#servers[0] ?? "";
    this.#server = server;
    this.#endReason = "closed";
    this.#retryAfterMs = null;
    const { signal } = this.#stopping;
    try {
      const stream = await (this.#options.dial?.(server, signal) ?? this.#dialTls(server, signal));
      if (signal.aborted) {
        stream.destroy();
        return;
      }
      this.#silentPeriods = 0;
      this.#waitingPeriods = 0;
      this.#connection = new Connection(stream, this);
      const { host, agentVersion } = this.#options;
      this.#connection.send(FRAME.hello, jsonBody({ protocol: PROTOCOL, host, agent_version: agentVersion }));
    } catch (error) {
      this.#again("dial_failed", error instanceof Error ? error.message : String(error));
    }
  }

  async #dialTls(server: string, signal: AbortSignal): Promise<Duplex> {
    const { identity, site, now, localAddress } = this.#options;
    const onSession = (session: Resumable) => {
      this.#session = session;
    };
    const session = this.#session;
    // One that does not work must not be tried for ever. One that does is used again: a resumed session brings no new ticket, and that
    // the same agent comes again (RFC 8446, C.4) is no secret.
    this.#session = undefined;
    const dialled = await dialTls({
      server,
      identity: identity(),
      expected: { kind: "site", site },
      now,
      signal,
      session,
      onSession,
      localAddress,
    });
    this.#session ??= session;
    return dialled.socket;
  }

  #again(reason: EndReason, detail: string): void {
    this.#clearTimers();
    this.#ended[reason] += 1;
    this.#setState("down", `${this.#server}: ${detail}`);
    if (this.#stopping.signal.aborted) return;
    // To another server, when there is one.
    this.#servers.push(...this.#servers.splice(0, 1));
    this.#timer = setTimeout(() => void this.#dial(), this.#waitMs(reason));
  }

  #waitMs(reason: EndReason): number {
    const { backOff = BACK_OFF, random } = this.#options;
    // By rounds of all servers: one that turned away a crowd is asked again before long, though the next in turn is dead.
    const failures = Math.floor(this.#failures / this.#servers.length);
    const waitMs = backOffMs({ failures, ...backOff, random });
    // It has left at the moment that it was given: that was the spread.
    const isRelieved = reason === "goaway" && this.#failures === 0 && this.#retryAfterMs === null;
    this.#failures += 1;
    return isRelieved && this.#servers.length > 1 ? 0 : Math.max(waitMs, this.#retryAfterMs ?? 0);
  }

  #clearTimers(): void {
    for (const timer of [this.#timer, this.#handshakeTimer]) if (timer !== null) clearTimeout(timer);
    this.#timer = null;
    this.#handshakeTimer = null;
  }

  /** This end has reasons to end it. */
  #end(reason: EndReason, detail: string): void {
    this.#endReason = reason;
    const connection = this.#connection;
    if (connection === null) this.#setState("down", detail);
    else if (reason === "stopped" || reason === "goaway") connection.close(detail);
    else connection.destroy(detail);
  }

  #setState(state: ChannelState, detail: string): void {
    this.problem = state === "sealed" ? null : detail.slice(0, 500);
    if (state === this.state && state !== "connected") return;
    this.state = state;
    this.#options.log.debug({ state, detail, server: this.#server }, "the channel");
    for (const listener of this.#stateListeners) listener(state, detail);
  }

  // ——— the connection's owner

  onFrame(type: number, body: Buffer): void {
    switch (type) {
      case FRAME.sealed:
        this.#onSealed(body);
        return;
      case FRAME.batchesAck:
      case FRAME.chunk:
        this.#requests.answer(type, body);
        return;
      case FRAME.handshake:
        this.#onHandshake(body);
        return;
      case FRAME.welcome:
        this.#onWelcome(body);
        return;
      case FRAME.control:
        this.#onControl(body);
        return;
      case FRAME.goaway:
        this.#onGoAway(body);
        return;
      case FRAME.pong:
        this.#pongs += 1;
        return;
      default:
        this.#end("protocol", `a server sends no frame ${type}`);
    }
  }

  onClose(detail: string): void {
    this.#connection = null;
    this.#sealed = null;
    this.#handshake = null;
    this.#isWelcome = false;
    this.#requests.failAll(detail);
    const wasSentAway = this.#endReason === "closed" && this.#retryAfterMs !== null;
    this.#again(wasSentAway ? "goaway" : this.#endReason, wasSentAway ? this.#awayBecause : detail);
  }

  onPulse(): void {
    this.#requests.onPulse();
    const connection = this.#connection;
    if (connection === null) return;
    this.#silentPeriods = connection.isHeard ? 0 : this.#silentPeriods + 1;
    connection.isHeard = false;
    if (this.#isWelcome && this.#silentPeriods >= this.wheel.periods(DEAD_AFTER_MS)) {
      this.#end("half_open", "nothing is heard");
      return;
    }
    if (this.#silentPeriods === this.wheel.periods(PING_AFTER_MS)) connection.send(FRAME.ping);
    if (this.state === "sealed") this.#onSealedPulse();
    else this.#onWaitingPulse();
  }

  #onSealedPulse(): void {
    if (++this.#goodPeriods >= this.wheel.periods(GOOD_AFTER_MS)) this.#failures = 0;
    if (this.#clockPeriods-- > 0) return;
    this.#clockPeriods = this.wheel.periods(CLOCK_EVERY_MS);
    this.send({ type: "clock", asked_at_unix_ms: this.#options.now() });
  }

  #onWaitingPulse(): void {
    if (this.#isWelcome && !this.#control.up) return;
    this.#waitingPeriods += 1;
    if (!this.#isWelcome && this.#waitingPeriods > this.wheel.periods(WELCOME_MS_MAX))
      this.#end("half_open", "no WELCOME came");
    else if (this.#handshake !== null && this.#waitingPeriods > this.wheel.periods(HANDSHAKE_MS_MAX))
      this.#end("handshake_failed", "control does not answer the handshake");
  }

  #onWelcome(body: Buffer): void {
    const welcome = parseJsonBody(SiteWelcome, body);
    if ("flaw" in welcome) {
      this.#end("protocol", `WELCOME: ${welcome.flaw}`);
      return;
    }
    this.#isWelcome = true;
    this.#connects += 1;
    const { servers, control } = welcome.value;
    const known = new Set(this.#servers);
    const fresh = servers.filter((server) => !known.has(server));
    this.#servers.push(...shuffled(fresh, this.#options.random).slice(0, SERVERS_MAX - this.#servers.length));
    this.#takeControlState(control);
  }

  #onControl(body: Buffer): void {
    const control = parseJsonBody(ControlState, body);
    if ("flaw" in control) this.#end("protocol", `CONTROL: ${control.flaw}`);
    else this.#takeControlState(control.value);
  }

  #takeControlState(control: ControlState): void {
    this.#control = control;
    this.#sealed = null;
    this.#handshake = null;
    this.#waitingPeriods = 0;
    if (this.#handshakeTimer !== null) clearTimeout(this.#handshakeTimer);
    this.#handshakeTimer = null;
    this.#setState("connected", control.up ? "waiting for control's handshake" : "the site is cut off from control");
    if (!control.up) return;
    if (control.spread_ms === 0) this.#beginHandshake();
    else this.#handshakeTimer = setTimeout(() => this.#beginHandshake(), this.#options.random() * control.spread_ms);
  }

  // ——— sealing

  #beginHandshake(): void {
    this.#handshakeTimer = null;
    const connection = this.#connection;
    if (connection === null || !this.#control.up) return;
    const { host, identity, now } = this.#options;
    const { certificatePem, privateKeyPem } = identity();
    if (this.#key?.pem !== privateKeyPem) this.#key = { pem: privateKeyPem, key: createPrivateKey(privateKeyPem) };
    this.#sealed = null;
    this.#handshake = beginHandshake({ host, certificatePem, privateKey: this.#key.key }, now());
    this.#waitingPeriods = 0;
    this.#setState("connected", "waiting for control's handshake");
    connection.send(FRAME.handshake, this.#handshake.hello);
  }

  #onHandshake(body: Buffer): void {
    const handshake = this.#handshake;
    // Of a handshake that was given up when control went away.
    if (handshake === null) return;
    this.#handshake = null;
    try {
      this.#sealed = handshake.finish(body, this.#options.trustedKeys());
    } catch (error) {
      if (!(error instanceof SealError)) throw error;
      this.#options.log.warn({ server: this.#server, error: error.message }, "the handshake with control failed");
      this.#end("handshake_failed", error.message);
      return;
    }
    this.#handshakes += 1;
    this.#goodPeriods = 0;
    this.#clockPeriods = 0;
    this.#setState("sealed", this.#server);
    // Control believes in a session once a message of it has opened.
    this.#onSealedPulse();
  }

  #onSealed(body: Buffer): void {
    // Before control's half of a new handshake come only leftovers of the session before.
    if (this.#sealed === null) return;
    let plain: Buffer;
    try {
      plain = this.#sealed.open(body);
    } catch (error) {
      if (!(error instanceof SealError)) throw error;
      this.#options.log.warn({ server: this.#server, error: error.message }, "the site server lies, or lost something");
      this.#end("seal_broken", error.message);
      return;
    }
    for (const said of saidToAgent(jsonOrNull(plain)) ?? [null]) this.#hear(said);
  }

  #hear(said: unknown): void {
    const message = readMessage(said);
    if ("flaw" in message) {
      this.#malformed += 1;
      this.#options.log.warn({ flaw: message.flaw }, "control says something that is no message");
      return;
    }
    if (message.type === "clock") this.clockSkewMs = clockSkewMs(message, this.#options.now()) ?? this.clockSkewMs;
    for (const listener of this.#messageListeners) listener(message);
  }

  #onGoAway(body: Buffer): void {
    const goAway = parseJsonBody(GoAway, body);
    if ("flaw" in goAway) {
      this.#end("protocol", `GOAWAY: ${goAway.flaw}`);
      return;
    }
    const { reason, retry_after_ms: retryAfterMs } = goAway.value;
    if (this.#retryAfterMs === null)
      this.#options.log.info({ server: this.#server, reason, retryAfterMs }, "the server sends this agent away");
    this.#retryAfterMs = retryAfterMs;
    this.#awayBecause = reason;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#leave(), retryAfterMs);
  }

  #leave(): void {
    this.#retryAfterMs = null;
    this.#end("goaway", this.#awayBecause);
  }
}
