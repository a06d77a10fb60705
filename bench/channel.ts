import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { residentBytes } from "./channel/child.ts";
import type { Loaded } from "./channel/control-process.ts";
import { decide } from "./channel/decide.ts";
import { measureFloor } from "./channel/floor.ts";
import { type Nats, type NatsMeasured, startNats } from "./channel/nats.ts";
import { Tiers } from "./channel/tiers.ts";
import { verifyMicros } from "./channel/verify-cost.ts";
import { measureCpu } from "./ingest/cpu.ts";
import { median, quantile, rounded, thousands } from "./numbers.ts";

/*
 * What is compared. A command of ours: a job is submitted at control, its record, its signed grant and the results are durable on the bus;
 * it goes sealed through a site server to an agent, which verifies it, syncs its journal, runs it and answers; counted when control has the
 * results on the bus and the job has ended. A request of NATS: a requester's message through nats-server to a subscriber, which answers;
 * nothing is signed, sealed, journalled or stored. Both over mutual TLS, with as many in flight. `rate_ratio_to_nats` and
 * `server_cpu_ratio_to_nats` are of jobs for many hosts; the same of jobs for one host each stand beside them. The CPU of ours is that of
 * control and site server together; of NATS that of nats-server and its responders. All processes share this machine, ours with the agents'
 * verification in it, which in life runs on as many machines as there are agents: `believing_*` is without it. `floor_*` is what the frames,
 * the seals and the signature of a command cost on this machine by themselves: no rate here can be above `floor_commands_per_s`.
 */

const HOSTS_PER_JOB_MAX = 1_000;
const JOBS_IN_FLIGHT = 2;
const WARM_UP_S = 2;
const SETTLE_MS = 3_000;
const PEER_GONE_MS = 15_000;
const HEARTBEAT_MS = 60_000;
const SYNC_SHARE = 0.1;
const POLL_MS = 20;
const REQUEST = { executor: "simulate.echo", args: { text: "x".repeat(100) } };

interface Sizes {
  readonly agents: number;
  readonly seconds: number;
  readonly runs: number;
}

interface Measured {
  readonly rate: number;
  readonly errors: number;
  readonly controlMicros: number;
  readonly siteMicros: number;
  readonly agentsMicros: number;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

const loadOf = async (tiers: Tiers, load: Record<string, unknown>): Promise<Loaded> =>
  tiers.control.ask<Loaded>("load", { request: REQUEST, hosts: tiers.hosts, rate: 0, ...load });

const measure = async (tiers: Tiers, hostsPerJob: number, inFlight: number, seconds: number): Promise<Measured> => {
  await loadOf(tiers, { hostsPerJob, inFlight, seconds: WARM_UP_S });
  const pids: Record<string, number> = { control: tiers.control.pid, site: tiers.site("site-0").pid };
  for (const [at, pid] of tiers.simulation.pids.entries()) pids[`agents${at}`] = pid;
  let loaded: Loaded | null = null;
  const cpu = await measureCpu(pids, async () => {
    loaded = await loadOf(tiers, { hostsPerJob, inFlight, seconds });
  });
  const { commands, tookS, errors } = loaded ?? { commands: 0, tookS: 1, errors: 0 };
  const micros = (name: string): number =>
    (Object.entries(cpu).reduce((sum, [key, each]) => sum + (key.startsWith(name) ? each : 0), 0) / commands) * 1e6;
  return {
    rate: commands / tookS,
    errors,
    controlMicros: micros("control"),
    siteMicros: micros("site"),
    agentsMicros: micros("agents"),
  };
};

const sayOurs = (what: string, { rate, controlMicros, siteMicros, agentsMicros, errors }: Measured): void =>
  say(
    `${what.padEnd(34)}${rate.toFixed(0).padStart(7)} commands/s; µs of CPU each: control ${controlMicros.toFixed(1)}, site ${siteMicros.toFixed(1)}, agents ${agentsMicros.toFixed(1)}; ${errors} errors`,
  );

const sayNats = (run: number, nats: NatsMeasured): void =>
  say(
    `${`nats-server, run ${run}`.padEnd(34)}${nats.rate.toFixed(0).padStart(7)} requests/s; µs of CPU each: broker ${nats.brokerMicros.toFixed(1)}, responders ${nats.respondersMicros.toFixed(1)}, requester ${nats.requesterMicros.toFixed(1)}; ${nats.errors} errors`,
  );

interface Rounds {
  readonly many: Measured[];
  readonly single: Measured[];
  readonly nats: NatsMeasured[];
}

const measureRates = async (tiers: Tiers, nats: Nats | null, { agents, seconds, runs }: Sizes): Promise<Rounds> => {
  const hostsPerJob = Math.max(1, Math.min(HOSTS_PER_JOB_MAX, Math.floor(agents / JOBS_IN_FLIGHT)));
  const inFlight = hostsPerJob * JOBS_IN_FLIGHT;
  const rounds: Rounds = { many: [], single: [], nats: [] };
  const turns = [
    async (run: number) => {
      const measured = await measure(tiers, hostsPerJob, inFlight, seconds);
      sayOurs(`jobs of ${hostsPerJob} hosts, run ${run}`, measured);
      rounds.many.push(measured);
    },
    async (run: number) => {
      const measured = await nats?.measure({ seconds, inFlight });
      if (measured === undefined) return;
      sayNats(run, measured);
      rounds.nats.push(measured);
    },
    async (run: number) => {
      const measured = await measure(tiers, 1, inFlight, seconds);
      sayOurs(`jobs of one host, run ${run}`, measured);
      rounds.single.push(measured);
    },
  ];
  for (let run = 1; run <= runs; run++) for (const turn of run % 2 === 1 ? turns : turns.toReversed()) await turn(run);
  return rounds;
};

const of = <T>(all: readonly T[], value: (one: T) => number): number => rounded(median(all.map(value)));
const serverMicros = ({ controlMicros, siteMicros }: Measured): number => controlMicros + siteMicros;
const natsMicros = ({ brokerMicros, respondersMicros }: NatsMeasured): number => brokerMicros + respondersMicros;

/** The median of the runs' own ratios; none without the peer. */
const ratios = (ours: readonly Measured[], nats: readonly NatsMeasured[]) => {
  const pairs = ours.flatMap((one, at) => {
    const peer = nats[at];
    return peer === undefined ? [] : [{ one, peer }];
  });
  if (pairs.length === 0) return { rate: null, cpu: null };
  return {
    rate: of(pairs, ({ one, peer }) => one.rate / peer.rate),
    cpu: of(pairs, ({ one, peer }) => serverMicros(one) / natsMicros(peer)),
  };
};

const idleBytes = async (tiers: Tiers, agents: number): Promise<number> => {
  await delay(SETTLE_MS);
  const site = tiers.site("site-0");
  await site.ask("collect");
  const bytes = (residentBytes(site.pid) - tiers.emptySiteBytes) / agents;
  say(`${thousands(bytes)} bytes per idle agent at the site server`);
  return Math.round(bytes);
};

const measureSync = async (tiers: Tiers, maxRate: number, seconds: number): Promise<{ p50: number; p99: number }> => {
  const rate = Math.max(1, maxRate * SYNC_SHARE);
  const { latenciesMs } = await loadOf(tiers, { hostsPerJob: 1, inFlight: 1, seconds, rate });
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  const found = { p50: rounded(quantile(sorted, 0.5)), p99: rounded(quantile(sorted, 0.99)) };
  say(`a synchronous command at ${rate.toFixed(0)} a second: p50 ${found.p50} ms, p99 ${found.p99} ms`);
  return found;
};

const broadcast = async (tiers: Tiers, { agents, runs }: Sizes): Promise<number> => {
  const took: number[] = [];
  for (let run = 1; run <= runs; run++) {
    // One job: the next would only begin after the time is over.
    const { tookS, errors } = await loadOf(tiers, { hostsPerJob: agents, inFlight: agents, seconds: 0.001 });
    say(`a broadcast to ${agents} agents: answered by all in ${tookS.toFixed(2)} s; ${errors} errors`);
    took.push(tookS);
  }
  return rounded(median(took));
};

/** Kills the one site server while commands are in flight; a second one is there. */
const rehome = async (tiers: Tiers, { agents, seconds }: Sizes): Promise<Record<string, number>> => {
  await tiers.startSite("site-1");
  const hostsPerJob = Math.min(HOSTS_PER_JOB_MAX, agents);
  const request = { executor: "simulate.run_marker", args: {} };
  const loading = loadOf(tiers, { request, hostsPerJob, inFlight: hostsPerJob, seconds: Math.max(2, seconds / 2) });
  await delay(1_000);
  const killedMs = performance.now();
  tiers.site("site-0").kill("SIGKILL");
  while (tiers.simulation.counts().sealed >= agents) await delay(POLL_MS);
  await tiers.allSealed();
  const backS = (performance.now() - killedMs) / 1_000;
  const { commands, errors } = await loading;
  const lines = readdirSync(tiers.markerDir).flatMap((name) =>
    readFileSync(join(tiers.markerDir, name), "utf8").split("\n").slice(0, -1),
  );
  const runTwice = lines.length - new Set(lines).size;
  say(
    `a site server was killed: ${agents} agents back in ${backS.toFixed(1)} s; of ${commands} commands ${errors} lost`,
  );
  return { rehome_s: rounded(backS), lost: errors, run_twice: runTwice };
};

const believing = async (tiers: Tiers, { agents, seconds }: Sizes): Promise<Record<string, number>> => {
  await tiers.simulation.stop();
  await tiers.startSimulation(false);
  await tiers.allSealed();
  const hostsPerJob = Math.max(1, Math.min(HOSTS_PER_JOB_MAX, Math.floor(agents / JOBS_IN_FLIGHT)));
  const measured = await measure(tiers, hostsPerJob, hostsPerJob * JOBS_IN_FLIGHT, seconds);
  sayOurs("grants believed unverified", measured);
  return { believing_commands_per_s: Math.round(measured.rate) };
};

const measureTiers = async (tiers: Tiers, nats: Nats | null, sizes: Sizes, part: string | undefined) => {
  const wants = (name: string): boolean => part === undefined || part === name;
  const found: Record<string, unknown> = {};
  const startedMs = performance.now();
  await tiers.start();
  found.enrol_s = rounded((performance.now() - startedMs) / 1_000);
  say(`${sizes.agents} agents enrolled, connected and sealed in ${found.enrol_s} s`);
  found.idle_bytes_per_agent = await idleBytes(tiers, sizes.agents);
  let maxRate = sizes.agents;
  if (wants("rate")) {
    const { many, single, nats: peer } = await measureRates(tiers, nats, sizes);
    // Its ten thousand clients have work of their own (pings, collections of garbage), which is nothing to what follows.
    await nats?.stop();
    // The kernel takes back gigabytes of theirs, and writes out what the rates have left to it: half a minute later it would hold up the
    // disk while latencies are measured.
    await delay(PEER_GONE_MS);
    execFileSync("sync");
    const [manyRatio, singleRatio] = [ratios(many, peer), ratios(single, peer)];
    maxRate = of(single, ({ rate }) => rate);
    Object.assign(found, {
      rate_ratio_to_nats: manyRatio.rate,
      server_cpu_ratio_to_nats: manyRatio.cpu,
      one_host_rate_ratio_to_nats: singleRatio.rate,
      one_host_server_cpu_ratio_to_nats: singleRatio.cpu,
      commands_per_s: of(many, ({ rate }) => rate),
      one_host_commands_per_s: maxRate,
      server_us: of(many, serverMicros),
      one_host_server_us: of(single, serverMicros),
      nats_requests_per_s: of(peer, ({ rate }) => rate),
      nats_us: of(peer, natsMicros),
      nats_idle_bytes: of(peer, ({ idleBytes }) => idleBytes),
      errors: [...many, ...single].reduce((sum, { errors }) => sum + errors, 0),
    });
  }
  if (wants("sync")) {
    const { p50, p99 } = await measureSync(tiers, maxRate, sizes.seconds);
    Object.assign(found, { sync_ms_p50: p50, sync_ms_p99: p99 });
  }
  if (wants("broadcast")) found.broadcast_s = await broadcast(tiers, sizes);
  if (wants("verify")) Object.assign(found, { verify_us: rounded(verifyMicros()) }, await believing(tiers, sizes));
  if (wants("rehome")) Object.assign(found, await rehome(tiers, sizes));
  return found;
};

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const agents = Number(options.agents ?? 10_000);
  const seconds = Number(options.seconds ?? 10);
  const runs = Number(options.runs ?? 3);
  if (options.decide === "true") {
    say(JSON.stringify(await decide({ connections: agents, seconds, runs })));
    return;
  }
  const needsNats = options.part === undefined || options.part === "rate";
  const nats = needsNats ? await startNats(agents) : null;
  if (nats === null && needsNats) say("nats-server is not installed (Debian: nats-server): nothing to compare with");
  else if (nats !== null) say(`nats-server ${nats.version} with ${agents} clients`);
  const tiers = new Tiers({
    agents,
    servers: 1,
    standby: 1,
    verifies: true,
    heartbeatMs: HEARTBEAT_MS,
    isQuiet: false,
    say: () => undefined,
  });
  try {
    const found = await measureTiers(tiers, nats, { agents, seconds, runs }, options.part);
    await tiers.stop();
    if (options.part === undefined || options.part === "floor") {
      const floor = await measureFloor({ connections: agents, seconds });
      say(
        `frames, seals and signature by themselves: ${floor.floor_us} µs, unverified ${floor.floor_unverified_us} µs`,
      );
      Object.assign(found, floor);
    }
    const { rate_ratio_to_nats = null, server_cpu_ratio_to_nats = null, ...rest } = found;
    say(JSON.stringify({ rate_ratio_to_nats, server_cpu_ratio_to_nats, ...rest }));
  } finally {
    await tiers.stop();
    await nats?.stop();
  }
};
