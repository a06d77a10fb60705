import { connect, type Socket } from "node:net";
import { ReceiversConfig, SyslogConfig } from "@homeostat/ingest";
import {
  createGateway,
  createGatewayServer,
  createSyslogReceiver,
  elasticsearchReceiver,
  lokiReceiver,
  otlpReceiver,
  remoteWriteReceiver,
} from "@homeostat/ingest/receivers";
import { type Bus, decodeBatch, type Log } from "@homeostat/schemas";
import { NOW_UNIX_MS } from "./seeds.ts";

const TOKEN = "fuzz-token-0123456789";
const MIB = 1_048_576;

/** A defect: something that no input may bring about. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** Takes everything, and sees that it can be read again. */
const checkingBus = (onDefect: (error: unknown) => void): Bus => ({
  publish: async (messages) => {
    for (const { topic, value } of messages) {
      if (!topic.startsWith("telemetry.")) continue;
      try {
        decodeBatch(value ?? new Uint8Array(0));
      } catch (error) {
        onDefect(error);
      }
    }
  },
  consume: () => Promise.reject(new Error("nobody reads this bus")),
  lag: () => Promise.resolve([]),
  stop: () => Promise.resolve(),
});

export interface Sent {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** The gateway with every receiver, its server, and a bus that checks what was accepted. */
export interface World {
  /** Resolves with the answer's status. @throws Violation */
  post(request: Sent): Promise<number>;
  /** Each line over one connection; resolves when all were taken. @throws Violation */
  syslog(inputs: readonly Buffer[]): Promise<void>;
  readonly accepted: number;
  stop(): Promise<void>;
}

const ANSWERS: ReadonlySet<number> = new Set([200, 204, 400, 404, 413, 415]);

export const startWorld = async (): Promise<World> => {
  const defects: unknown[] = [];
  const error: Log["error"] = (fields, message) => {
    defects.push(new Error(`${message}: ${describe(fields)}`));
  };
  const log: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error };
  const now = () => NOW_UNIX_MS;
  const config = ReceiversConfig.parse({
    senders: [{ name: "fuzz", token: TOKEN }],
    // Small, so that every cap is met.
    uncompressed_bytes_max: MIB,
    gateway: { linger_ms: 0, lanes: 1, identities_bytes_max: 16 * MIB },
  });
  const gateway = createGateway({
    bus: checkingBus((defect) => defects.push(defect)),
    config: config.gateway,
    host: "fuzz",
    now,
    log,
    reportFinding: () => Promise.resolve(),
    randomId: () => "fuzz",
  });
  const receivers = [otlpReceiver, remoteWriteReceiver, lokiReceiver, elasticsearchReceiver];
  const server = createGatewayServer({ gateway, config, receivers, log, now });
  await server.ready();
  const syslog = createSyslogReceiver({
    gateway,
    config: SyslogConfig.parse({ enabled: true, tcp: { port: 0 }, udp: { enabled: false } }),
    now,
    log,
  });
  await syslog.start();
  const check = (): void => {
    const [first] = defects.splice(0);
    if (first !== undefined) throw new Violation(describe(first), { cause: first });
  };
  return {
    post: async ({ url, headers, body }) => {
      const authorization = `Bearer ${TOKEN}`;
      const answer = await server.inject({
        method: "POST",
        url,
        headers: { ...headers, authorization },
        payload: body,
      });
      check();
      if (!ANSWERS.has(answer.statusCode)) throw new Violation(`the answer was ${answer.statusCode} ${answer.body}`);
      return answer.statusCode;
    },
    syslog: async (inputs) => {
      const port = syslog.ports.tcp;
      if (port === null) throw new Error("syslog does not listen");
      await sendOver(connect(port, "127.0.0.1"), inputs);
      check();
    },
    get accepted() {
      return gateway.status().receivers.reduce((sum, { accepted }) => sum + accepted, 0);
    },
    stop: async () => {
      await syslog.stop();
      await server.close();
      await gateway.stop();
      check();
    },
  };
};

/** Resolves when the receiver has closed its end too: then it has read everything. */
const sendOver = (socket: Socket, inputs: readonly Buffer[]): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("close", () => resolve());
    socket.resume();
    for (const input of inputs) socket.write(Buffer.concat([input, Buffer.from("\n")]));
    socket.end();
  });

const describe = (defect: unknown): string => {
  if (defect instanceof Error) return defect.stack ?? defect.message;
  if (typeof defect === "object" && defect !== null && "err" in defect) return describe(defect.err);
  return JSON.stringify(defect);
};
