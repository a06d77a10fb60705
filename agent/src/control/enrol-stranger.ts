import type { Duplex } from "node:stream";
import { Connection, type ConnectionOwner } from "../channel/connection.ts";
import { FRAME, HELLO_BYTES_MAX, jsonBody, jsonOrNull } from "../channel/frame.ts";

export interface StrangerPorts {
  /** The reply, whatever it is; never rejects for what the other side did wrong. */
  enrol(request: unknown): Promise<unknown>;
  gone(stranger: EnrolStranger): void;
}

/** Replies are a few KB. */
const QUEUE_BYTES_MAX = 65_536;

/** A peer without a certificate at control's own listener: a site server before its first enrolment, or after its certificate expired. It may ask once. */
export class EnrolStranger implements ConnectionOwner {
  readonly connection: Connection;
  readonly frameBytesMax = HELLO_BYTES_MAX;
  readonly queueBytesMax = QUEUE_BYTES_MAX;
  readonly #ports: StrangerPorts;
  readonly #settle: () => void;
  #hasAsked = false;

  constructor(stream: Duplex, ports: StrangerPorts, settle: () => void) {
    this.#ports = ports;
    this.#settle = settle;
    this.connection = new Connection(stream, this);
  }

  onFrame(type: number, body: Buffer): void {
    if (type !== FRAME.enrol || this.#hasAsked) {
      this.connection.destroy("without a certificate a peer may enrol once, and nothing else");
      return;
    }
    this.#hasAsked = true;
    // It stays among those that nobody knows, with their time: the answer has to come within it.
    void this.#ports.enrol(jsonOrNull(body)).then((answer) => {
      this.connection.send(FRAME.enrolled, jsonBody(answer));
      this.connection.close("enrolled");
    });
  }

  onClose(): void {
    this.#settle();
    this.#ports.gone(this);
  }
}
