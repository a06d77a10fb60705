import type { Socket } from "node:net";
import type { RunningGateway } from "./gateway.ts";
import { plainAddress } from "./peer-address.ts";

/** What is not of any receiver's route. */
export const NO_RECEIVER = "http";

interface Connection {
  readonly sender: string;
  readonly receiver: string;
  readonly isRefused: boolean;
}

/**
 * Counts what never becomes a request, or ends in the middle of one: heads and bodies that trickle, that are no HTTP or have too many
 * headers, and connections beyond the cap. They are the sender's whose token the connection has shown last.
 */
export class Connections {
  readonly #countRefusal: RunningGateway["countRefusal"];
  readonly #known = new WeakMap<Socket, Connection>();

  constructor(countRefusal: RunningGateway["countRefusal"]) {
    this.#countRefusal = countRefusal;
  }

  began(socket: Socket, { sender, receiver }: { sender: string; receiver: string }): void {
    this.#known.set(socket, { sender, receiver, isRefused: false });
  }

  /** Counted already: what becomes of the request that was under way is not a second refusal. */
  wasRefused(socket: Socket): boolean {
    return this.#known.get(socket)?.isRefused ?? false;
  }

  /** For Node's `clientError`: says why, and closes the connection. */
  refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    if (error.code === "ECONNRESET" || socket.destroyed) return;
    const { sender, receiver } = this.#known.get(socket) ?? { sender: "", receiver: NO_RECEIVER };
    const [status, message] = REFUSALS[error.code ?? ""] ?? [400, "the bytes are not a request"];
    this.#known.set(socket, { sender, receiver, isRefused: true });
    const peer = plainAddress(socket.remoteAddress);
    this.#countRefusal({ sender, receiver, peer }, { reason: `http_${status}`, message });
    if (socket.writable)
      socket.write(`HTTP/1.1 ${status} ${message}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    socket.destroy();
  }

  /** For `drop`: there were as many as may be. */
  dropped(address: string | undefined): void {
    const refused = { sender: "", receiver: NO_RECEIVER, peer: plainAddress(address) };
    this.#countRefusal(refused, { reason: "connection_refused", message: "too many connections are open" });
  }
}

/** By Node's code: status and reason. */
const REFUSALS: Readonly<Record<string, readonly [number, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, "the request took too long to arrive"],
  HPE_HEADER_OVERFLOW: [431, "the headers are too large"],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, "the chunk extensions are too large"],
};
