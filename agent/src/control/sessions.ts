import type { Log } from "@homeostat/schemas";
import { type FromAgent, fromAgentOf } from "../channel/messages.ts";
import type { AcceptedHandshake } from "../channel/sealed.ts";
import { SealError, type SealedSession } from "../channel/sealed.ts";
import type { RawSession } from "./uplinks.ts";

export interface SessionPorts {
  /** Answers an agent's hello. */
  accept(hello: Buffer): AcceptedHandshake | { readonly refused: string };
  /** Why this host may not connect with this certificate, or null. */
  mayConnect(host: string, serial: string): string | null;
  /** The first message of this agent's newest session has opened. */
  onConfirmed(host: string, via: { readonly server: string; readonly site: string }): void;
  onGone(host: string): void;
  onMessage(host: string, message: FromAgent): void;
  /** The site server of this host was behind when `hasRoom` was asked, and has caught up. */
  onRoom(host: string): void;
  /** Something was turned away, for this reason. */
  count(reason: string): void;
  readonly log: Log;
}

interface Session {
  readonly raw: RawSession;
  /** Grows from session to session: of two of one host the later counts. */
  readonly order: number;
  sealed: SealedSession | null;
  /** Of the certificate that it was opened with; null before its handshake. */
  serial: string | null;
  isConfirmed: boolean;
}

/** The sealed sessions of all agents: what comes in is opened and read, what goes out is sealed. At most one of each host counts. */
export class Sessions {
  readonly #ports: SessionPorts;
  readonly #byId = new Map<string, Session>();
  readonly #byHost = new Map<string, Set<Session>>();
  readonly #current = new Map<string, Session>();
  /** Hosts that something waits for, by the uplink that has more unread than it should. */
  readonly #roomless = new Map<string, Set<string>>();
  #order = 0;

  constructor(ports: SessionPorts) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#current.size;
  }

  hosts(): Iterable<string> {
    return this.#current.keys();
  }

  has(host: string): boolean {
    return this.#current.has(host);
  }

  up(raw: RawSession): void {
    this.#order += 1;
    const session = { raw, order: this.#order, sealed: null, serial: null, isConfirmed: false };
    this.#byId.set(raw.id, session);
    this.#byHost.set(raw.host, (this.#byHost.get(raw.host) ?? new Set()).add(session));
  }

  down(raw: RawSession): void {
    const session = this.#byId.get(raw.id);
    if (session === undefined) return;
    this.#byId.delete(raw.id);
    const ofHost = this.#byHost.get(raw.host);
    ofHost?.delete(session);
    if (ofHost?.size === 0) this.#byHost.delete(raw.host);
    if (this.#current.get(raw.host) !== session) return;
    this.#current.delete(raw.host);
    this.#wantsNoRoom(raw);
    this.#ports.onGone(raw.host);
  }

  frame(raw: RawSession, kind: "sealed" | "handshake", bytes: Buffer): void {
    const session = this.#byId.get(raw.id);
    if (session === undefined) return;
    if (kind === "handshake") this.#shakeHands(session, bytes);
    else this.#open(session, bytes);
  }

  /** In their order, as many as there is room for. */
  drained(way: string): void {
    const hosts = this.#roomless.get(way) ?? [];
    for (const host of hosts) {
      const raw = this.#current.get(host)?.raw;
      if (raw?.way === way && raw.isBehind) return;
      this.#roomless.get(way)?.delete(host);
      this.#ports.onRoom(host);
    }
    this.#roomless.delete(way);
  }

  /** False: it has no session, or its site server is behind, and `onRoom` tells when that is over. What is short and must not wait is sent all the same. */
  hasRoom(host: string): boolean {
    const raw = this.#current.get(host)?.raw;
    if (raw === undefined) return false;
    if (!raw.isBehind) return true;
    const roomless = this.#roomless.get(raw.way);
    if (roomless === undefined) this.#roomless.set(raw.way, new Set([host]));
    else roomless.add(host);
    return false;
  }

  #wantsNoRoom({ way, host }: RawSession): void {
    const roomless = this.#roomless.get(way);
    if (roomless?.delete(host) === true && roomless.size === 0) this.#roomless.delete(way);
  }

  /** Under one seal. False: there is no session. */
  send(host: string, ...messages: readonly string[]): boolean {
    const session = this.#current.get(host);
    return session !== undefined && this.#seal(session, messages);
  }

  /** Who this host is has changed: ends its sessions, confirmed or not, whose certificate does not count any more. */
  recheck(host: string): void {
    for (const { raw, serial } of [...(this.#byHost.get(host) ?? [])]) {
      const why = serial === null ? null : this.#ports.mayConnect(host, serial);
      if (why !== null) raw.close(why);
    }
  }

  stop(reason: string): void {
    for (const { raw } of [...this.#byId.values()]) raw.close(reason);
  }

  #shakeHands(session: Session, hello: Buffer): void {
    const { raw } = session;
    if (session.sealed !== null) {
      this.#turnAway(raw, "second_handshake", "a session has one handshake");
      return;
    }
    const accepted = this.#ports.accept(hello);
    if ("refused" in accepted) {
      this.#turnAway(raw, "handshake_refused", accepted.refused);
      return;
    }
    if (accepted.host !== raw.host) {
      this.#turnAway(raw, "wrong_host", `announced as ${raw.host}, but its certificate is for ${accepted.host}`);
      return;
    }
    session.sealed = accepted.session;
    session.serial = accepted.serial;
    raw.send("handshake", accepted.welcome);
  }

  #open(session: Session, bytes: Buffer): void {
    const { raw, sealed } = session;
    if (sealed === null) {
      this.#turnAway(raw, "no_handshake", "a sealed message came before the handshake");
      return;
    }
    let plain: Buffer;
    try {
      plain = sealed.open(bytes);
    } catch (thrown) {
      if (!(thrown instanceof SealError)) throw thrown;
      this.#turnAway(raw, "seal_broken", thrown.message);
      return;
    }
    if (!session.isConfirmed && !this.#confirm(session)) return;
    const message = fromAgentOf(plain);
    if (message !== null) {
      this.#ports.onMessage(raw.host, message);
      return;
    }
    this.#ports.count("malformed_message");
    this.#ports.log.warn(
      { host: raw.host, bytes: plain.length },
      "a message of an agent cannot be read and is left out",
    );
  }

  /** False when a later session of this host counts already. */
  #confirm(session: Session): boolean {
    const { raw } = session;
    const before = this.#current.get(raw.host);
    if (before !== undefined && before.order > session.order) {
      raw.close("the agent has a later session");
      return false;
    }
    session.isConfirmed = true;
    this.#current.set(raw.host, session);
    if (before !== undefined) this.#wantsNoRoom(before.raw);
    if (before !== undefined && before !== session) before.raw.close("the agent has a later session");
    this.#ports.onConfirmed(raw.host, { server: raw.server, site: raw.site });
    return true;
  }

  #seal({ raw, sealed }: Session, messages: readonly string[]): boolean {
    if (sealed === null || !raw.isOpen) return false;
    const text = messages.length === 1 ? (messages[0] ?? "") : `[${messages.join()}]`;
    try {
      return raw.send("sealed", sealed.seal(Buffer.from(text))) || raw.isOpen;
    } catch (thrown) {
      if (!(thrown instanceof SealError)) throw thrown;
      this.#turnAway(raw, "seal_spent", thrown.message);
      return false;
    }
  }

  #turnAway(raw: RawSession, reason: string, detail: string): void {
    this.#ports.count(reason);
    this.#ports.log.warn({ host: raw.host, server: raw.server, reason: detail }, "a session is closed");
    raw.close(detail);
  }
}
