import type { Certificates } from "./certificates.ts";
import { takeOrders } from "./child.ts";
import { type End, WIRES, type Wire } from "./wire.ts";

/*
 * Either end of the comparison of wires: the process that listens sends requests to those that are connected to it, as a site server
 * does, and counts the replies; the others answer each request with a message of the same size.
 */

/** How many TLS handshakes one process of clients has under way. */
const HANDSHAKES_AT_ONCE = 64;
/** Connections from one source address: far below the 28,000 ports that Linux gives each. */
const PER_ADDRESS = 4_000;

interface Listen {
  readonly wire: string;
  readonly certificates: Certificates;
}

interface Connect extends Listen {
  readonly port: number;
  readonly connections: number;
  /** Sets the source addresses of two processes apart. */
  readonly first: number;
}

interface Load {
  readonly seconds: number;
  readonly inFlight: number;
  readonly bytes: number;
}

const wireOf = (name: string): Wire => {
  const wire = WIRES[name];
  if (wire === undefined) throw new Error(`there is no wire ${name}`);
  return wire;
};

const ends: End[] = [];
let onReply: () => void = () => undefined;

const listen = ({ wire, certificates }: Listen): Promise<number> =>
  wireOf(wire).listen(
    certificates,
    (end) => ends.push(end),
    () => onReply(),
  );

const connect = async ({ wire, certificates, port, connections, first }: Connect): Promise<void> => {
  const echo = (end: End, message: Buffer): void => end.send(message);
  let next = first;
  const one = async (): Promise<void> => {
    for (let at = next++; at < first + connections; at = next++) {
      const localAddress = `127.0.0.${2 + Math.floor(at / PER_ADDRESS)}`;
      ends.push(await wireOf(wire).connect(certificates, { port, localAddress }, echo));
    }
  };
  await Promise.all(Array.from({ length: HANDSHAKES_AT_ONCE }, one));
};

/** Replies in `seconds`, with `inFlight` requests on their way at any time, to one connection after the other. */
const load = ({ seconds, inFlight, bytes }: Load): Promise<number> =>
  new Promise((resolve) => {
    const request = Buffer.alloc(bytes, "x");
    let [replies, next, isOver] = [0, 0, false];
    const send = (): void => ends[next++ % ends.length]?.send(request);
    onReply = () => {
      replies++;
      if (!isOver) send();
    };
    for (let each = 0; each < inFlight; each++) send();
    setTimeout(() => {
      isOver = true;
      resolve(replies);
    }, seconds * 1_000);
  });

takeOrders({
  listen,
  connect,
  load,
  connected: () => ends.length,
  // So that what is measured is held, and not merely not yet collected.
  collect: () => globalThis.gc?.(),
  stop: () => {
    for (const end of ends) end.close();
    setImmediate(() => process.exit(0));
  },
});
