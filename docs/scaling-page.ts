import { z } from "zod";

const Positive = z.number().positive();

/** docs/measured.json, written by `npm run bench -- scaling`: what one second of one core does, and what a row weighs. */
export const Measured = z.strictObject({
  /** The day, as 2026-11-21. */
  on: z.iso.date(),
  machine: z.strictObject({ cpu: z.string(), cores: z.int(), memory_gib: z.number(), node: z.string() }),
  /** Rows per CPU-second of the process that is named first. */
  ingest_log_rows: Positive,
  ingest_samples: Positive,
  clickhouse_log_rows: Positive,
  clickhouse_samples: Positive,
  gateway_otlp_log_records: Positive,
  gateway_remote_write_samples: Positive,
  detectors_log_lines: Positive,
  detectors_points: Positive,
  /** Bytes: of a row on the bus and on ClickHouse's disk, of a series in a detector's memory, of an ingest process. */
  bus_bytes_log_row: Positive,
  bus_bytes_sample: Positive,
  disk_bytes_log_row: Positive,
  disk_bytes_sample: Positive,
  memory_bytes_series: Positive,
  memory_bytes_ingest: Positive,
});
export type Measured = z.infer<typeof Measured>;

/** What one host sends in a busy second. A fleet of your own: measure it with `homeostat ledger`. */
const PER_HOST = { logRows: 20, samples: 50, series: 750 } as const;
/** The busiest second against the average one. */
const PEAK = 3;
/** Nothing is planned to be busier than this, so that a backlog of an hour is gone an hour later and one of two may fail. */
const BUSY_MAX = 0.5;
/** Of ClickHouse's cores, what inserts may take: merges cost about as much again, and queries want the rest. */
const INSERT_SHARE = 0.25;
const CORES_PER_SHARD = 16;
const REPLICAS = 2;
const DAYS = { bus: 2, logs: 14, samples: 30 } as const;
const DISK_FULL_MAX = 0.7;
const DISK_BYTES_PER_SHARD = 4e12;
/** An ingest process is one thread beside kafkajs's and zlib's. */
const CORES_PER_INGEST = 1;
const PARTITIONS_PER_INGEST = 2;

interface Fleet {
  readonly hosts: number;
  readonly logRows: number;
  readonly samples: number;
  readonly series: number;
}

const fleet = (hosts: number): Fleet => ({
  hosts,
  logRows: hosts * PER_HOST.logRows,
  samples: hosts * PER_HOST.samples,
  series: hosts * PER_HOST.series,
});

const count = (value: number): string => {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))} k`;
  return String(Math.round(value));
};

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const bytes = (value: number): string => {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3));
  return `${Number((value / 1000 ** power).toPrecision(3))} ${UNITS[power]}`;
};

const cores = (value: number): string => (value < 0.1 ? "< 0.1" : value.toFixed(1));
const atLeast = (least: number, value: number): number => Math.max(least, Math.ceil(value));

/** What a fleet needs, from the figures alone: the steps are those of the page's table, in its order. */
export const sizeOf = (hosts: number, m: Measured) => {
  const { logRows, samples, series } = fleet(hosts);
  const ingestCores = PEAK * (logRows / m.ingest_log_rows + samples / m.ingest_samples);
  const ingestProcesses = atLeast(2, ingestCores / (CORES_PER_INGEST * BUSY_MAX));
  const insertCores = PEAK * (logRows / m.clickhouse_log_rows + samples / m.clickhouse_samples);
  const day = 86_400;
  const storeBytes = day * (logRows * m.disk_bytes_log_row * DAYS.logs + samples * m.disk_bytes_sample * DAYS.samples);
  const shards = atLeast(
    1,
    Math.max(insertCores / INSERT_SHARE / CORES_PER_SHARD, storeBytes / DISK_FULL_MAX / DISK_BYTES_PER_SHARD),
  );
  const detectorCores = PEAK * (logRows / m.detectors_log_lines + samples / m.detectors_points);
  const detectorProcesses = atLeast(1, detectorCores / BUSY_MAX);
  const busBytes = day * DAYS.bus * (logRows * m.bus_bytes_log_row + samples * m.bus_bytes_sample);
  const gatewayCores = PEAK * (logRows / m.gateway_otlp_log_records + samples / m.gateway_remote_write_samples);
  return {
    logRows,
    samples,
    ingestCores,
    ingestProcesses,
    partitions: Math.max(ingestProcesses * PARTITIONS_PER_INGEST, detectorProcesses),
    insertCores,
    shards,
    storeBytes,
    busBytes,
    detectorCores,
    detectorProcesses,
    detectorMemoryBytes: series * m.memory_bytes_series,
    gatewayCores,
    gatewayProcesses: atLeast(2, gatewayCores / BUSY_MAX),
  };
};

const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(header), row(header.map(() => "---")), ...rows.map(row)].join("\n");

const figures = (m: Measured): string =>
  table(
    ["what", "logs", "metrics"],
    [
      [
        "ingest: rows a CPU-second, from Kafka to ClickHouse's socket",
        count(m.ingest_log_rows),
        count(m.ingest_samples),
      ],
      ["ClickHouse: rows inserted a CPU-second", count(m.clickhouse_log_rows), count(m.clickhouse_samples)],
      [
        "gateway: OTLP log records, remote-write samples a CPU-second",
        count(m.gateway_otlp_log_records),
        count(m.gateway_remote_write_samples),
      ],
      ["detectors: lines, points a CPU-second", count(m.detectors_log_lines), count(m.detectors_points)],
      ["a row on the bus", bytes(m.bus_bytes_log_row), bytes(m.bus_bytes_sample)],
      ["a row on ClickHouse's disk, one replica", bytes(m.disk_bytes_log_row), bytes(m.disk_bytes_sample)],
    ],
  );

const EXAMPLES = [1_000, 10_000, 100_000] as const;

const examples = (m: Measured): string => {
  const sizes = EXAMPLES.map((hosts) => sizeOf(hosts, m));
  const line = (name: string, cell: (size: ReturnType<typeof sizeOf>) => string): readonly string[] => [
    name,
    ...sizes.map(cell),
  ];
  return table(
    ["", ...EXAMPLES.map((hosts) => `${count(hosts)} hosts`)],
    [
      line("log rows a second, average", ({ logRows }) => count(logRows)),
      line("samples a second, average", ({ samples }) => count(samples)),
      line("ingest, cores at the peak", ({ ingestCores }) => cores(ingestCores)),
      line("**ingest processes**", ({ ingestProcesses }) => `**${ingestProcesses}**`),
      line("**partitions of each telemetry topic**", ({ partitions }) => `**${partitions}**`),
      line("bus, two days, one replica", ({ busBytes }) => bytes(busBytes)),
      line("ClickHouse, cores for inserts at the peak", ({ insertCores }) => cores(insertCores)),
      line("ClickHouse, disk, one replica", ({ storeBytes }) => bytes(storeBytes)),
      line(`**shards of ${CORES_PER_SHARD} cores, ${REPLICAS} replicas each**`, ({ shards }) => `**${shards}**`),
      line("detectors, cores at the peak", ({ detectorCores }) => cores(detectorCores)),
      line("**detector processes**", ({ detectorProcesses }) => `**${detectorProcesses}**`),
      line("detectors, memory for series", ({ detectorMemoryBytes }) => bytes(detectorMemoryBytes)),
      line("gateways, were all of it sent to them", ({ gatewayProcesses }) => String(gatewayProcesses)),
    ],
  );
};

/** docs/SCALING.md but for its first line. */
export const scalingPage = (m: Measured): readonly string[] => [
  "# Scaling",
  `Every number here follows from what one core was measured to do on ${m.on} (${m.machine.cores} cores of ${m.machine.cpu}, ${m.machine.memory_gib} GiB, Node ${m.machine.node}), by the rules below. \`npm run bench -- scaling\` measures your machine and writes \`docs/measured.json\`; \`npm run docs\` writes this page from it. Clusters of these sizes have not been run: the examples are arithmetic, not reports.`,
  "## What one core does",
  figures(m),
  `An ingest process holds ${bytes(m.memory_bytes_ingest)} at most while a backlog drains; a watched series takes ${bytes(m.memory_bytes_series)} of a detector's memory.`,
  "## Rules",
  `- A host is taken to send ${PER_HOST.logRows} log rows and ${PER_HOST.samples} samples a second from ${PER_HOST.series} series; the busiest second is ${PEAK} times the average. \`homeostat ledger\` tells what yours send.
- **Ingest processes** are one core each and planned to be half busy at the peak, two at least: one may fail, and a backlog drains at the speed at which it grew.
- **Partitions**: ${PARTITIONS_PER_INGEST} for each ingest process and at least one for each detector process, as many for logs as for metrics. A partition is read by one process of each group, so partitions cap how many can share the work. More partitions later move hosts between them: do it while nothing waits (ADR 0006), or begin with what the next two years need.
- **Detectors** share the partitions of the same topics through groups of their own; a series is watched where its host's partition is.
- **Shards**: inserts get a quarter of a shard's cores (merges take about as much again, queries the rest), and its disk (${bytes(DISK_BYTES_PER_SHARD)}) is filled to ${DISK_FULL_MAX * 100} % at most. Rows go to a shard by host and service (logs) or by series (metrics), so one series' samples lie together.
- **Replicas**: ${REPLICAS}. They do not make inserts faster; they take queries, and the loss of one machine. Ingest's insert is acknowledged by one replica of the shard (\`distributed_foreground_insert\`); set \`insert_quorum\` in the user's profile where the loss of a machine within seconds of an insert must lose nothing.
- **Retention**: logs ${DAYS.logs} days, samples ${DAYS.samples} days (the defaults), telemetry ${DAYS.bus} days on the bus: that is how long ClickHouse may be away. The topics that Homeostat makes keep 512 MiB a partition at most, for small machines: set \`retention.bytes\` of the telemetry topics to the bus's line below, divided by the partitions.
- **Gateways** cost more than agents, because what others send has to be decoded and encoded anew; the last line is what they would need if nobody used the agent.`,
  "## Worked examples",
  examples(m),
  "## Where each limit is set",
  table(
    ["limit", "set by"],
    [
      [
        "partitions",
        "the topics on Kafka (`kafka-topics --alter`); Homeostat makes missing topics with the defaults of [topics](reference/topics.md)",
      ],
      [
        "ingest, detector, gateway processes",
        "how many processes run with `parts: [ingest]`, `[detectors]`, `[receivers]`",
      ],
      ["shards and replicas", "the cluster in ClickHouse's `remote_servers`; `analytics.cluster` names it"],
      ["retention", "`analytics.ttl_days`"],
    ],
  ),
];
