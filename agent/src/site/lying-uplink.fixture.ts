import { type Duplex, duplexPair } from "node:stream";
import { Connection, type ConnectionOwner } from "../channel/connection.ts";
import { FRAME, FRAME_BYTES_MAX } from "../channel/frame.ts";

/** What a liar makes of one sealed frame (session and all): the frames that it sends in its place, in order. */
export type Lie = (body: Buffer) => readonly Buffer[];

class Half implements ConnectionOwner {
  readonly frameBytesMax = FRAME_BYTES_MAX;
  readonly queueBytesMax = 64 * FRAME_BYTES_MAX;
  readonly connection: Connection;
  readonly #lie: Lie;
  other: Half | null = null;

  constructor(stream: Duplex, lie: Lie) {
    this.#lie = lie;
    this.connection = new Connection(stream, this);
  }

  onFrame(type: number, body: Buffer): void {
    const bodies = type === FRAME.sealed ? this.#lie(Buffer.from(body)) : [body];
    for (const each of bodies) this.other?.connection.send(type, each);
  }

  onClose(reason: string): void {
    this.other?.connection.close(reason);
  }
}

/** Between a site server and control: hands on every frame, and lies about the sealed ones. */
export const lyingUplink = (control: Duplex, lies: { readonly up: Lie; readonly down: Lie }): Duplex => {
  const [ofSite, ofLiar] = duplexPair();
  const up = new Half(ofLiar, lies.up);
  const down = new Half(control, lies.down);
  up.other = down;
  down.other = up;
  return ofSite;
};
