import { createServer, type Server, type Socket } from "node:net";
import type { Log } from "@homeostat/schemas";
import { plainAddress } from "../../gateway/peer-address.ts";
import { networksOf, type SenderOf } from "./networks.ts";
import type { SyslogConfig } from "./syslog-config.ts";
import { SyslogConnection } from "./syslog-connection.ts";
import { SyslogDatagrams } from "./syslog-datagrams.ts";
import { type SyslogGateway, SyslogIntake } from "./syslog-intake.ts";
import { BsdTime } from "./syslog-time.ts";

/** How long a stop waits for a gateway without room. */
const STOP_MS = 10_000;

export interface SyslogReceiverOptions {
  readonly gateway: SyslogGateway;
  readonly config: SyslogConfig;
  readonly now: () => number;
  readonly log: Log;
}

export interface SyslogReceiver {
  start(): Promise<void>;
  /** Resolves when the bus has what was read, or after ten seconds. Stop it before the gateway. */
  stop(): Promise<void>;
  /** Where it listens; null where it does not. */
  readonly ports: { readonly tcp: number | null; readonly udp: number | null };
}

/**
 * Syslog: RFC 5424 and RFC 3164 over TCP (RFC 6587) and UDP (RFC 5426).
 *
 * Syslog acknowledges nothing, so a sender never learns what arrived. Lost can be: over TCP, what the sender's and our kernel hold when the
 * connection breaks or this process is killed, and what was read but not yet published (at most 1 MiB for each connection) when it is killed; while
 * the bus is down nothing is lost as long as the sender waits, since we stop reading. Over UDP, any datagram on its way; what comes while the queue is full
 * (`udp_overflow`); and what is queued or not yet published when the process is killed. Who cannot lose a line uses one of the other receivers.
 */
export const createSyslogReceiver = ({ gateway, config, now, log }: SyslogReceiverOptions): SyslogReceiver => {
  const intake = new SyslogIntake({ gateway, bsdTime: new BsdTime(config.time_zone), now });
  const senderOf = networksOf(config.networks);
  const datagrams = new SyslogDatagrams({ intake, senderOf, queueMax: config.udp.queue_max, log });
  const connections = new Set<SyslogConnection>();
  const idleTimeoutMs = config.tcp.idle_timeout_ms;
  const server = createServer((socket) => accept(socket, { intake, senderOf, connections, idleTimeoutMs, log }));
  server.maxConnections = config.tcp.connections_max;
  server.on("drop", (from) => {
    const peer = plainAddress(from?.remoteAddress);
    intake.lost({ sender: senderOf(peer) ?? "", peer }, "connection_refused");
  });

  const drain = async (): Promise<void> => {
    const closed = server.listening ? new Promise((resolve) => server.close(resolve)) : null;
    await Promise.all([...connections].map((connection) => connection.stop()));
    await closed;
    await datagrams.stop();
  };

  return {
    start: async () => {
      if (config.tcp.enabled) await listen(server, { host: config.host, port: config.tcp.port });
      if (config.udp.enabled) await datagrams.start({ host: config.host, port: config.udp.port });
    },
    stop: async () => {
      const late = new Promise((resolve) => setTimeout(resolve, STOP_MS, "late").unref());
      if ((await Promise.race([drain(), late])) === "late")
        log.warn({}, "syslog messages were lost: there was no room");
    },
    get ports() {
      const address = server.address();
      return { tcp: typeof address === "object" && address !== null ? address.port : null, udp: datagrams.port };
    },
  };
};

interface Accepting {
  readonly intake: SyslogIntake;
  readonly senderOf: SenderOf;
  readonly connections: Set<SyslogConnection>;
  readonly idleTimeoutMs: number;
  readonly log: Log;
}

const accept = (socket: Socket, { intake, senderOf, connections, idleTimeoutMs, log }: Accepting): void => {
  const peer = plainAddress(socket.remoteAddress);
  const sender = senderOf(peer);
  if (sender === null) {
    intake.lost({ sender: "", peer }, "network_refused");
    log.debug({ peer }, "a syslog connection from no allowed network");
    socket.destroy();
    return;
  }
  const connection = new SyslogConnection({ socket, intake, sender, peer, idleTimeoutMs, log });
  connections.add(connection);
  connection.finished.finally(() => connections.delete(connection));
};

const listen = (server: Server, at: { host: string; port: number }): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(at, resolve);
  });
