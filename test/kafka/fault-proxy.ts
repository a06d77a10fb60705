import { createConnection, createServer, type Server, type Socket } from "node:net";

/** What becomes of a produce request: its answer never comes although the broker has done it, or the broker never sees it. */
export type Fate = "pass" | "lose answer" | "lose request";

const LENGTH_BYTES = 4;
const API_KEY_AT = 4;
const CORRELATION_AT = 8;
const ANSWER_CORRELATION_AT = 4;
const PRODUCE = 0;

/** Whole frames of Kafka's protocol, each with its length in front (https://kafka.apache.org/protocol). */
const framesOf = (onFrame: (frame: Buffer) => void): ((chunk: Buffer) => void) => {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= LENGTH_BYTES && rest.length >= LENGTH_BYTES + rest.readUInt32BE(0)) {
      const end = LENGTH_BYTES + rest.readUInt32BE(0);
      onFrame(rest.subarray(0, end));
      rest = rest.subarray(end);
    }
  };
};

/** Stands between clients and a broker, and breaks the connections of the produce requests that it is told to. */
export class FaultProxy {
  readonly port: number;
  /** Asked for each produce request that names `topic`. */
  fate: () => Fate = () => "pass";
  /** How many connections it has broken. */
  broken = 0;
  readonly #topic: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #target = { host: "127.0.0.1", port: 0 };

  private constructor(server: Server, port: number, topic: string) {
    this.#server = server;
    this.port = port;
    this.#topic = topic;
    server.on("connection", (client) => this.#join(client));
  }

  static listen(topic: string): Promise<FaultProxy> {
    return new Promise((resolve) => {
      const server = createServer();
      server.listen(0, "127.0.0.1", () => {
        const address = server.address();
        resolve(new FaultProxy(server, typeof address === "object" && address !== null ? address.port : 0, topic));
      });
    });
  }

  /** `host:port` of the broker. */
  leadTo(address: string): void {
    const [host = "", port = ""] = address.split(":");
    this.#target = { host, port: Number(port) };
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(client: Socket): void {
    const broker = createConnection(this.#target);
    const unanswered = new Set<number>();
    const end = (): void => {
      for (const socket of [client, broker]) {
        socket.destroy();
        this.#sockets.delete(socket);
      }
    };
    const breakOff = (): void => {
      this.broken += 1;
      end();
    };
    for (const socket of [client, broker]) {
      this.#sockets.add(socket);
      socket.on("error", end).on("close", end);
    }
    client.on(
      "data",
      framesOf((frame) => {
        const fate = this.#isOurs(frame) ? this.fate() : "pass";
        if (fate === "lose request") return breakOff();
        if (fate === "lose answer") unanswered.add(frame.readInt32BE(CORRELATION_AT));
        broker.write(frame);
      }),
    );
    broker.on(
      "data",
      framesOf((frame) => {
        if (unanswered.has(frame.readInt32BE(ANSWER_CORRELATION_AT))) breakOff();
        else client.write(frame);
      }),
    );
  }

  #isOurs(frame: Buffer): boolean {
    if (frame.readInt16BE(API_KEY_AT) !== PRODUCE) return false;
    const name = Buffer.alloc(2 + Buffer.byteLength(this.#topic));
    name.writeInt16BE(name.length - 2);
    name.write(this.#topic, 2);
    return frame.includes(name);
  }
}
