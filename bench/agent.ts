import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { startAgent, startPlatform } from "./agent/our-agent.ts";
import { PEERS, type Started } from "./agent/peers.ts";
import { type Usage, usageOf } from "./agent/process-tree.ts";
import { tailLinesPerCpuS } from "./agent/tail-speed.ts";

/** What is started settles before it is measured: first looks, first compilations. */
const SETTLE_MS = 15_000;
const RSS_EVERY_MS = 1_000;

interface Measured {
  readonly cpu_percent: number;
  readonly rss_mb: number;
  readonly pss_mb: number;
}

/**
 * Our agent, alone under its supervisor with everything on and its channel to a site server and a control plane in another process, beside
 * netdata, collectd and node exporter: all at once, each at one second, so that the machine is as busy for one as for the others.
 */
export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const runs = Number(options.runs ?? 3);
  const seconds = Number(options.seconds ?? 60);
  const lines = Number(options.lines ?? 1_000_000);
  const root = mkdtempSync(join(tmpdir(), "homeostat-bench-agent-"));
  try {
    const rounds: Map<string, Measured>[] = [];
    const tail: number[] = [];
    for (let round = 0; round < runs; round++) {
      rounds.push(await measureAll(join(root, `run-${round}`), seconds));
      tail.push(tailLinesPerCpuS(join(root, `tail-${round}`), lines));
      rmSync(join(root, `tail-${round}`), { recursive: true, force: true });
    }
    report(rounds, tail);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
};

const measureAll = async (dir: string, seconds: number): Promise<Map<string, Measured>> => {
  const watched = new Map<string, Started>();
  const platform = await startPlatform(join(dir, "platform"));
  try {
    watched.set("homeostat", await startAgent(join(dir, "homeostat"), platform));
    for (const peer of PEERS) {
      const started = await peer.start(join(dir, peer.name));
      if (started === null) process.stdout.write(`${peer.name} is not installed: gone on without it\n`);
      else watched.set(peer.name, started);
    }
    await delay(SETTLE_MS);
    return await measure(watched, seconds);
  } finally {
    for (const started of watched.values()) await started.stop();
    platform.stop();
  }
};

const measure = async (watched: ReadonlyMap<string, Started>, seconds: number): Promise<Map<string, Measured>> => {
  const first = usages(watched);
  const startedMs = performance.now();
  const samples: Map<string, Usage>[] = [];
  while (performance.now() - startedMs < seconds * 1000) {
    await delay(RSS_EVERY_MS);
    samples.push(usages(watched));
  }
  const tookS = (performance.now() - startedMs) / 1000;
  const of = (name: string, key: keyof Usage): number[] => samples.map((sample) => sample.get(name)?.[key] ?? 0);
  const results = new Map<string, Measured>();
  for (const [name, before] of first) {
    const after = samples.at(-1)?.get(name)?.cpuS ?? 0;
    // What has ended, at its start or later, must not stand there as the cheapest of all.
    if (after < before.cpuS || before.rssMb === 0 || of(name, "rssMb").includes(0))
      throw new Error(`${name} has not survived the measurement`);
    results.set(name, {
      cpu_percent: ((after - before.cpuS) / tookS) * 100,
      rss_mb: median(of(name, "rssMb")),
      pss_mb: median(of(name, "pssMb")),
    });
  }
  return results;
};

const usages = (watched: ReadonlyMap<string, Started>): Map<string, Usage> =>
  new Map([...watched].map(([name, { pid }]) => [name, usageOf(pid)]));

const report = (rounds: readonly ReadonlyMap<string, Measured>[], tail: readonly number[]): void => {
  const names = [...new Set(rounds.flatMap((round) => [...round.keys()]))];
  const medians = new Map(names.map((name) => [name, medianOf(rounds, name)]));
  for (const [name, { cpu_percent, rss_mb, pss_mb }] of medians)
    process.stdout.write(
      `${name.padEnd(14)} ${cpu_percent.toFixed(2)} % of a core, ${rss_mb.toFixed(1)} MB resident (${pss_mb.toFixed(1)} by share)\n`,
    );
  const ours = medians.get("homeostat");
  if (ours === undefined) throw new Error("our agent was not measured");
  const peers = Object.fromEntries([...medians].filter(([name]) => name !== "homeostat"));
  const ratios = Object.fromEntries(
    Object.entries(peers).flatMap(([name, peer]) => [
      [`cpu_ratio_to_${name}`, rounded(ours.cpu_percent / peer.cpu_percent)],
      [`rss_ratio_to_${name}`, rounded(ours.rss_mb / peer.rss_mb)],
    ]),
  );
  const figures = {
    cpu_percent: rounded(ours.cpu_percent),
    rss_mb: rounded(ours.rss_mb),
    pss_mb: rounded(ours.pss_mb),
    tail_lines_per_cpu_s: Math.round(median(tail)),
  };
  process.stdout.write(`${JSON.stringify({ ...ratios, ...figures, peers, runs: rounds.length })}\n`);
};

const medianOf = (rounds: readonly ReadonlyMap<string, Measured>[], name: string): Measured => {
  const all = rounds.map((round) => round.get(name)).filter((measured) => measured !== undefined);
  return {
    cpu_percent: median(all.map(({ cpu_percent }) => cpu_percent)),
    rss_mb: median(all.map(({ rss_mb }) => rss_mb)),
    pss_mb: median(all.map(({ pss_mb }) => pss_mb)),
  };
};

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
};

const rounded = (value: number): number => Math.round(value * 1000) / 1000;
