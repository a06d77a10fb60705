import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Log } from "@homeostat/schemas";
import { Counts } from "../channel/counts.ts";
import type { Peer, TlsIdentity } from "../channel/tls-identity.ts";
import { listenTls, type TlsListener } from "../channel/tls-listener.ts";
import { type Pulsed, Wheel } from "../channel/wheel.ts";
import { EnrolStranger } from "./enrol-stranger.ts";
import { UplinkEnd, type UplinkPorts } from "./uplink-end.ts";

/**
 * One agent as a site server announces it: what it says is not to be believed before the handshake with the agent itself. There may be
 * several of one host at a time (it has moved to another server, and the first has not noticed yet): the newest whose sealed session is
 * confirmed counts, and the others are to be closed.
 */
export interface RawSession {
  /** Names it among all sessions since control began. */
  readonly id: string;
  /** Names the uplink that it came by: servers of two sites may have one name, and one server may have two uplinks for a while. */
  readonly way: string;
  readonly host: string;
  readonly server: string;
  readonly site: string;
  /** Of the agent's end, as the site server sees it. */
  readonly address: string;
  /** False: not sent because the session is over, or sent and the way is behind. */
  send(kind: "sealed" | "handshake", bytes: Uint8Array): boolean;
  /** The site server is told to end the agent's connection: it comes back by itself, here or elsewhere. */
  close(reason: string): void;
  readonly isOpen: boolean;
  /** Its server has more unread than it should: wait for onDrain. */
  readonly isBehind: boolean;
}

export interface Revoked {
  /** Hex, lower case. */
  readonly serials: readonly string[];
  readonly hosts: readonly string[];
}

export interface UplinkHandlers {
  onUp(session: RawSession): void;
  /** Also of sessions that control has closed itself. */
  onDown(session: RawSession, reason: string): void;
  onFrame(session: RawSession, kind: "sealed" | "handshake", bytes: Buffer): void;
  /** An uplink that was behind has caught up: its sessions may be sent to again. */
  onDrain?(way: string): void;
  /** Never rejects for what the other side did wrong: that is an answer. via: null when it was asked here, without a site server between. */
  onEnrol(request: unknown, via: { readonly site: string; readonly server: string } | null): Promise<unknown>;
  /** Rejects when there is no such artefact; fewer bytes than asked for at its end. */
  onFetch(sha256: string, offset: number, length: number): Promise<Buffer>;
  revoked(): Revoked;
  /** Why this site server may not serve, by its certificate; asked at connect and after each tellRevoked. Not asked in process. */
  mayServe(site: string, server: string, serial: string): string | null;
}

export interface UplinksOptions {
  readonly handlers: UplinkHandlers;
  readonly name: string;
  readonly now: () => number;
  readonly log: Log;
  readonly wheel?: Wheel;
  /** Bytes that one site server may leave unread. */
  readonly queueBytesMax?: number;
}

export interface UplinkView {
  readonly site: string;
  readonly server: string;
  readonly agents: number;
  readonly queued_bytes: number;
  /** "in process", or the address of the other end. */
  readonly address: string;
}

export interface Uplinks {
  /** A site server of this process: it is who it says. */
  attach(stream: Duplex): void;
  /** The port. */
  listen(options: { readonly host: string; readonly port: number; readonly tls: TlsIdentity }): Promise<number>;
  /** For connections from now on. */
  renew(tls: TlsIdentity): void;
  /** What is revoked may have changed. */
  tellRevoked(): void;
  servers(): readonly UplinkView[];
  stats(): UplinkStats;
  stop(): Promise<void>;
}

export interface UplinkStats {
  readonly sessions: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly closed: Readonly<Record<string, number>>;
}

export const createUplinks = (options: UplinksOptions): Uplinks => new AllUplinks(options);

const WHEEL_PERIOD_MS = 1_000;
const WHEEL_SLOTS = 4;
const QUEUE_BYTES_MAX = 64 * 1_048_576;
/** Site servers ping after 3 s of silence. */
const SILENT_MS_MAX = 20_000;
const PENDING_TIMEOUT_MS = 10_000;
const PENDING_MAX = 256;
const PENDING_PER_ADDRESS_MAX = 64;
const UPLINKS_MAX = 1_000;
/** Of one server, which has one, and for a while those that have died unnoticed: more, and the oldest gives way. */
const UPLINKS_PER_SERVER_MAX = 4;
/** Of strangers at this listener, a second, beyond a burst of twice as many; who comes later is told to come again. */
const ENROLMENTS_PER_S = 50;
const ENROL_BURST_S = 2;
/** Changes of so long are told together: a fleet that renews its certificates makes thousands. */
const TELL_MS = 100;

class AllUplinks implements Uplinks, Pulsed {
  readonly #options: UplinksOptions;
  readonly #wheel: Wheel;
  readonly #ends = new Set<UplinkEnd>();
  readonly #strangers = new Set<EnrolStranger>();
  readonly #refused = new Counts<string>();
  readonly #closed = new Counts<string>();
  readonly #shared: UplinkPorts;
  #listener: TlsListener | null = null;
  #telling: NodeJS.Timeout | null = null;
  #enrolments = ENROL_BURST_S * ENROLMENTS_PER_S;

  constructor(options: UplinksOptions) {
    this.#options = options;
    this.#wheel = options.wheel ?? new Wheel({ periodMs: WHEEL_PERIOD_MS, slots: WHEEL_SLOTS });
    this.#shared = {
      name: options.name,
      handlers: options.handlers,
      log: options.log,
      queueBytesMax: options.queueBytesMax ?? QUEUE_BYTES_MAX,
      silentPeriodsMax: this.#wheel.periods(SILENT_MS_MAX),
      gone: (end, reason) => this.#gone(end, reason),
    };
    this.#wheel.add(this);
    this.#wheel.start();
  }

  onPulse(): void {
    const more = (ENROLMENTS_PER_S * this.#wheel.periodMs) / 1_000;
    this.#enrolments = Math.min(ENROL_BURST_S * ENROLMENTS_PER_S, this.#enrolments + more);
  }

  attach(stream: Duplex): void {
    this.#add(stream, null, () => undefined);
  }

  async listen({ host, port, tls }: { host: string; port: number; tls: TlsIdentity }): Promise<number> {
    this.#listener = await listenTls({
      host,
      port,
      identity: tls,
      expected: { kind: "site", site: null },
      wheel: this.#wheel,
      now: this.#options.now,
      pendingMax: PENDING_MAX,
      pendingPerAddressMax: PENDING_PER_ADDRESS_MAX,
      pendingTimeoutMs: PENDING_TIMEOUT_MS,
      onPeer: (socket, peer, settle) => this.#onPeer(socket, peer, settle),
      onRefused: (reason) => this.#refused.add(reason),
    });
    return this.#listener.port;
  }

  renew(tls: TlsIdentity): void {
    this.#listener?.renew(tls);
  }

  tellRevoked(): void {
    this.#telling ??= setTimeout(() => {
      this.#telling = null;
      for (const end of this.#ends) end.tellRevoked();
    }, TELL_MS);
  }

  servers(): readonly UplinkView[] {
    return [...this.#ends].flatMap((end) => end.view ?? []);
  }

  stats(): UplinkStats {
    const sessions = this.servers().reduce((sum, { agents }) => sum + agents, 0);
    return { sessions, refused: this.#refused.toJSON(), closed: this.#closed.toJSON() };
  }

  async stop(): Promise<void> {
    this.#listener?.close();
    if (this.#telling !== null) clearTimeout(this.#telling);
    for (const { connection } of [...this.#ends, ...this.#strangers]) connection.close("control stops");
    this.#wheel.delete(this);
    if (this.#options.wheel === undefined) this.#wheel.stop();
  }

  #onPeer(socket: TLSSocket, peer: Peer | null, settle: () => void): void {
    if (peer === null) {
      this.#strangers.add(new EnrolStranger(socket, this.#strangerPorts, settle));
      return;
    }
    const same = [...this.#ends].filter((end) => end.isOf(peer));
    if (same.length >= UPLINKS_PER_SERVER_MAX) same[0]?.connection.destroy("the site server has connected again");
    if (this.#ends.size >= UPLINKS_MAX) {
      this.#refused.add("too_many_uplinks");
      socket.on("error", () => undefined);
      socket.destroy();
      return;
    }
    this.#add(socket, peer, settle);
  }

  readonly #strangerPorts = {
    enrol: (request: unknown) => this.#enrolStranger(request),
    gone: (stranger: EnrolStranger) => void this.#strangers.delete(stranger),
  };

  async #enrolStranger(request: unknown): Promise<unknown> {
    if (this.#enrolments < 1) {
      this.#refused.add("too_many_enrolments");
      return { refused: "busy", message: "too many enrol at a time; try again later" };
    }
    this.#enrolments -= 1;
    try {
      return await this.#options.handlers.onEnrol(request, null);
    } catch (error) {
      this.#options.log.error({ error: String(error) }, "an enrolment failed");
      return { refused: "unavailable", message: "control failed" };
    }
  }

  #add(stream: Duplex, peer: Peer | null, settle: () => void): void {
    const end = new UplinkEnd({ stream, peer, ports: this.#shared, settle });
    this.#ends.add(end);
    this.#wheel.add(end);
  }

  #gone(end: UplinkEnd, reason: string): void {
    this.#ends.delete(end);
    this.#wheel.delete(end);
    this.#closed.add(end.view === null ? "before_hello" : "closed");
    this.#options.log.warn({ ...(end.view ?? {}), reason }, "a site server is gone");
  }
}
