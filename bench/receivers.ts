import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { median, rounded, thousands } from "./numbers.ts";
import { cpuSeconds, type Peer } from "./peers/peer-process.ts";
import { startPrometheus } from "./peers/prometheus.ts";
import { startVictoriaMetrics } from "./peers/victoria-metrics.ts";
import { prepare, SHARDS, sendAll, streamAll } from "./receivers/client.ts";
import { type GatewayChild, startGatewayChild } from "./receivers/gateway-child.ts";
import { bodiesOf, SYSLOG, WORKLOADS, type Workload } from "./receivers/workload.ts";

/*
 * Records per CPU-second of the process that receives them, from the socket until the embedded bus has them: user and system time of the
 * whole process, its threads and the bus included (/proc/PID/stat). The client's own work is another process's. Runs are interleaved; the
 * first warms up and does not count. Peers get the same remote write requests and store them.
 */

/** What the receivers are asked for, records per CPU-second. */
const LIMITS: Readonly<Record<string, number>> = { otlp_logs: 150_000, remote_write: 500_000 };
const REMOTE_WRITE_PATH = "/api/v1/write";
/** Runs lie apart, so that samples of each are newer than those of the one before. */
const RUN_MS = 600_000;

/** Records per CPU-second, by what received them. */
type Rates = Map<string, number[]>;

const note = (rates: Rates, name: string, rate: number): void => {
  rates.set(name, [...(rates.get(name) ?? []), rate]);
  process.stdout.write(`${name.padEnd(36)}${thousands(rate)}\n`);
};

const measure = async (
  { url, pid }: { readonly url: string; readonly pid: number },
  workload: Workload,
  load: { readonly requests: readonly Buffer[]; readonly atATime: number },
): Promise<number> => {
  const { requests } = load;
  const before = cpuSeconds(pid);
  await sendAll(url, workload, load);
  return (requests.length * workload.recordsPerRequest) / (cpuSeconds(pid) - before);
};

const checkAccepted = async (child: GatewayChild, before: number, expected: number): Promise<void> => {
  const { records } = await child.ask({ order: "accepted" }, "accepted");
  if (records - before !== expected) throw new Error(`${records - before} of ${expected} records were accepted`);
};

const startPeers = async (dir: string): Promise<Peer[]> => {
  const peers: Peer[] = [];
  for (const [name, start] of [
    ["prometheus", startPrometheus],
    ["victoria_metrics", startVictoriaMetrics],
  ] as const) {
    const peer = await start(await mkdtemp(join(dir, `${name}-`)));
    if (peer === null) process.stdout.write(`${name} is not installed: measured without it\n`);
    else {
      peers.push(peer);
      process.stdout.write(`beside ${name}: ${peer.version || "version unknown"}\n`);
    }
  }
  return peers;
};

interface Plan {
  readonly workloads: readonly Workload[];
  readonly hasSyslog: boolean;
  readonly runs: number;
  readonly records: number;
  readonly startedAtUnixMs: number;
}

interface Load {
  readonly requests: number;
  readonly endUnixMs: number;
}

const requestsOf = ({ recordsPerRequest }: { readonly recordsPerRequest: number }, { records }: Plan): number =>
  Math.max(1, Math.round(records / recordsPerRequest));

const POLL_MS = 20;
const SYSLOG_MS_MAX = 60_000;

/** Nothing is acknowledged: it is over when the gateway has counted them all. */
const measureSyslog = async (child: GatewayChild, plan: Plan, endUnixMs: number): Promise<number> => {
  const requests = requestsOf(SYSLOG, plan);
  const bodies = bodiesOf(SYSLOG, { requests, endUnixMs });
  const expected = requests * SYSLOG.recordsPerRequest;
  const { records: first } = await child.ask({ order: "accepted" }, "accepted");
  const before = cpuSeconds(child.pid);
  await streamAll(child.syslogPort, bodies);
  const deadline = performance.now() + SYSLOG_MS_MAX;
  for (let records = first; records - first < expected; ) {
    if (performance.now() > deadline)
      throw new Error(`syslog: ${records - first} of ${expected} records were accepted`);
    await delay(POLL_MS);
    ({ records } = await child.ask({ order: "accepted" }, "accepted"));
  }
  return expected / (cpuSeconds(child.pid) - before);
};

interface Sides {
  readonly child: GatewayChild;
  readonly peers: readonly Peer[];
  readonly rates: Rates;
}

const measureWorkload = async ({ child, peers, rates }: Sides, workload: Workload, load: Load): Promise<void> => {
  const { requests, endUnixMs } = load;
  const expected = requests * workload.recordsPerRequest;
  const bodies = prepare(workload, bodiesOf(workload, { requests, endUnixMs }));
  const { records } = await child.ask({ order: "accepted" }, "accepted");
  const rate = await measure(child, workload, { requests: bodies, atATime: SHARDS });
  await checkAccepted(child, records, expected);
  note(rates, workload.name, rate);
  if (workload.path !== REMOTE_WRITE_PATH) return;
  const { cpuSeconds: seconds } = await child.ask({ order: "handle", workload: workload.name, requests }, "handled");
  note(rates, `${workload.name}_without_http`, expected / seconds);
  if (workload.name !== "remote_write") return;
  // One after the other: the requests hold the same series, and peers refuse samples that are not newer.
  const inOrder = { requests: bodies, atATime: 1 };
  for (const peer of peers) note(rates, `${workload.name}_${peer.name}`, await measure(peer, workload, inOrder));
};

const oneRun = async (sides: Sides, plan: Plan, run: number): Promise<void> => {
  const endUnixMs = plan.startedAtUnixMs - (plan.runs - run) * RUN_MS;
  for (const workload of plan.workloads) {
    await measureWorkload(sides, workload, { requests: requestsOf(workload, plan), endUnixMs });
  }
  if (plan.hasSyslog) note(sides.rates, SYSLOG.name, await measureSyslog(sides.child, plan, endUnixMs));
};

const profile = async (child: GatewayChild, plan: Plan): Promise<void> => {
  for (const workload of plan.workloads) {
    const load = { requests: requestsOf(workload, plan), endUnixMs: plan.startedAtUnixMs + 1000 };
    const bodies = prepare(workload, bodiesOf(workload, load));
    await child.ask({ order: "profile" }, "profiling");
    await sendAll(child.url, workload, { requests: bodies, atATime: SHARDS });
    const { lines } = await child.ask({ order: "profiled" }, "profiled");
    process.stdout.write(`\n${workload.name}, self time of the main thread\n${lines.join("\n")}\n`);
  }
};

interface Counted {
  readonly name: string;
  readonly unit: string;
}

const summary = (rates: Rates, workloads: readonly Counted[]): Record<string, number> => {
  const at = (name: string): number => median(rates.get(name) ?? []);
  const result: Record<string, number> = {};
  for (const [name, limit] of Object.entries(LIMITS)) {
    if (rates.has(name)) result[`${name}_ratio_to_limit`] = rounded(at(name) / limit);
  }
  for (const peer of ["prometheus", "victoria_metrics"]) {
    const peerRates = rates.get(`remote_write_${peer}`);
    if (peerRates !== undefined)
      result[`remote_write_ratio_to_${peer}`] = rounded(at("remote_write") / median(peerRates));
  }
  for (const { name, unit } of workloads) result[`${name}_${unit}_per_cpu_s`] = Math.round(at(name));
  for (const name of rates.keys()) {
    if (!workloads.some((workload) => workload.name === name)) result[`${name}_per_cpu_s`] = Math.round(at(name));
  }
  return result;
};

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const isChosen = (name: string) => options.only === undefined || options.only.split(",").includes(name);
  const plan: Plan = {
    workloads: WORKLOADS.filter(({ name }) => isChosen(name)),
    hasSyslog: isChosen(SYSLOG.name),
    runs: Number(options.runs ?? 5),
    records: Number(options.records ?? 500_000),
    startedAtUnixMs: Date.now(),
  };
  const dir = await mkdtemp(join(tmpdir(), "homeostat-peers-"));
  const child = await startGatewayChild();
  const peers = plan.workloads.some(({ name }) => name === "remote_write") ? await startPeers(dir) : [];
  const rates: Rates = new Map();
  try {
    for (let count = 0; count <= plan.runs; count++) {
      process.stdout.write(count === 0 ? "warming up\n" : `run ${count}\n`);
      await oneRun({ child, peers, rates }, plan, count);
      if (count === 0) rates.clear();
    }
    if (options.profile !== undefined) await profile(child, plan);
  } finally {
    await child.stop();
    for (const peer of peers) await peer.stop();
    await rm(dir, { recursive: true, force: true });
  }
  process.stdout.write(`${plan.runs} interleaved runs, medians, records per CPU-second\n`);
  process.stdout.write(`${JSON.stringify(summary(rates, [...plan.workloads, ...(plan.hasSyslog ? [SYSLOG] : [])]))}\n`);
};
