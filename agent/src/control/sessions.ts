import type { Log } from "@homeostat/schemas";
import { FromAgent } from "../channel/messages.ts";
import type { AcceptedHandshake } from "../channel/sealed.ts";
import { SealError, type SealedSession } from "../channel/sealed.ts";
import type { RawSession } from "./uplinks.ts";

export interface SessionPorts {
  /** Answers an agent's hello. */
  accept(hello: Buffer): AcceptedHandshake | { readonly refused: string };
  /** The first message of this agent's newest session has opened. */
  onConfirmed(host: string, via: { readonly server: string; readonly site: string }): void;
  onGone(host: string): void;
  onMessage(host: string, message: FromAgent): void;
  /** Something was turned away, for this reason. */
  count(reason: string): void;
  readonly log: Log;
}

interface Session {
  readonly raw: RawSession;
  /** Grows from session to session: of two of one host the later counts. */
  readonly order: number;
  sealed: SealedSession | null;
  isConfirmed: boolean;
}

/** The sealed sessions of all agents: what comes in is opened and read, what goes out is sealed. At most one of each host counts. */
export class Sessions {
  readonly #ports: SessionPorts;
  readonly #byId = new Map<string, Session>();
  readonly #current = new Map<string, Session>();
  /** Servers that have more unread than they should. */
  readonly #behind = new Set<string>();
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
    this.#byId.set(raw.id, { raw, order: this.#order, sealed: null, isConfirmed: false });
  }

  down(raw: RawSession): void {
    const session = this.#byId.get(raw.id);
    this.#byId.delete(raw.id);
    if (session === undefined || this.#current.get(raw.host) !== session) return;
    this.#current.delete(raw.host);
    this.#ports.onGone(raw.host);
  }

  frame(raw: RawSession, kind: "sealed" | "handshake", bytes: Buffer): void {
    const session = this.#byId.get(raw.id);
    if (session === undefined) return;
    if (kind === "handshake") this.#shakeHands(session, bytes);
    else this.#open(session, bytes);
  }

  drained(server: string): void {
    this.#behind.delete(server);
  }

  send(host: string, message: string): "sent" | "full" | "gone" {
    const session = this.#current.get(host);
    if (session === undefined) return "gone";
    if (this.#behind.has(session.raw.server)) return "full";
    return this.#seal(session, message) ? "sent" : "gone";
  }

  tell(host: string, message: string): boolean {
    const session = this.#current.get(host);
    return session !== undefined && this.#seal(session, message);
  }

  end(host: string, reason: string): void {
    this.#current.get(host)?.raw.close(reason);
  }

  stop(reason: string): void {
    for (const { raw } of [...this.#byId.values()]) raw.close(reason);
  }

  #shakeHands(session: Session, hello: Buffer): void {
    const { raw } = session;
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
    const message = read(plain);
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
    if (before !== undefined && before !== session) before.raw.close("the agent has a later session");
    this.#ports.onConfirmed(raw.host, { server: raw.server, site: raw.site });
    return true;
  }

  #seal({ raw, sealed }: Session, message: string): boolean {
    if (sealed === null || !raw.isOpen) return false;
    if (!raw.send("sealed", sealed.seal(Buffer.from(message)))) {
      if (!raw.isOpen) return false;
      this.#behind.add(raw.server);
    }
    return true;
  }

  #turnAway(raw: RawSession, reason: string, detail: string): void {
    this.#ports.count(reason);
    this.#ports.log.warn({ host: raw.host, server: raw.server, reason: detail }, "a session is closed");
    raw.close(detail);
  }
}

const read = (plain: Buffer): FromAgent | null => {
  try {
    return FromAgent.parse(JSON.parse(plain.toString("utf8")));
  } catch {
    return null;
  }
};
