import type { Duplex } from "node:stream";
import type { Log } from "@homeostat/schemas";
import { backOffMs } from "../channel/backoff.ts";
import { Connection, type ConnectionOwner } from "../channel/connection.ts";
import {
  FRAME,
  FRAME_BYTES_MAX,
  jsonBody,
  PROTOCOL,
  parseJsonBody,
  RevokedList,
  STATUS,
  u32,
} from "../channel/frame.ts";
import type { Pulsed, Wheel } from "../channel/wheel.ts";
import { FetchRefused } from "./agent-end.ts";

export interface UplinkEvents {
  /** The way to control is there: a new one each time. */
  onUp(): void;
  onDown(reason: string): void;
  onSession(type: number, session: number, body: Buffer): void;
  /** What is wrong with it. */
  onRevoked(part: RevokedList): string | null;
  onDrain(): void;
}

export interface UplinkOptions {
  readonly site: string;
  readonly server: string;
  readonly dial: () => Duplex | Promise<Duplex>;
  readonly events: UplinkEvents;
  readonly wheel: Wheel;
  readonly random: () => number;
  readonly log: Log;
}

const BACK_OFF_MS_MIN = 500;
const BACK_OFF_MS_MAX = 15_000;
/** Ten thousand agents' messages of a few seconds; beyond it control does not read, and the uplink is made anew. */
const QUEUE_BYTES_MAX = 64 * 1_048_576;
/** Questions to control (artefacts, enrolments) that wait for an answer. */
const ASKED_MAX = 512;
const ANSWER_MS_MAX = 20_000;
const PING_AFTER_MS = 3_000;
const DEAD_AFTER_MS = 10_000;

interface Asked {
  readonly type: "fetch" | "enrol";
  periodsLeft: number;
  resolve(answer: Buffer): void;
  reject(error: Error): void;
}

/** The site server's way to control: made again, with back-off, for as long as the server runs. */
export class Uplink implements ConnectionOwner, Pulsed {
  readonly frameBytesMax = FRAME_BYTES_MAX;
  readonly queueBytesMax = QUEUE_BYTES_MAX;
  readonly #options: UplinkOptions;
  readonly #asked = new Map<number, Asked>();
  #connection: Connection | null = null;
  #timer: NodeJS.Timeout | null = null;
  #request = 0;
  #failures = 0;
  #silentPeriods = 0;
  #isStopped = false;
  #isWelcome = false;

  constructor(options: UplinkOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#isWelcome;
  }

  get isBehind(): boolean {
    return this.#connection?.isBehind === true;
  }

  start(): void {
    this.#options.wheel.add(this);
    void this.#dial();
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#options.wheel.delete(this);
    this.#connection?.close("the site server stops");
  }

  /** False: behind, or down. */
  send(type: number, ...parts: readonly Uint8Array[]): boolean {
    return this.#isWelcome && this.#connection?.send(type, ...parts) === true;
  }

  /** Fewer bytes than asked for at the artefact's end. @throws FetchRefused when there is none */
  fetch(sha256: string, offset: number, length: number): Promise<Buffer> {
    return this.#ask("fetch", (request) => this.send(FRAME.fetch, jsonBody({ request, sha256, offset, length })));
  }

  /** JSON in, JSON out. */
  enrol(request: Uint8Array): Promise<Buffer> {
    return this.#ask("enrol", (number) => this.send(FRAME.enrol, u32(number), request));
  }

  #ask(type: Asked["type"], send: (request: number) => void): Promise<Buffer> {
    if (!this.#isWelcome) return Promise.reject(new Error("control is out of reach"));
    if (this.#asked.size >= ASKED_MAX) return Promise.reject(new Error("too many questions wait for control"));
    this.#request = (this.#request + 1) >>> 0;
    const request = this.#request;
    return new Promise((resolve, reject) => {
      const periodsLeft = this.#options.wheel.periods(ANSWER_MS_MAX);
      this.#asked.set(request, { type, periodsLeft, resolve, reject });
      send(request);
    });
  }

  async #dial(): Promise<void> {
    this.#timer = null;
    const { dial, site, server } = this.#options;
    try {
      const stream = await dial();
      if (this.#isStopped) {
        stream.destroy();
        return;
      }
      this.#silentPeriods = 0;
      this.#connection = new Connection(stream, this);
      this.#connection.send(FRAME.hello, jsonBody({ protocol: PROTOCOL, site, server }));
    } catch (error) {
      this.#again(String(error));
    }
  }

  #again(reason: string): void {
    if (this.#isStopped) return;
    if (this.#failures === 0) this.#options.log.warn({ reason }, "control is out of reach; trying again");
    const bounds = { minMs: BACK_OFF_MS_MIN, maxMs: BACK_OFF_MS_MAX };
    const waitMs = backOffMs({ failures: this.#failures++, ...bounds, random: this.#options.random });
    this.#timer = setTimeout(() => void this.#dial(), waitMs);
  }

  // ——— the connection's owner

  onFrame(type: number, body: Buffer): void {
    const { events } = this.#options;
    switch (type) {
      case FRAME.welcome:
        this.#isWelcome = true;
        this.#failures = 0;
        events.onUp();
        return;
      case FRAME.sealed:
      case FRAME.handshake:
      case FRAME.close:
        if (body.length >= 4) events.onSession(type, body.readUInt32BE(0), body.subarray(4));
        return;
      case FRAME.revoked:
        this.#onRevoked(body);
        return;
      case FRAME.chunk:
      case FRAME.enrolled:
        this.#onAnswer(type, body);
        return;
      case FRAME.pong:
        return;
      default:
        this.#connection?.destroy(`control sends a frame ${type}`);
    }
  }

  #onRevoked(body: Buffer): void {
    const list = parseJsonBody(RevokedList, body);
    // Whom to keep out must not be guessed at.
    const flaw = "flaw" in list ? list.flaw : this.#options.events.onRevoked(list.value);
    if (flaw !== null) this.#connection?.destroy(`REVOKED: ${flaw}`);
  }

  #onAnswer(type: number, body: Buffer): void {
    const request = body.length >= 4 ? body.readUInt32BE(0) : -1;
    const asked = this.#asked.get(request);
    if (asked === undefined) return;
    this.#asked.delete(request);
    if (type === FRAME.enrolled) {
      asked.resolve(Buffer.from(body.subarray(4)));
      return;
    }
    const rest = Buffer.from(body.subarray(5));
    if (body[4] === STATUS.taken) asked.resolve(rest);
    else asked.reject(body[4] === STATUS.refused ? new FetchRefused(rest.toString()) : new Error(rest.toString()));
  }

  onDrain(): void {
    this.#options.events.onDrain();
  }

  onClose(reason: string): void {
    const wasUp = this.#isWelcome;
    this.#isWelcome = false;
    this.#connection = null;
    for (const { reject } of this.#asked.values()) reject(new Error("the way to control broke"));
    this.#asked.clear();
    if (wasUp) this.#options.events.onDown(reason);
    this.#again(reason);
  }

  onPulse(): void {
    const { wheel } = this.#options;
    for (const [request, asked] of this.#asked) {
      if (asked.periodsLeft-- > 0) continue;
      this.#asked.delete(request);
      asked.reject(new Error("control does not answer"));
    }
    const connection = this.#connection;
    if (connection === null) return;
    this.#silentPeriods = connection.isHeard ? 0 : this.#silentPeriods + 1;
    connection.isHeard = false;
    if (this.#silentPeriods >= wheel.periods(DEAD_AFTER_MS)) connection.destroy("control is silent");
    else if (this.#silentPeriods === wheel.periods(PING_AFTER_MS)) connection.send(FRAME.ping);
  }
}
