import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Log } from "@homeostat/schemas";
import { Connection, type ConnectionOwner } from "../channel/connection.ts";
import {
  AgentUp,
  FetchRequest,
  FRAME,
  FRAME_BYTES_MAX,
  HELLO_BYTES_MAX,
  jsonBody,
  jsonOrNull,
  PROTOCOL,
  parseJsonBody,
  SiteHello,
  STATUS,
  u32,
} from "../channel/frame.ts";
import type { Peer } from "../channel/tls-identity.ts";
import type { Pulsed } from "../channel/wheel.ts";
import type { RawSession, UplinkHandlers, UplinkView } from "./uplinks.ts";

export interface UplinkPorts {
  readonly name: string;
  readonly handlers: UplinkHandlers;
  readonly log: Log;
  readonly queueBytesMax: number;
  readonly silentPeriodsMax: number;
  gone(end: UplinkEnd, reason: string): void;
}

const SESSIONS_MAX = 100_000;
/** Names of 255 characters and serials of 40: of so many a frame has room. */
const REVOKED_TOLD_MAX = 3_000;
/** Questions of one site server that are being answered; more are told to come again. */
const ASKED_MAX = 512;

let uplinks = 0;

/** Control's end of one site server. */
export class UplinkEnd implements ConnectionOwner, Pulsed {
  readonly connection: Connection;
  readonly way = String(++uplinks);
  readonly #ports: UplinkPorts;
  /** Who the certificate says that it is; null in process. */
  readonly #peer: Peer | null;
  readonly #settle: () => void;
  readonly #sessions = new Map<number, Session>();
  #hello: { readonly site: string; readonly server: string } | null = null;
  #silentPeriods = 0;
  #told: string | null = null;
  #asked = 0;
  frameBytesMax = HELLO_BYTES_MAX;

  constructor(options: { stream: Duplex; peer: Peer | null; ports: UplinkPorts; settle: () => void }) {
    this.#ports = options.ports;
    this.#peer = options.peer;
    this.#settle = options.settle;
    this.connection = new Connection(options.stream, this);
  }

  get queueBytesMax(): number {
    return this.#ports.queueBytesMax;
  }

  isOf({ site, name }: Peer): boolean {
    return this.#peer?.site === site && this.#peer.name === name;
  }

  get view(): UplinkView | null {
    if (this.#hello === null) return null;
    const address = this.#peer === null ? "in process" : ((this.connection.stream as TLSSocket).remoteAddress ?? "");
    return { ...this.#hello, agents: this.#sessions.size, queued_bytes: this.connection.queuedBytes, address };
  }

  /** All of it, each time: it is short, and nothing can be missed. */
  tellRevoked(): void {
    if (this.#hello === null || this.#isBarred()) return;
    const { serials, hosts } = this.#ports.handlers.revoked();
    const told = `${serials.join()} ${hosts.join()}`;
    if (told === this.#told) return;
    this.#told = told;
    const frames = Math.max(1, Math.ceil(Math.max(serials.length, hosts.length) / REVOKED_TOLD_MAX));
    for (let index = 0; index < frames; index += 1) {
      const from = index * REVOKED_TOLD_MAX;
      const part = {
        is_last: index === frames - 1,
        serials: serials.slice(from, from + REVOKED_TOLD_MAX),
        hosts: hosts.slice(from, from + REVOKED_TOLD_MAX),
      };
      this.connection.send(FRAME.revoked, jsonBody(part));
    }
  }

  /** True: its certificate is withdrawn, and it has been closed. */
  #isBarred(): boolean {
    if (this.#peer === null) return false;
    const { site, name, serial } = this.#peer;
    const reason = this.#ports.handlers.mayServe(site, name, serial);
    if (reason !== null) this.connection.destroy(reason);
    return reason !== null;
  }

  onFrame(type: number, body: Buffer): void {
    if (this.#hello === null) {
      this.#onHello(type, body);
      return;
    }
    switch (type) {
      case FRAME.sealed:
      case FRAME.handshake:
        this.#onSession(type, body);
        return;
      case FRAME.ping:
        this.connection.send(FRAME.pong);
        return;
      case FRAME.agentUp:
        this.#onAgentUp(body);
        return;
      case FRAME.agentDown:
        if (body.length >= 4) this.#end(body.readUInt32BE(0), "the agent is gone");
        return;
      case FRAME.fetch:
        void this.#onFetch(body);
        return;
      case FRAME.enrol:
        void this.#onEnrol(body);
        return;
      default:
        this.connection.destroy(`a site server sends no frame ${type}`);
    }
  }

  onDrain(): void {
    if (this.#hello !== null) this.#ports.handlers.onDrain?.(this.way);
  }

  onClose(reason: string): void {
    this.#settle();
    for (const session of [...this.#sessions.keys()]) this.#end(session, reason);
    this.#ports.gone(this, reason);
  }

  onPulse(): void {
    this.#silentPeriods = this.connection.isHeard ? 0 : this.#silentPeriods + 1;
    this.connection.isHeard = false;
    if (this.#silentPeriods >= this.#ports.silentPeriodsMax) this.connection.destroy("the site server is silent");
  }

  /** Control ends it. */
  closeSession(session: number, reason: string): void {
    if (!this.#sessions.has(session)) return;
    this.connection.send(FRAME.close, u32(session), Buffer.from(reason.slice(0, 500)));
    this.#end(session, reason);
  }

  #onHello(type: number, body: Buffer): void {
    const hello = type === FRAME.hello ? parseJsonBody(SiteHello, body) : { flaw: `a frame ${type} before HELLO` };
    if ("flaw" in hello) {
      this.connection.destroy(hello.flaw);
      return;
    }
    const { site, server } = hello.value;
    if (this.#peer !== null && (this.#peer.site !== site || this.#peer.name !== server)) {
      this.connection.destroy(`the certificate is of ${this.#peer.site}/${this.#peer.name}, not of ${site}/${server}`);
      return;
    }
    this.#hello = { site, server };
    this.frameBytesMax = FRAME_BYTES_MAX;
    this.#settle();
    // Whom to keep out comes before anything else.
    this.tellRevoked();
    this.connection.send(FRAME.welcome, jsonBody({ protocol: PROTOCOL, name: this.#ports.name }));
  }

  #onSession(type: number, body: Buffer): void {
    const session = body.length >= 4 ? this.#sessions.get(body.readUInt32BE(0)) : undefined;
    // Its agent was ended here a moment ago: what was on its way is nothing any more.
    if (session === undefined) return;
    this.#ports.handlers.onFrame(session, type === FRAME.sealed ? "sealed" : "handshake", body.subarray(4));
  }

  #onAgentUp(body: Buffer): void {
    const number = body.length >= 4 ? body.readUInt32BE(0) : 0;
    const up = parseJsonBody(AgentUp, body.subarray(4));
    if ("flaw" in up || this.#hello === null || number === 0 || this.#sessions.has(number)) {
      this.connection.destroy(`AGENT_UP: ${"flaw" in up ? up.flaw : `session ${number} is there already`}`);
      return;
    }
    if (this.#sessions.size >= SESSIONS_MAX) {
      this.connection.send(FRAME.close, u32(number), Buffer.from("too many agents at this server"));
      return;
    }
    const session = new Session(this, number, { ...this.#hello, ...up.value });
    this.#sessions.set(number, session);
    this.#ports.handlers.onUp(session);
  }

  #end(number: number, reason: string): void {
    const session = this.#sessions.get(number);
    if (session === undefined) return;
    this.#sessions.delete(number);
    session.isOpen = false;
    this.#ports.handlers.onDown(session, reason);
  }

  async #onFetch(body: Buffer): Promise<void> {
    const parsed = parseJsonBody(FetchRequest, body);
    if ("flaw" in parsed) {
      this.connection.destroy(`FETCH: ${parsed.flaw}`);
      return;
    }
    const { request, sha256, offset, length } = parsed.value;
    const answer = (status: number, bytes: Uint8Array) =>
      this.connection.send(FRAME.chunk, u32(request), Buffer.from([status]), bytes);
    if (this.#asked >= ASKED_MAX) {
      answer(STATUS.busy, Buffer.from("control is busy"));
      return;
    }
    this.#asked += 1;
    try {
      answer(STATUS.taken, (await this.#ports.handlers.onFetch(sha256, offset, length)).subarray(0, length));
    } catch (error) {
      answer(STATUS.refused, Buffer.from(String(error).slice(0, 300)));
    } finally {
      this.#asked -= 1;
    }
  }

  async #onEnrol(body: Buffer): Promise<void> {
    if (body.length < 4 || this.#hello === null) return;
    const request = u32(body.readUInt32BE(0));
    this.#asked += 1;
    try {
      const answer =
        this.#asked > ASKED_MAX
          ? { refused: "busy", message: "control is busy" }
          : await this.#ports.handlers.onEnrol(jsonOrNull(body.subarray(4)), this.#hello);
      this.connection.send(FRAME.enrolled, request, jsonBody(answer));
    } catch (error) {
      this.#ports.log.error({ error: String(error) }, "an enrolment failed");
      this.connection.send(FRAME.enrolled, request, jsonBody({ refused: "unavailable", message: "control failed" }));
    } finally {
      this.#asked -= 1;
    }
  }
}

let sessions = 0;

class Session implements RawSession {
  readonly id: string;
  readonly way: string;
  readonly host: string;
  readonly server: string;
  readonly site: string;
  readonly address: string;
  readonly #uplink: UplinkEnd;
  readonly #number: number;
  readonly #prefix: Buffer;
  isOpen = true;

  constructor(uplink: UplinkEnd, number: number, of: Pick<RawSession, "host" | "server" | "site" | "address">) {
    this.#uplink = uplink;
    this.#number = number;
    this.#prefix = u32(number);
    sessions += 1;
    this.id = `${of.server}/${sessions}`;
    this.way = uplink.way;
    this.host = of.host;
    this.server = of.server;
    this.site = of.site;
    this.address = of.address;
  }

  get isBehind(): boolean {
    return this.#uplink.connection.isBehind;
  }

  send(kind: "sealed" | "handshake", bytes: Uint8Array): boolean {
    if (!this.isOpen) return false;
    return this.#uplink.connection.send(kind === "sealed" ? FRAME.sealed : FRAME.handshake, this.#prefix, bytes);
  }

  close(reason: string): void {
    this.#uplink.closeSession(this.#number, reason);
  }
}
