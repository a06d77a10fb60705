import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { compressSync } from "snappy";
import { cpuSeconds, type Peer } from "../peers/peer-process.ts";
import { random } from "../random.ts";
import { encodeWriteV1 } from "../receivers/definitions.ts";

/** As Prometheus's own sender has it: 2,000 samples a request (its default max_samples_per_send). */
const SERIES = 2000;
const CONNECTIONS = 2;
const SCRAPE_MS = 10_000;
/** What a peer puts off until shortly after is its work too. */
const SETTLE_MS = 1000;

/** Requests of one connection, in the order of their time: a scrape of a hundred metrics of twenty hosts each. */
const requestsOf = (connection: number, scrapes: number): readonly Buffer[] => {
  const next = random(connection + 1);
  const start = Date.now() - scrapes * SCRAPE_MS;
  const series = Array.from({ length: SERIES }, (_, index) => ({
    labels: [
      { name: "__name__", value: `bench_metric_${index % 100}` },
      { name: "host_name", value: `web-${Math.floor(index / 100)}` },
      { name: "partition", value: String(connection) },
    ],
    value: Math.round(next() * 1e4),
  }));
  return Array.from({ length: scrapes }, (_, scrape) => {
    const timeseries = series.map((each, index) => {
      if (index % 3 === 1) each.value += Math.floor(next() * 100);
      else if (index % 3 === 2) each.value = Math.round(each.value * 100 + (next() - 0.5) * 50) / 100;
      return { labels: each.labels, samples: [{ value: each.value, timestamp: start + scrape * SCRAPE_MS }] };
    });
    return compressSync(Buffer.from(encodeWriteV1({ timeseries })));
  });
};

const HEADERS = {
  "content-encoding": "snappy",
  "content-type": "application/x-protobuf",
  "x-prometheus-remote-write-version": "0.1.0",
};

const post = (url: string, agent: Agent, body: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    const headers = { ...HEADERS, "content-length": body.length };
    const outgoing = request(url, { method: "POST", agent, headers }, (response) => {
      response.resume();
      response.once("end", () => {
        const status = response.statusCode ?? 0;
        if (status >= 200 && status < 300) resolve();
        else reject(new Error(`${url} answered ${status}`));
      });
    });
    outgoing.once("error", reject);
    outgoing.end(body);
  });

/** Samples that a peer takes for each second of its processor time. */
export const remoteWriteRate = async (peer: Peer, samples: number): Promise<number> => {
  const scrapes = Math.ceil(samples / SERIES / CONNECTIONS);
  const bodies = Array.from({ length: CONNECTIONS }, (_, connection) => requestsOf(connection, scrapes));
  const agent = new Agent({ keepAlive: true });
  const before = cpuSeconds(peer.pid);
  await Promise.all(
    bodies.map(async (requests) => {
      for (const body of requests) await post(`${peer.url}/api/v1/write`, agent, body);
    }),
  );
  await delay(SETTLE_MS);
  agent.destroy();
  return (scrapes * SERIES * CONNECTIONS) / (cpuSeconds(peer.pid) - before);
};
