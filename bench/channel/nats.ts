import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { measureCpu } from "../ingest/cpu.ts";
import { findBinary, freePort } from "../peers/peer-process.ts";
import { makeCertificates } from "./certificates.ts";
import { type Child, residentBytes, startChild } from "./child.ts";
import type { NatsAt } from "./nats-process.ts";

/*
 * The peer: nats-server with mutual TLS, as many clients as we have agents, each subscribed to a subject of its own, and a requester that
 * keeps as many requests under way as our control plane has commands. A request is what a command would be at its smallest: MESSAGE_BYTES
 * there and back, and nothing is signed, sealed end to end, journalled or stored.
 */

const PROCESS = fileURLToPath(new URL("./nats-process.ts", import.meta.url));
export const MESSAGE_BYTES = 600;
const RESPONDER_PROCESSES = 2;
const WARM_UP_S = 2;
const POLL_MS = 100;
const READY_MS_MAX = 10_000;
const SETTLE_MS = 2_000;

export interface NatsMeasured {
  readonly rate: number;
  readonly errors: number;
  /** Microseconds of CPU for each request. */
  readonly brokerMicros: number;
  readonly requesterMicros: number;
  readonly respondersMicros: number;
  /** At nats-server, for each idle client. */
  readonly idleBytes: number;
}

export interface Nats {
  readonly version: string;
  measure(options: { seconds: number; inFlight: number }): Promise<NatsMeasured>;
  stop(): Promise<void>;
}

const configOf = (port: number, { authorityPath, server }: ReturnType<typeof makeCertificates>): string => `
listen: "127.0.0.1:${port}"
max_connections: 100000
tls { cert_file: "${server.certificatePath}", key_file: "${server.keyPath}", ca_file: "${authorityPath}", verify: true, timeout: 60 }
`;

const startServer = async (dir: string, binary: string, port: number) => {
  const said: string[] = [];
  const child = spawn(binary, ["-c", join(dir, "nats.conf")], { stdio: ["ignore", "ignore", "pipe"] });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    if (said.length < 50) said.push(text);
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  for (let waitedMs = 0; !said.join("").includes("Server is ready"); waitedMs += POLL_MS) {
    if (child.exitCode !== null || waitedMs > READY_MS_MAX)
      throw new Error(`nats-server did not become ready at ${port}: ${said.join("")}`);
    await delay(POLL_MS);
  }
  return { pid: child.pid ?? 0, version: /Version:\s+(\S+)/.exec(said.join(""))?.[1] ?? "unknown", child, ended };
};

const begin = async (
  clients: number,
  { dir, binary, children }: { dir: string; binary: string; children: Child[] },
) => {
  const certificates = makeCertificates(dir);
  const port = await freePort();
  writeFileSync(join(dir, "nats.conf"), configOf(port, certificates));
  const server = await startServer(dir, binary, port);
  const emptyBytes = residentBytes(server.pid);
  const { keyPath, certificatePath } = certificates.client;
  const at: NatsAt = { port, authorityPath: certificates.authorityPath, keyPath, certificatePath };
  const share = Math.ceil(clients / RESPONDER_PROCESSES);
  const responders = Array.from({ length: RESPONDER_PROCESSES }, () => startChild(PROCESS));
  const requester = startChild(PROCESS);
  children.push(...responders, requester);
  await Promise.all(
    responders.map((child, index) =>
      child.ask("respond", { ...at, first: index * share, clients: Math.min(share, clients - index * share) }),
    ),
  );
  await requester.ask("open", at);
  await delay(SETTLE_MS);
  return { server, responders, requester, idleBytes: (residentBytes(server.pid) - emptyBytes) / clients };
};

/** null when nats-server is not installed (Debian: nats-server). */
export const startNats = async (clients: number): Promise<Nats | null> => {
  const binary = findBinary("nats-server") ?? findBinary("/usr/sbin/nats-server");
  if (binary === null) return null;
  const dir = mkdtempSync(join(tmpdir(), "homeostat-nats-"));
  const children: Child[] = [];
  const { server, responders, requester, idleBytes } = await begin(clients, { dir, binary, children });
  const load = { clients, bytes: MESSAGE_BYTES };
  const measure: Nats["measure"] = async ({ seconds, inFlight }) => {
    await requester.ask("request", { ...load, inFlight, seconds: WARM_UP_S });
    const pids: Record<string, number> = { broker: server.pid, requester: requester.pid };
    for (const [index, { pid }] of responders.entries()) pids[`responder${index}`] = pid;
    let answered = { replies: 0, errors: 0 };
    const startedMs = performance.now();
    const cpu = await measureCpu(pids, async () => {
      answered = await requester.ask("request", { ...load, inFlight, seconds });
    });
    const tookS = (performance.now() - startedMs) / 1_000;
    const micros = (name: string): number => ((cpu[name] ?? Number.NaN) / answered.replies) * 1e6;
    return {
      rate: answered.replies / tookS,
      errors: answered.errors,
      brokerMicros: micros("broker"),
      requesterMicros: micros("requester"),
      respondersMicros: responders.reduce((sum, _, index) => sum + micros(`responder${index}`), 0),
      idleBytes,
    };
  };
  return {
    version: server.version,
    measure,
    stop: async () => {
      for (const child of children) {
        child.kill("SIGKILL");
        await child.ended();
      }
      server.child.kill("SIGTERM");
      await server.ended;
      rmSync(dir, { recursive: true, force: true });
    },
  };
};
