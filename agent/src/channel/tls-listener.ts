import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from "node:tls";
import { checkPeer, type Expected, type Peer, serverTls, type TlsIdentity } from "./tls-identity.ts";
import { lean } from "./tls-lean.ts";
import type { Pulsed, Wheel } from "./wheel.ts";

export interface TlsListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly identity: TlsIdentity;
  readonly expected: Expected;
  readonly wheel: Wheel;
  readonly now: () => number;
  /** 48 bytes, the same at all servers of a site: an agent that comes from another one resumes its session. */
  readonly ticketKeys?: Buffer | undefined;
  /** Peers that have not yet said who they are: of all, and of one address. More are turned away unheard. */
  readonly pendingMax: number;
  readonly pendingPerAddressMax: number;
  /** From the connection to its first frame. */
  readonly pendingTimeoutMs: number;
  /** peer: null when it showed no certificate. `admit` ends its being pending: to be called when it has said who it is. */
  onPeer(socket: TLSSocket, peer: Peer | null, admit: () => void): void;
  onRefused(reason: ListenerRefusal, detail: string): void;
}

export const LISTENER_REFUSALS = [
  "too_many_pending",
  "too_many_of_address",
  "tls_failed",
  "bad_certificate",
  "timeout",
] as const;
export type ListenerRefusal = (typeof LISTENER_REFUSALS)[number];

export interface TlsListener {
  readonly port: number;
  readonly pending: number;
  /** For connections from now on. */
  renew(identity: TlsIdentity): void;
  /** Takes no more connections; those that are there stay. */
  close(): void;
}

/** A fleet that comes home all at once waits here; the kernel caps it at net.core.somaxconn. */
const BACKLOG = 4_096;
/** A ticket is given at connect, and wanted when the server is lost: a day later, say. Who it is of is judged anew each time. */
const TICKET_LIFE_S = 86_400;
const KEEP_ALIVE_MS = 30_000;

export const listenTls = async (options: TlsListenerOptions): Promise<TlsListener> => {
  const gate = new Gate(options);
  const settings = (identity: TlsIdentity) => ({
    ...serverTls(identity),
    ...lean(identity),
    // The same at all servers, so that a session of one is resumed at another.
    sessionIdContext: "homeostat",
    sessionTimeout: TICKET_LIFE_S,
    ...(options.ticketKeys === undefined ? {} : { ticketKeys: options.ticketKeys }),
  });
  const tls = createTlsServer({ ...settings(options.identity), handshakeTimeout: options.pendingTimeoutMs });
  let { identity } = options;
  tls.on("secureConnection", (socket) => gate.secured(socket, identity));
  tls.on("tlsClientError", (error) => options.onRefused("tls_failed", error.message));
  const raw = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }, (socket) =>
    gate.enter(socket, tls),
  );
  await listening(raw, options);
  const address = raw.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    get pending() {
      return gate.pending;
    },
    renew: (renewed) => {
      identity = renewed;
      tls.setSecureContext(settings(renewed));
    },
    close: () => {
      raw.close();
      gate.closeAll();
    },
  };
};

const listening = (server: Server, { host, port }: { host: string; port: number }): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.off("error", reject);
      resolve();
    });
  });

/** Holds those that nobody knows yet to a number and a time. */
class Gate {
  readonly options: TlsListenerOptions;
  readonly #byPeer = new Map<string, Pending>();
  readonly #byAddress = new Map<string, number>();

  constructor(options: TlsListenerOptions) {
    this.options = options;
  }

  get pending(): number {
    return this.#byPeer.size;
  }

  enter(socket: Socket, tls: TlsServer): void {
    const { pendingMax, pendingPerAddressMax, onRefused } = this.options;
    const address = socket.remoteAddress ?? "";
    const ofAddress = this.#byAddress.get(address) ?? 0;
    // A reset of a connection that is being turned away concerns nobody.
    socket.on("error", ignore);
    if (this.#byPeer.size >= pendingMax || ofAddress >= pendingPerAddressMax) {
      socket.destroy();
      onRefused(this.#byPeer.size >= pendingMax ? "too_many_pending" : "too_many_of_address", address);
      return;
    }
    const pending = new Pending(this, socket, address);
    this.#byPeer.set(pending.key, pending);
    this.#byAddress.set(address, ofAddress + 1);
    this.options.wheel.add(pending);
    tls.emit("connection", socket);
  }

  secured(socket: TLSSocket, identity: TlsIdentity): void {
    const pending = this.#byPeer.get(keyOf(socket));
    const { expected, now, onPeer, onRefused } = this.options;
    const peer = checkPeer(socket, expected, { identity, nowUnixMs: now() });
    if (pending === undefined || (peer !== "none" && "refused" in peer)) {
      socket.on("error", ignore);
      socket.destroy();
      onRefused("bad_certificate", peer !== "none" && "refused" in peer ? peer.refused : "it is gone");
      return;
    }
    onPeer(socket, peer === "none" ? null : peer, () => pending.leave());
  }

  left(pending: Pending): void {
    if (!this.#byPeer.delete(pending.key)) return;
    this.options.wheel.delete(pending);
    const left = (this.#byAddress.get(pending.address) ?? 1) - 1;
    if (left === 0) this.#byAddress.delete(pending.address);
    else this.#byAddress.set(pending.address, left);
  }

  closeAll(): void {
    for (const pending of [...this.#byPeer.values()]) pending.socket.destroy();
  }
}

class Pending implements Pulsed {
  readonly socket: Socket;
  readonly address: string;
  readonly key: string;
  readonly #gate: Gate;
  readonly #closed = () => this.leave();
  #periodsLeft: number;

  constructor(gate: Gate, socket: Socket, address: string) {
    this.#gate = gate;
    this.socket = socket;
    this.address = address;
    this.key = keyOf(socket);
    this.#periodsLeft = gate.options.wheel.periods(gate.options.pendingTimeoutMs);
    socket.once("close", this.#closed);
  }

  leave(): void {
    this.socket.off("close", this.#closed);
    this.#gate.left(this);
  }

  onPulse(): void {
    if (this.#periodsLeft-- > 0) return;
    this.#gate.options.onRefused("timeout", this.address);
    this.socket.destroy();
    this.leave();
  }
}

const keyOf = (socket: Socket): string => `${socket.remoteAddress}:${socket.remotePort}`;
const ignore = () => undefined;
