import { mkdtemp, rm } from "node:fs/promises";
import { Session as InspectorSession, type Session } from "node:inspector/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEmbeddedBus } from "@homeostat/app";
import { ReceiversConfig, SyslogConfig } from "@homeostat/ingest";
import {
  createGateway,
  createGatewayServer,
  createRemoteWrite,
  createSyslogReceiver,
  elasticsearchReceiver,
  lokiReceiver,
  otlpReceiver,
  type RunningGateway,
  remoteWriteReceiver,
} from "@homeostat/ingest/receivers";
import { type Log, topics } from "@homeostat/schemas";
import { type Profile, profileSummary } from "./profile-summary.ts";
import { TOKEN } from "./token.ts";
import { bodiesOf, WORKLOADS } from "./workload.ts";

/*
 * The process that is measured: the gateway with all receivers and the embedded bus, and nothing else. It does what its parent says, one
 * message at a time (node:child_process, fork).
 */

export type Order =
  | { readonly order: "accepted" }
  | { readonly order: "profile" }
  | { readonly order: "profiled" }
  | { readonly order: "handle"; readonly workload: string; readonly requests: number }
  | { readonly order: "stop" };

export type Reply =
  | { readonly reply: "ready"; readonly port: number; readonly syslogPort: number }
  | { readonly reply: "accepted"; readonly records: number }
  | { readonly reply: "profiling" }
  | { readonly reply: "profiled"; readonly lines: readonly string[] }
  | { readonly reply: "handled"; readonly cpuSeconds: number }
  | { readonly reply: "failed"; readonly message: string };

const say = (reply: Reply): void => {
  process.send?.(reply);
};

const warn = (fields: object, message: string): void => {
  process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
};
const log: Log = { debug: () => undefined, info: () => undefined, warn, error: warn };

/** As many at a time as the client keeps under way. */
const AT_A_TIME = 8;

/** The receiver alone, without HTTP and decompression: CPU-seconds until the bus has everything. */
const handleAlone = async (
  { gateway, handle }: Pick<Ports, "gateway" | "handle">,
  { workload: name, requests }: { readonly workload: string; readonly requests: number },
): Promise<number> => {
  const workload = WORKLOADS.find((one) => one.name === name);
  if (workload?.path !== "/api/v1/write") throw new Error(`${name} cannot be handled alone`);
  const bodies = bodiesOf(workload, { requests, endUnixMs: Date.now() });
  const before = process.cpuUsage();
  const send = async (): Promise<void> => {
    for (let body = bodies.pop(); body !== undefined; body = bodies.pop()) {
      const submission = gateway.admit({ sender: "bench", receiver: "bench", bytes: body.length });
      if (submission === null) throw new Error("the gateway has no room");
      const contentType = workload.headers["content-type"] ?? "";
      const headers = { "content-type": contentType };
      const request = { body, contentType, headers, params: {}, query: {}, sender: "bench", nowUnixMs: Date.now() };
      const { status } = handle(request, submission);
      if (status !== 204) throw new Error(`the receiver answered ${status}`);
      await submission.commit();
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, send));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
};

const acceptedBy = (gateway: RunningGateway): number =>
  gateway.status().receivers.reduce((sum, { accepted }) => sum + accepted, 0);

const main = async (): Promise<void> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-receivers-"));
  const bus = await createEmbeddedBus({ dir, topics: topics(), now: Date.now, log });
  const config = ReceiversConfig.parse({ http: { port: 0 }, senders: [{ name: "bench", token: TOKEN }] });
  const gateway = createGateway({
    bus,
    config: config.gateway,
    host: "bench",
    now: Date.now,
    log,
    reportFinding: async (finding) => warn({}, finding.summary),
    randomId: () => String(process.pid),
  });
  const receivers = [otlpReceiver, remoteWriteReceiver, lokiReceiver, elasticsearchReceiver];
  const server = createGatewayServer({ gateway, config, receivers, log, now: Date.now });
  await server.listen({ host: "127.0.0.1", port: 0 });
  const syslogConfig = SyslogConfig.parse({ enabled: true, tcp: { port: 0 }, udp: { enabled: false } });
  const syslog = createSyslogReceiver({ gateway, config: syslogConfig, now: Date.now, log });
  await syslog.start();
  gateway.start();
  const handle = createRemoteWrite(gateway);
  const session = new InspectorSession();
  const stop = async (): Promise<void> => {
    await syslog.stop();
    await server.close();
    await gateway.stop();
    await bus.stop();
    await rm(dir, { recursive: true, force: true });
    process.disconnect();
  };
  process.on("message", (order: Order) => {
    obey(order, { gateway, handle, session, stop }).catch((error: unknown) => {
      say({ reply: "failed", message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    });
  });
  const { port } = server.server.address() as AddressInfo;
  say({ reply: "ready", port, syslogPort: syslog.ports.tcp ?? 0 });
};

interface Ports {
  readonly gateway: RunningGateway;
  readonly handle: ReturnType<typeof createRemoteWrite>;
  readonly session: Session;
  readonly stop: () => Promise<void>;
}

const obey = async (order: Order, { gateway, handle, session, stop }: Ports): Promise<void> => {
  if (order.order === "accepted") say({ reply: "accepted", records: acceptedBy(gateway) });
  else if (order.order === "handle") {
    say({ reply: "handled", cpuSeconds: await handleAlone({ gateway, handle }, order) });
  } else if (order.order === "profile") {
    session.connect();
    await session.post("Profiler.enable");
    await session.post("Profiler.start");
    say({ reply: "profiling" });
  } else if (order.order === "profiled") {
    const { profile } = await session.post("Profiler.stop");
    session.disconnect();
    say({ reply: "profiled", lines: profileSummary(profile as Profile) });
  } else await stop();
};

await main();
