import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import type { Log } from "@homeostat/schemas";
import fastify, { type FastifyInstance, type FastifyPluginAsync } from "fastify";
import { authenticator } from "./authenticate.ts";
import { Connections, NO_RECEIVER } from "./connections.ts";
import type { RunningGateway } from "./gateway.ts";
import type { ReceiversConfig } from "./gateway-config.ts";
import { plainAddress } from "./peer-address.ts";
import type { ReceiverPorts } from "./receive.ts";
import { UnansweredRequests } from "./unanswered-requests.ts";

/** Node looks this often for requests that take too long. */
const TIMEOUT_CHECKS_MS_MAX = 1000;
/** How long a connection may be idle between requests; longer than senders' batches are apart. */
const KEEP_ALIVE_MS = 75_000;
/** How long a close waits for requests under way, beyond the time that a commit may take. */
const CLOSE_MS = 2000;

export interface GatewayServerOptions {
  readonly gateway: RunningGateway;
  readonly config: ReceiversConfig;
  /** Those that are enabled. */
  readonly receivers: readonly ((ports: ReceiverPorts) => FastifyPluginAsync)[];
  readonly log: Log;
  readonly now: () => number;
}

/** The server that senders speak to; `listen` and `close` are Fastify's. Close it before the gateway stops, so that what it has taken is answered. */
export const createGatewayServer = (options: GatewayServerOptions): FastifyInstance => {
  const { gateway, config, receivers, log, now } = options;
  const connections = new Connections(gateway.countRefusal);
  const authenticate = authenticator(config.senders);
  const server = createServer(config.http, connections);
  server.server.on("drop", (from) => connections.dropped(from?.remoteAddress));
  server.server.maxConnections = config.http.connections_max;
  server.addHook("preClose", async () => {
    setTimeout(() => server.server.closeAllConnections(), config.gateway.commit_timeout_ms + CLOSE_MS).unref();
  });
  server.decorateRequest("telemetrySender", "");
  // Bodies are read by `receive`, within its own caps.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", (_request, _payload, done) => done(null));
  server.setNotFoundHandler(({ headers, raw, url }, reply) => {
    const sender = authenticate(headers.authorization) ?? "";
    const refused = { sender, receiver: NO_RECEIVER, peer: plainAddress(raw.socket.remoteAddress) };
    gateway.countRefusal(refused, { reason: "http_404", message: `nothing is received at ${url.slice(0, 100)}` });
    reply.code(404).type("text/plain").send("nothing is received here\n");
  });
  server.get("/healthz", (_request, reply) => reply.type("text/plain").send("ok\n"));
  const ports: ReceiverPorts = {
    gateway,
    log,
    now,
    http: {
      authenticate,
      room: gateway.room,
      countRefusal: gateway.countRefusal,
      connections,
      unanswered: new UnansweredRequests({ now, log }),
      bodyBytesMax: config.body_bytes_max,
      uncompressedBytesMax: config.uncompressed_bytes_max,
      commitTimeoutMs: config.gateway.commit_timeout_ms,
    },
  };
  for (const receiver of receivers) server.register(receiver(ports));
  return server;
};

const createServer = (http: ReceiversConfig["http"], connections: Connections): FastifyInstance => {
  const { tls, headers_timeout_ms, request_timeout_ms } = http;
  const common = {
    requestTimeout: request_timeout_ms,
    keepAliveTimeout: KEEP_ALIVE_MS,
    exposeHeadRoutes: false,
    clientErrorHandler: (error: NodeJS.ErrnoException, socket: Socket) => connections.refuse(error, socket),
    routerOptions: { maxParamLength: 255 },
  };
  const timeouts = {
    headersTimeout: headers_timeout_ms,
    requestTimeout: request_timeout_ms,
    connectionsCheckingInterval: Math.min(TIMEOUT_CHECKS_MS_MAX, headers_timeout_ms),
  };
  if (tls === undefined) return fastify({ ...common, http: timeouts });
  const https = { ...timeouts, cert: readFileSync(tls.cert_file), key: readFileSync(tls.key_file) };
  return fastify({ ...common, https }) as unknown as FastifyInstance;
};
