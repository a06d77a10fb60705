import { createServer as createHttpsServer } from "node:https";
import type { Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { Connection, type ConnectionOwner } from "@homeostat/agent/simulate";
import { type WebSocket, WebSocketServer, WebSocket as WsClient } from "ws";
import type { Certificates } from "./certificates.ts";

/** One end of a connection that carries whole messages. */
export interface End {
  send(message: Buffer): void;
  close(): void;
}

export type Hear = (end: End, message: Buffer) => void;

/** A way to carry messages over mutual TLS 1.3. */
export interface Wire {
  readonly name: string;
  /** Resolves with the port. */
  listen(certificates: Certificates, onUp: (end: End) => void, hear: Hear): Promise<number>;
  connect(certificates: Certificates, at: { port: number; localAddress: string }, hear: Hear): Promise<End>;
}

const tlsOf = (certificates: Certificates, role: "server" | "client") => ({
  key: certificates[role].key,
  cert: certificates[role].certificate,
  ca: certificates.authority,
  minVersion: "TLSv1.3" as const,
});

/** As the channel has them: u32 length, u8 type, body. */
const MESSAGE_TYPE = 3;
const FRAME_BYTES_MAX = 65_536;
const QUEUE_BYTES_MAX = 1_048_576;

class FramedEnd implements End, ConnectionOwner {
  readonly frameBytesMax = FRAME_BYTES_MAX;
  readonly queueBytesMax = QUEUE_BYTES_MAX;
  readonly #connection: Connection;
  readonly #hear: Hear;

  constructor(socket: Socket, hear: Hear) {
    this.#hear = hear;
    socket.setNoDelay(true);
    this.#connection = new Connection(socket, this);
  }

  send(message: Buffer): void {
    this.#connection.send(MESSAGE_TYPE, message);
  }

  close(): void {
    this.#connection.destroy("the end of the benchmark");
  }

  onFrame(_type: number, body: Buffer): void {
    this.#hear(this, body);
  }

  /** A connection that is lost shows in the count of replies. */
  onClose(): void {
    this.#connection.stream.destroy();
  }
}

const BACKLOG = 4_096;

export const framed: Wire = {
  name: "framed",
  listen: (certificates, onUp, hear) =>
    new Promise((resolve) => {
      const server = createTlsServer({ ...tlsOf(certificates, "server"), requestCert: true });
      server.on("secureConnection", (socket) => onUp(new FramedEnd(socket, hear)));
      server.listen({ port: 0, host: "127.0.0.1", backlog: BACKLOG }, () => resolve(portOf(server.address())));
    }),
  connect: (certificates, { port, localAddress }, hear) =>
    new Promise((resolve, reject) => {
      const options = { ...tlsOf(certificates, "client"), host: "127.0.0.1", port, localAddress };
      const socket = connectTls({ ...options, servername: "localhost" });
      socket.once("error", reject);
      socket.once("secureConnect", () => resolve(new FramedEnd(socket, hear)));
    }),
};

const wsEnd = (socket: WebSocket, hear: Hear): End => {
  const end: End = {
    send: (message) => socket.send(message, { binary: true }),
    close: () => socket.terminate(),
  };
  socket.on("error", () => socket.terminate());
  socket.on("message", (message: Buffer) => hear(end, message));
  return end;
};

export const ws: Wire = {
  name: "ws",
  listen: (certificates, onUp, hear) =>
    new Promise((resolve) => {
      const server = createHttpsServer({ ...tlsOf(certificates, "server"), requestCert: true });
      const sockets = new WebSocketServer({ server, perMessageDeflate: false });
      sockets.on("connection", (socket) => onUp(wsEnd(socket, hear)));
      server.listen({ port: 0, host: "127.0.0.1", backlog: BACKLOG }, () => resolve(portOf(server.address())));
    }),
  connect: (certificates, { port, localAddress }, hear) =>
    new Promise((resolve, reject) => {
      const options = { ...tlsOf(certificates, "client"), localAddress, perMessageDeflate: false };
      const socket = new WsClient(`wss://localhost:${port}`, { ...options, family: 4 });
      socket.once("error", reject);
      socket.once("open", () => resolve(wsEnd(socket, hear)));
    }),
};

const portOf = (address: ReturnType<ReturnType<typeof createTlsServer>["address"]>): number =>
  typeof address === "object" && address !== null ? address.port : 0;

export const WIRES: Readonly<Record<string, Wire>> = { framed, ws };
