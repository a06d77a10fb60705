import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Broker } from "../../test/kafka/broker.ts";
import { median } from "../numbers.ts";
import type { Peer } from "../peers/peer-process.ts";
import { startPrometheus } from "../peers/prometheus.ts";
import { startVictoriaMetrics } from "../peers/victoria-metrics.ts";
import { remoteWriteRate } from "./remote-write.ts";
import { rsyslogRate } from "./rsyslog.ts";

/** Rows per CPU-second of each peer; without those that are not installed. */
export type PeerRates = Readonly<Record<string, number>>;

const REMOTE_WRITE: Readonly<Record<string, (dir: string) => Promise<Peer | null>>> = {
  prometheus: startPrometheus,
  victoria_metrics: startVictoriaMetrics,
};

const withDir = async <T>(use: (dir: string) => Promise<T>): Promise<T> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-bench-peer-"));
  try {
    return await use(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
};

/** A fresh start for each run: what a peer has stored already does not change what the next run costs. */
const remoteWriteOnce = (start: (dir: string) => Promise<Peer | null>, samples: number): Promise<number | null> =>
  withDir(async (dir) => {
    const peer = await start(dir);
    if (peer === null) return null;
    try {
      return await remoteWriteRate(peer, samples);
    } finally {
      await peer.stop();
    }
  });

const rsyslogOnce = (lines: number): Promise<number | null> =>
  withDir(async (dir) => {
    const broker = await Broker.create();
    try {
      await broker.start();
      return await rsyslogRate(dir, broker.address, lines);
    } finally {
      await broker.dispose();
    }
  });

const medianOf = async (runs: number, once: () => Promise<number | null>): Promise<number | null> => {
  const rates: number[] = [];
  for (let run = 0; run < runs; run++) {
    const rate = await once();
    if (rate === null) return null;
    rates.push(rate);
  }
  return median(rates);
};

/** One after another, with nothing of ours beside them. */
export const measurePeers = async (options: { runs: number; samples: number; lines: number }): Promise<PeerRates> => {
  const rates: Record<string, number> = {};
  const note = (name: string, rate: number | null): void => {
    if (rate === null) process.stdout.write(`${name} is not installed: it is left out\n`);
    else rates[name] = rate;
  };
  for (const [name, start] of Object.entries(REMOTE_WRITE))
    note(name, await medianOf(options.runs, () => remoteWriteOnce(start, options.samples)));
  note("rsyslog", await medianOf(options.runs, () => rsyslogOnce(options.lines)));
  return rates;
};
