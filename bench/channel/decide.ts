import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { measureCpu } from "../ingest/cpu.ts";
import { median, rounded, thousands } from "../numbers.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";
import { residentBytes, startChild } from "./child.ts";
import { WIRES } from "./wire.ts";

/*
 * WebSocket or frames of our own: the same certificates, the same messages, the same number in flight, mutual TLS 1.3, each wire with
 * processes of its own, one after the other.
 */

const PROCESS = fileURLToPath(new URL("./wire-process.ts", import.meta.url));

/** Of one request and of its reply: a small command, sealed. */
export const MESSAGE_BYTES = 600;
const IN_FLIGHT = 256;
const WARM_UP_S = 2;
/** After the last handshake, until the server's memory is read. */
const SETTLE_MS = 2_000;

interface Measured {
  readonly rate: number;
  readonly serverMicros: number;
  readonly clientMicros: number;
  readonly idleBytes: number;
}

export interface DecideOptions {
  readonly connections: number;
  readonly seconds: number;
  readonly runs: number;
}

export const measureWire = async (
  wire: string,
  certificates: Certificates,
  options: DecideOptions,
): Promise<Measured> => {
  const { connections, seconds } = options;
  const server = startChild(PROCESS, ["--expose-gc"]);
  const clients = [startChild(PROCESS), startChild(PROCESS)];
  try {
    const port = await server.ask<number>("listen", { wire, certificates });
    await server.ask("collect");
    const emptyBytes = residentBytes(server.pid);
    const share = Math.ceil(connections / clients.length);
    await Promise.all(
      clients.map((client, index) => {
        const first = index * share;
        const mine = Math.min(share, connections - first);
        return client.ask("connect", { wire, certificates, port, connections: mine, first });
      }),
    );
    await delay(SETTLE_MS);
    await server.ask("collect");
    const idleBytes = (residentBytes(server.pid) - emptyBytes) / connections;
    const load = { inFlight: IN_FLIGHT, bytes: MESSAGE_BYTES };
    await server.ask("load", { ...load, seconds: WARM_UP_S });
    let replies = 0;
    const pids = { server: server.pid, first: clients[0]?.pid ?? 0, second: clients[1]?.pid ?? 0 };
    const cpu = await measureCpu(pids, async () => {
      replies = await server.ask<number>("load", { ...load, seconds });
    });
    return {
      rate: replies / seconds,
      serverMicros: (cpu.server / replies) * 1e6,
      clientMicros: ((cpu.first + cpu.second) / replies) * 1e6,
      idleBytes,
    };
  } finally {
    for (const child of [...clients, server]) {
      child.kill("SIGKILL");
      await child.ended();
    }
  }
};

const say = (wire: string, run: number, { rate, serverMicros, clientMicros, idleBytes }: Measured): void => {
  process.stdout.write(
    `${`${wire}, run ${run}`.padEnd(18)}${thousands(rate)} requests/s; µs of CPU each: server ${serverMicros.toFixed(1)}, clients ${clientMicros.toFixed(1)}; ${thousands(idleBytes)} bytes per idle connection at the server\n`,
  );
};

/** Medians by wire. */
export const decide = async (options: DecideOptions): Promise<Record<string, Record<string, number>>> => {
  const dir = mkdtempSync(join(tmpdir(), "homeostat-channel-"));
  const found: Record<string, Measured[]> = Object.fromEntries(Object.keys(WIRES).map((wire) => [wire, []]));
  try {
    const certificates = makeCertificates(dir);
    for (let run = 1; run <= options.runs; run++) {
      const names = Object.keys(WIRES);
      for (const wire of run % 2 === 1 ? names : names.toReversed()) {
        const measured = await measureWire(wire, certificates, options);
        say(wire, run, measured);
        found[wire]?.push(measured);
      }
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  const medianOf = (all: readonly Measured[], key: keyof Measured): number =>
    rounded(median(all.map((one) => one[key])));
  return Object.fromEntries(
    Object.entries(found).map(([wire, all]) => [
      wire,
      {
        requests_per_s: medianOf(all, "rate"),
        server_us: medianOf(all, "serverMicros"),
        client_us: medianOf(all, "clientMicros"),
        idle_bytes: medianOf(all, "idleBytes"),
      },
    ]),
  );
};
