import type { TLSSocket } from "node:tls";
import { Connection, type ConnectionOwner } from "../channel/connection.ts";
import {
  AgentHello,
  FetchRequest,
  FRAME,
  FRAME_BYTES_MAX,
  HELLO_BYTES_MAX,
  parseJsonBody,
  STATUS,
  u32,
} from "../channel/frame.ts";
import type { Peer } from "../channel/tls-identity.ts";
import type { Pulsed } from "../channel/wheel.ts";
import type { IntakeAnswer } from "./batch-intake.ts";

export const AGENT_ENDS = [
  "closed",
  "silent",
  "slow",
  "replaced",
  "revoked",
  "by_control",
  "drained",
  "protocol",
  "stopped",
] as const;
export type AgentEndReason = (typeof AGENT_ENDS)[number];

/** What the agents' connections need of the server. */
export interface AgentPorts {
  readonly queueBytesMax: number;
  /** Periods of the wheel without a byte, after which a connection is dead: agents ping far more often. */
  readonly silentPeriodsMax: number;
  /** It has said who it is. Says why it may not stay. */
  admit(agent: AgentEnd): { reason: AgentEndReason; text: string } | null;
  /** False: control is behind, and this agent is not to be read until `resume`. */
  toControl(agent: AgentEnd, type: number, body: Buffer): boolean;
  batches(host: string, body: Buffer): Promise<IntakeAnswer>;
  fetch(agent: AgentEnd, sha256: string, offset: number, length: number): Promise<Buffer>;
  /** The answer's JSON. */
  enrol(request: Buffer): Promise<Buffer>;
  gone(agent: AgentEnd, reason: AgentEndReason, text: string): void;
}

/** Ranges of artefacts that one agent may wait for. */
const FETCHES_MAX = 4;
/** u32 request, which BATCHES begins with. */
const REQUEST_BYTES = 4;

/** The server's end of one agent's connection. Idle agents are many: it holds as little as can be. */
export class AgentEnd implements ConnectionOwner, Pulsed {
  readonly connection: Connection;
  readonly peer: Pick<Peer, "name" | "serial"> | null;
  readonly #ports: AgentPorts;
  #settle: (() => void) | null;
  #silentPeriods = 0;
  #fetching = 0;
  #hasEnrolled = false;
  #reason: AgentEndReason = "closed";
  /** 0: not admitted. Names it on the uplink. */
  session = 0;
  /** Of its latest handshake: what it seals belongs to that way to control, and to no later one. */
  epoch = -1;
  frameBytesMax = HELLO_BYTES_MAX;

  /** peer: null when it has shown no certificate, and may only enrol. `settle` ends its being unknown. */
  constructor(socket: TLSSocket, peer: Peer | null, ports: AgentPorts, settle: () => void) {
    this.peer = peer === null ? null : { name: peer.name, serial: peer.serial };
    this.#ports = ports;
    this.#settle = settle;
    this.connection = new Connection(socket, this);
  }

  get queueBytesMax(): number {
    return this.#ports.queueBytesMax;
  }

  get host(): string {
    return this.peer?.name ?? "";
  }

  onFrame(type: number, body: Buffer): void {
    if (this.session !== 0) this.#onKnown(type, body);
    else if (this.peer === null) this.#onStranger(type, body);
    else this.#onHello(type, body);
  }

  onPulse(): void {
    this.#silentPeriods = this.connection.isHeard ? 0 : this.#silentPeriods + 1;
    this.connection.isHeard = false;
    if (this.#silentPeriods >= this.#ports.silentPeriodsMax) this.destroy("silent", "nothing was heard");
  }

  onClose(text: string): void {
    this.#settle?.();
    this.#settle = null;
    const isSlow = this.#reason === "closed" && text.startsWith("slow consumer");
    this.#ports.gone(this, isSlow ? "slow" : this.#reason, text);
  }

  close(reason: AgentEndReason, text: string): void {
    this.#reason = reason;
    this.connection.close(text);
  }

  destroy(reason: AgentEndReason, text: string): void {
    this.#reason = reason;
    this.connection.destroy(text);
  }

  resume(): void {
    this.connection.stream.resume();
  }

  #onStranger(type: number, body: Buffer): void {
    if (type !== FRAME.enrol || this.#hasEnrolled) {
      this.destroy("protocol", "without a certificate a peer may enrol once, and nothing else");
      return;
    }
    this.#hasEnrolled = true;
    // It stays among those that nobody knows, with their time: control's answer has to come within it.
    void this.#ports.enrol(body).then((answer) => {
      this.connection.send(FRAME.enrolled, answer);
      this.close("closed", "enrolled");
    });
  }

  #onHello(type: number, body: Buffer): void {
    const hello = type === FRAME.hello ? parseJsonBody(AgentHello, body) : { flaw: `a frame ${type} before HELLO` };
    if ("flaw" in hello) {
      this.destroy("protocol", hello.flaw);
      return;
    }
    if (hello.value.host !== this.host) {
      this.destroy("protocol", `the certificate is of ${this.host}, not of ${hello.value.host}`);
      return;
    }
    const refusal = this.#ports.admit(this);
    if (refusal !== null) {
      this.close(refusal.reason, refusal.text);
      return;
    }
    this.frameBytesMax = FRAME_BYTES_MAX;
    this.#settle?.();
    this.#settle = null;
  }

  #onKnown(type: number, body: Buffer): void {
    switch (type) {
      case FRAME.sealed:
      case FRAME.handshake:
        if (!this.#ports.toControl(this, type, body)) this.connection.stream.pause();
        return;
      case FRAME.ping:
        this.connection.send(FRAME.pong);
        return;
      case FRAME.batches:
        void this.#onBatches(body);
        return;
      case FRAME.fetch:
        void this.#onFetch(body);
        return;
      default:
        this.destroy("protocol", `an agent sends no frame ${type}`);
    }
  }

  async #onBatches(body: Buffer): Promise<void> {
    if (body.length < REQUEST_BYTES) {
      this.destroy("protocol", "BATCHES without a request");
      return;
    }
    const request = body.subarray(0, REQUEST_BYTES);
    const { status, text } = await this.#ports.batches(this.host, body.subarray(REQUEST_BYTES));
    this.connection.send(FRAME.batchesAck, request, Buffer.from([STATUS[status]]), Buffer.from(text));
  }

  async #onFetch(body: Buffer): Promise<void> {
    const parsed = parseJsonBody(FetchRequest, body);
    if ("flaw" in parsed) {
      this.destroy("protocol", `FETCH: ${parsed.flaw}`);
      return;
    }
    const { request, sha256, offset, length } = parsed.value;
    const answer = (status: number, bytes: Uint8Array) =>
      this.connection.send(FRAME.chunk, u32(request), Buffer.from([status]), bytes);
    if (this.#fetching >= FETCHES_MAX) {
      answer(STATUS.busy, Buffer.from("too many at a time"));
      return;
    }
    this.#fetching += 1;
    try {
      answer(STATUS.taken, await this.#ports.fetch(this, sha256, offset, length));
    } catch (error) {
      const isRefused = error instanceof FetchRefused;
      answer(isRefused ? STATUS.refused : STATUS.busy, Buffer.from(String(error).slice(0, 300)));
    } finally {
      this.#fetching -= 1;
    }
  }
}

/** Control has no such artefact: asking again is no use. */
export class FetchRefused extends Error {
  override readonly name = "FetchRefused";
}
