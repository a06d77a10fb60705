import { connect } from "node:net";
import { type GatewayRun, record, resource, startGateway } from "./gateway.fixture.ts";
import { ReceiversConfig } from "./gateway-config.ts";
import { createGatewayServer } from "./gateway-server.ts";
import { type ReceiverPorts, receive } from "./receive.ts";
import { RequestError } from "./receiver-route.ts";

export const TOKEN = "token-of-the-shipper";

type Config = Parameters<typeof ReceiversConfig.parse>[0] & object;

export interface ServerRun extends GatewayRun {
  readonly url: string;
  readonly port: number;
  post(body: string | Uint8Array<ArrayBuffer>, headers?: Record<string, string>): Promise<Response>;
  stop(): Promise<void>;
  /** Resolves when the server has no connection open. */
  disconnected(): Promise<void>;
  /** Writes bytes as they are to a connection of its own, and answers with what came back until it was closed. */
  raw(parts: readonly string[], options?: { signal?: AbortSignal }): Promise<string>;
}

/** A receiver of lines, each a log record. A line `!` is malformed. */
const lineReceiver = (ports: ReceiverPorts) => async (server: Parameters<typeof receive>[0]) =>
  receive(server, ports, {
    method: "POST",
    path: "/lines",
    receiver: "lines",
    handle: ({ body }, submission) => {
      const lines = body.toString().split("\n");
      if (lines.includes("!")) throw new RequestError(400, "line !: want a word");
      for (const line of lines) submission.log(ports.gateway.resource(resource()), record(line));
      return { status: 200, body: `${lines.length} lines` };
    },
    refusal: (status, message) => ({ status, headers: { "x-refused": String(status) }, body: `lines: ${message}` }),
  });

export const runServer = async (
  config: Record<string, unknown> = {},
  gatewayConfig: Parameters<typeof startGateway>[0] = {},
): Promise<ServerRun> => {
  const run = startGateway(gatewayConfig);
  const parsed = ReceiversConfig.parse({
    senders: [
      { name: "shipper", token: TOKEN },
      { name: "other", token: "token-of-another" },
    ],
    gateway: gatewayConfig,
    ...config,
  } satisfies Config);
  const server = createGatewayServer({
    gateway: run.gateway,
    config: parsed,
    receivers: [lineReceiver],
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
    now: () => run.clock.nowUnixMs,
  });
  const url = await server.listen({ host: "127.0.0.1", port: 0 });
  const port = Number(new URL(url).port);
  return {
    ...run,
    url,
    port,
    post: (body, headers = {}) =>
      fetch(`${url}/lines`, {
        method: "POST",
        body,
        headers: { authorization: `Bearer ${TOKEN}`, "content-type": "text/plain", ...headers },
      }),
    stop: async () => {
      run.bus.fault = undefined;
      server.server.closeAllConnections();
      await server.close();
      await run.gateway.stop();
    },
    disconnected: async () => {
      const count = () =>
        new Promise<number>((resolve) => server.server.getConnections((_error, open) => resolve(open)));
      while ((await count()) > 0) await new Promise((resolve) => setImmediate(resolve));
    },
    raw: (parts, { signal } = {}) =>
      new Promise((resolve) => {
        const socket = connect(port, "127.0.0.1");
        let answer = "";
        socket.on("data", (chunk) => {
          answer += chunk.toString();
        });
        socket.on("error", () => socket.destroy());
        socket.on("close", () => resolve(answer));
        signal?.addEventListener("abort", () => socket.destroy());
        for (const part of parts) socket.write(part);
      }),
  };
};
