import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createEmbeddedBus } from "@homeostat/app";
import { createIngest, type Ingest, IngestConfig } from "@homeostat/ingest";
import { BATCH_ROWS_MAX, BatchBuilder, type Bus, metricId, type OutgoingMessage, topics } from "@homeostat/schemas";
import { type Engine, silent, startEngine } from "../test/fixtures/batch/engine.ts";

/*
 * Each run inserts the same values twice: once straight into a table of the same definition, in bodies of the sizes that ingest
 * makes and as many at a time as there are partitions ("engine"), and once through the embedded bus and ingest ("pipeline").
 * The pipeline's clock starts at the first publish and stops when a query counts every row. Encoding the rows is the agent's
 * work and not part of either; `encode` is shown for comparison.
 */

type Table = "logs" | "metric_samples";

interface Workload {
  readonly table: Table;
  readonly topic: "telemetry.logs" | "telemetry.metrics";
  readonly rows: number;
  /** What makes a row unique. */
  readonly identity: string;
  readonly encode: (run: number, rows: number) => Uint8Array[];
}

interface Rates {
  readonly engine: number[];
  readonly pipeline: number[];
  readonly encode: number[];
}

const PARTITIONS = 2;
const FRAMES_PER_INSERT = 64;
const INSERT_BYTES_MAX = 8 * 1_048_576;
const PUBLISH_MESSAGES = 16;
const HOSTS = Array.from({ length: 20 }, (_, index) => `web-${index}`);
const VERBS = ["GET", "PUT", "POST", "DELETE"];

/** A small generator with a seed (mulberry32), so that every run of the benchmark sees the same rows. */
const random = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
};

const encodeLogs = (run: number, rows: number): Uint8Array[] => {
  const builder = new BatchBuilder("logs");
  const next = random(run);
  const startNs = BigInt(Date.now() - 3_600_000) * 1_000_000n;
  const values: Uint8Array[] = [];
  const finish = (): number => values.push(builder.finish({ producer: `bench/logs-${run}`, sequence: values.length }));
  for (let row = 0; row < rows; row++) {
    const order = Math.floor(next() * 1e9).toString(36);
    builder.append({
      timestamp: startNs + BigInt(row) * 100_000n,
      severity_number: next() < 0.02 ? 17 : 9,
      service_name: `service-${row % 12}`,
      host_name: HOSTS[row % HOSTS.length] ?? "",
      trace_id: "",
      span_id: "",
      body: `${VERBS[row % 4]} /api/orders/${order} ${next() < 0.05 ? 500 : 200} in ${(next() * 900).toFixed(2)} ms for user ${Math.floor(next() * 1e6)} from 10.${row % 7}.${Math.floor(next() * 255)}.9, request ${run}-${row}`,
      attributes: {
        "http.route": "/api/orders/{id}",
        "k8s.pod.name": `shop-${row % 40}`,
        "thread.name": `worker-${row % 16}`,
      },
    });
    if (builder.isFull) finish();
  }
  if (builder.rowCount > 0) finish();
  return values;
};

const encodeSamples = (run: number, rows: number): Uint8Array[] => {
  const builder = new BatchBuilder("metric_samples");
  const next = random(run);
  const series = 2000;
  const metric = metricId("system.cpu.utilization");
  const start = Date.now() - 7_200_000 + run;
  const values: Uint8Array[] = [];
  const finish = (): number =>
    values.push(builder.finish({ producer: `bench/metrics-${run}`, sequence: values.length }));
  for (let row = 0; row < rows; row++) {
    builder.append({
      metric_id: metric,
      fingerprint: BigInt(row % series) + BigInt(run) * 1_000_000n,
      timestamp: start + Math.floor(row / series) * 1000,
      value: Math.round(next() * 1000) / 1000,
    });
    if (builder.rowCount === BATCH_ROWS_MAX) finish();
  }
  if (builder.rowCount > 0) finish();
  return values;
};

const bodies = (values: readonly Uint8Array[]): Uint8Array[] => {
  const grouped: Uint8Array[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const value of values) {
    const group = grouped.at(-1);
    if (group === undefined || group.length === FRAMES_PER_INSERT || bytes + value.length > INSERT_BYTES_MAX) {
      grouped.push([value]);
      bytes = value.length;
    } else {
      group.push(value);
      bytes += value.length;
    }
  }
  return grouped.map((group) => Buffer.concat(group));
};

/** Rows a second of the engine alone. */
const runEngine = async (engine: Engine, work: Workload, values: readonly Uint8Array[]): Promise<number> => {
  const table = `engine_${work.table}`;
  await engine.query(`DROP TABLE IF EXISTS ${table} SYNC`);
  await engine.query(`CREATE TABLE ${table} AS ${work.table}`);
  const waiting = bodies(values);
  const startedAt = performance.now();
  const connection = async (): Promise<void> => {
    for (let body = waiting.shift(); body !== undefined; body = waiting.shift()) {
      await engine.query(`INSERT INTO ${table} FORMAT Native`, body);
    }
  };
  await Promise.all(Array.from({ length: PARTITIONS }, connection));
  const [count] = await engine.numbers(`SELECT count() FROM ${table}`);
  const seconds = (performance.now() - startedAt) / 1000;
  if (count !== work.rows) throw new Error(`the engine has ${count} of ${work.rows} rows`);
  return work.rows / seconds;
};

/** Rows a second from the first publish until a query counts all of them. */
const runPipeline = async (
  { engine, bus, ingest }: World,
  work: Workload,
  values: readonly Uint8Array[],
): Promise<number> => {
  await engine.query(`TRUNCATE TABLE ${work.table}`);
  const messages: OutgoingMessage[] = values.map((value, index) => ({
    topic: work.topic,
    key: "bench",
    value,
    partition: index % PARTITIONS,
  }));
  const rowsBefore = ingest.status().counts.rowsInserted;
  const startedAt = performance.now();
  for (let at = 0; at < messages.length; at += PUBLISH_MESSAGES) {
    await bus.publish(messages.slice(at, at + PUBLISH_MESSAGES));
  }
  while (ingest.status().counts.rowsInserted - rowsBefore < work.rows) await delay(1);
  const [count] = await engine.numbers(`SELECT count() FROM ${work.table}`);
  const seconds = (performance.now() - startedAt) / 1000;
  if (count === undefined) throw new Error("the count has no answer");
  return work.rows / seconds;
};

const account = async (engine: Engine, work: Workload): Promise<{ lost: number; doubled: number }> => {
  const sql = `SELECT count(), uniqExact(${work.identity}) FROM ${work.table}`;
  const [count = 0, distinct = 0] = await engine.numbers(sql);
  return { lost: work.rows - distinct, doubled: count - distinct };
};

interface World {
  readonly engine: Engine;
  readonly bus: Bus;
  readonly ingest: Ingest;
}

const withWorld = async (use: (world: World) => Promise<void>): Promise<void> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-bench-"));
  const engine = await startEngine({ memoryBytesMax: 1024 * 1_048_576 });
  const bus = await createEmbeddedBus({ dir, topics: topics(), now: Date.now, log: silent });
  const ingest = createIngest({
    bus,
    insert: engine.store,
    // The default gathers for a second, which would only add a second to each run's end.
    config: IngestConfig.parse({ max_wait_ms: 10 }),
    now: Date.now,
    log: silent,
    host: "bench",
    reportFinding: async (finding) => {
      throw new Error(`ingest is in trouble: ${finding.summary}`);
    },
  });
  try {
    await ingest.start();
    await use({ engine, bus, ingest });
  } finally {
    await ingest.stop();
    await bus.stop();
    await engine.stop();
    await rm(dir, { recursive: true, force: true });
  }
};

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

const thousands = (rate: number): string => `${Math.round(rate / 1000)} k`.padStart(8);

const row = (name: string, { engine, pipeline, encode }: Rates): string =>
  `${name.padEnd(16)}${[engine, pipeline, encode].map((each) => thousands(median(each))).join("  ")}    ${ratio({ engine, pipeline }).toFixed(2)}\n`;

/** The median of the runs' own ratios: both halves of a run met the same weather. */
const ratio = ({ engine, pipeline }: Pick<Rates, "engine" | "pipeline">): number =>
  median(pipeline.map((rate, run) => rate / (engine[run] ?? Number.NaN)));

const rounded = (value: number): number => Math.round(value * 1000) / 1000;

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const runs = Number(options.runs ?? 5);
  const workloads: readonly Workload[] = [
    {
      table: "logs",
      topic: "telemetry.logs",
      rows: Number(options["log-rows"] ?? 400_000),
      identity: "body",
      encode: encodeLogs,
    },
    {
      table: "metric_samples",
      topic: "telemetry.metrics",
      rows: Number(options["metric-rows"] ?? 2_000_000),
      identity: "fingerprint, timestamp",
      encode: encodeSamples,
    },
  ];
  const rates: Record<Table, Rates> = {
    logs: { engine: [], pipeline: [], encode: [] },
    metric_samples: { engine: [], pipeline: [], encode: [] },
  };
  const total = { lost: 0, doubled: 0 };
  await withWorld(async (world) => {
    // Run 0 warms up: code, caches, the engine's pools.
    for (let count = 0; count <= runs; count++) {
      for (const work of workloads) {
        const result = await runBoth(world, work, count);
        total.lost += result.lost;
        total.doubled += result.doubled;
        if (count === 0) continue;
        for (const key of ["engine", "pipeline", "encode"] as const) rates[work.table][key].push(result[key]);
      }
    }
  });
  process.stdout.write(`${runs} interleaved runs, medians, rows a second\n`);
  process.stdout.write(`${"".padEnd(16)}  engine  pipeline    encode   ratio\n`);
  for (const { table } of workloads) process.stdout.write(row(table, rates[table]));
  process.stdout.write(
    `${JSON.stringify({
      logs_ratio_to_engine: rounded(ratio(rates.logs)),
      metrics_ratio_to_engine: rounded(ratio(rates.metric_samples)),
      logs_rows_per_s: Math.round(median(rates.logs.pipeline)),
      metrics_rows_per_s: Math.round(median(rates.metric_samples.pipeline)),
      ...total,
    })}\n`,
  );
};

const runBoth = async (world: World, work: Workload, count: number) => {
  const startedAt = performance.now();
  const values = work.encode(count, work.rows);
  const encode = (work.rows / (performance.now() - startedAt)) * 1000;
  const engineFirst = count % 2 === 0;
  const before = engineFirst ? await runEngine(world.engine, work, values) : null;
  const pipeline = await runPipeline(world, work, values);
  const { lost, doubled } = await account(world.engine, work);
  const engine = before ?? (await runEngine(world.engine, work, values));
  process.stdout.write(`${work.table}, run ${count}: engine ${thousands(engine)}, pipeline ${thousands(pipeline)}\n`);
  return { engine, pipeline, encode, lost, doubled };
};
