import { parseArgs } from "node:util";

interface Benchmark {
  readonly summary: string;
  readonly options: readonly string[];
  /** Options without a value. */
  readonly flags?: readonly string[];
  readonly load: () => Promise<{ run(options: Readonly<Record<string, string>>): Promise<void> }>;
}

/** The last line of each is one JSON object. */
const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  ingest: {
    summary: "rows per second from the bus into the store, beside the engine's own limit, and what is lost or doubled",
    options: ["runs", "log-rows", "metric-rows", "bus", "peer-samples", "peer-lines"],
    load: () => import("./ingest.ts"),
  },
  latency: {
    summary: "how long a row takes from the producer until a query sees it, at 10, 50 and 80 % of the capacity",
    options: ["bus", "seconds", "capacity-rows", "signal"],
    load: () => import("./latency.ts"),
  },
  memory: {
    summary: "resident memory of the ingest process while a backlog at Kafka drains",
    options: ["log-rows", "metric-rows"],
    load: () => import("./memory.ts"),
  },
  detectors: {
    summary: "what detectors cost: log lines beside Drain3, points, forecasts per CPU-second; bytes of a series",
    options: ["lines", "log-file"],
    load: () => import("./detectors.ts"),
  },
  receivers: {
    summary: "records per CPU-second that each receiver takes, over HTTP and into the embedded bus, beside peers",
    options: ["runs", "records", "only", "profile"],
    load: () => import("./receivers.ts"),
  },
  storage: {
    summary:
      "bytes on disk of a sample and of a log record, beside Prometheus and VictoriaMetrics, and what it costs inserts",
    options: ["runs", "hosts", "hours", "log-rows"],
    load: () => import("./storage.ts"),
  },
  "text-index": {
    summary: "what kinds of index on words cost and save; with --out the page of the docs",
    options: ["runs", "log-rows", "out"],
    load: () => import("./storage/text-index.ts"),
  },
  rollups: {
    summary: "what it costs to keep series by the minute and hour: a materialised view, or a job",
    options: ["runs", "hours"],
    load: () => import("./rollups.ts"),
  },
  scaling: {
    summary: "what one core does and what a row weighs, from the others: docs/SCALING.md is made of it",
    options: ["from", "out"],
    load: () => import("./scaling.ts"),
  },
  agent: {
    summary: "what the agent takes of a host, beside netdata, collectd and node exporter, and how fast it reads logs",
    options: ["runs", "seconds", "lines"],
    load: () => import("./agent.ts"),
  },
  channel: {
    summary:
      "commands through three tiers beside nats-server: rates, CPU, latency, memory; --decide: frames beside WebSocket",
    options: ["agents", "seconds", "runs", "part"],
    flags: ["decide"],
    load: () => import("./channel.ts"),
  },
  "channel-kill": {
    summary: "commands while control, site servers and agents are killed at random: lost and run twice, counted",
    options: ["commands", "agents", "per-kill"],
    load: () => import("./channel-kill.ts"),
  },
  idle: {
    summary: "how soon the embedded platform is ready, and what it costs while nothing happens",
    options: [],
    load: () => import("./idle.ts"),
  },
  fuzz: {
    summary: "damaged inputs for the batch codec and every receiver, for as long as you like",
    options: ["cases", "seed", "target"],
    load: () => import("./fuzz.ts"),
  },
};

const help = (): string => {
  const lines = Object.entries(BENCHMARKS).map(([name, { summary, options }]) => {
    const flags = options.map((option) => `[--${option} N]`).join(" ");
    return `  ${name} ${flags}\n      ${summary}`;
  });
  return `npm run bench -- <name> [options]\n\n${lines.join("\n")}\n`;
};

const main = async (): Promise<void> => {
  const names = new Set(Object.values(BENCHMARKS).flatMap(({ options }) => options));
  const flags = new Set(Object.values(BENCHMARKS).flatMap(({ flags = [] }) => flags));
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...Object.fromEntries([...names].map((name) => [name, { type: "string" as const }])),
      ...Object.fromEntries([...flags].map((name) => [name, { type: "boolean" as const }])),
    },
  });
  const [name] = positionals;
  const benchmark = name === undefined ? undefined : BENCHMARKS[name];
  if (benchmark === undefined) {
    process.stdout.write(name === undefined ? help() : `There is no benchmark ${name}.\n\n${help()}`);
    process.exitCode = name === undefined ? 0 : 2;
    return;
  }
  const options: Record<string, string> = {};
  for (const [key, value] of Object.entries(values)) options[key] = String(value);
  await (await benchmark.load()).run(options);
};

await main();
