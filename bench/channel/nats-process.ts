import { connect as connectNats, type NatsConnection } from "@nats-io/transport-node";
import { takeOrders } from "./child.ts";

/*
 * Either a process of responders, each with a connection and a subject of its own, or the requester, which is to nats-server what our
 * control plane is to the site server.
 */

export interface NatsAt {
  readonly port: number;
  readonly authorityPath: string;
  readonly keyPath: string;
  readonly certificatePath: string;
}

interface Respond extends NatsAt {
  readonly clients: number;
  readonly first: number;
}

interface Request {
  readonly clients: number;
  readonly seconds: number;
  readonly inFlight: number;
  readonly bytes: number;
}

/** How many TLS handshakes one process has under way. */
const HANDSHAKES_AT_ONCE = 64;
const REPLY_MS_MAX = 10_000;
const CONNECT_MS_MAX = 60_000;

const connections: NatsConnection[] = [];

const open = async ({ port, authorityPath, keyPath, certificatePath }: NatsAt): Promise<NatsConnection> => {
  const tls = { caFile: authorityPath, keyFile: keyPath, certFile: certificatePath };
  const connection = await connectNats({ servers: `127.0.0.1:${port}`, tls, timeout: CONNECT_MS_MAX });
  connections.push(connection);
  return connection;
};

const subject = (client: number): string => `agent.${client}`;

const respond = async (options: Respond): Promise<void> => {
  let next = options.first;
  const one = async (): Promise<void> => {
    for (let client = next++; client < options.first + options.clients; client = next++) {
      const connection = await open(options);
      connection.subscribe(subject(client), {
        callback: (_error, message) => {
          message.respond(message.data);
        },
      });
      await connection.flush();
    }
  };
  await Promise.all(Array.from({ length: HANDSHAKES_AT_ONCE }, one));
};

/** Requests that were answered in `seconds`, `inFlight` at any time, one client after the other; and those that were not. */
const request = async ({
  clients,
  seconds,
  inFlight,
  bytes,
}: Request): Promise<{ replies: number; errors: number }> => {
  const [connection] = connections;
  if (connection === undefined) throw new Error("the requester has no connection");
  const payload = new Uint8Array(bytes).fill(120);
  const end = performance.now() + seconds * 1_000;
  let [replies, errors, next] = [0, 0, 0];
  const one = async (): Promise<void> => {
    while (performance.now() < end) {
      try {
        await connection.request(subject(next++ % clients), payload, { timeout: REPLY_MS_MAX });
        replies++;
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        errors++;
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  return { replies, errors };
};

takeOrders({
  open: async (at: NatsAt) => void (await open(at)),
  respond,
  request,
  stop: () => {
    // Ten thousand closed in order take their time, and nobody waits for them.
    setImmediate(() => process.exit(0));
  },
});
