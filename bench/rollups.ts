import { nativeInsert } from "@homeostat/analytics";
import { createRollupJob } from "@homeostat/app";
import { BatchBuilder, metricId, seriesFingerprint } from "@homeostat/schemas";
import { measureCpu } from "./ingest/cpu.ts";
import { type BenchEngine, benchLog, startBenchEngine } from "./ingest/engine.ts";
import { median, rounded } from "./numbers.ts";

/*
 * What it costs to keep series by the minute and hour: the same samples (an insert for every ten seconds of all series) go into the table of samples
 * alone, with a materialised view of AggregatingMergeTree beside it, and with the job that sums up what is over. Merges belong to the price: a run
 * ends with one part a day. Who comes first changes from run to run.
 */

type Way = "plain" | "view" | "job";
const WAYS: readonly Way[] = ["plain", "view", "job"];

const STEP_MS = 10_000;
const JOB_EVERY_MS = 300_000;
const HOUR_MS = 3_600_000;
const SERIES = 10_000;
const METRICS = 50;
/** Yesterday's beginning: nothing is in the future, and nothing too old to be kept. */
const START = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 86_400_000;

/** What it takes to answer as `metric_minutes` does. A rise from one block to the next, and a reset's rest, are not in such states. */
const VIEW = `CREATE MATERIALIZED VIEW minutes_view
ENGINE = AggregatingMergeTree PARTITION BY toDate(minute) ORDER BY (metric_id, fingerprint, minute)
SETTINGS non_replicated_deduplication_window = 10000
AS SELECT
  metric_id, fingerprint, toStartOfMinute(timestamp) AS minute,
  countState() AS count, sumState(value) AS sum, minState(value) AS min, maxState(value) AS max,
  argMinState(value, timestamp) AS first, argMaxState(value, timestamp) AS last,
  deltaSumTimestampState(value, toUnixTimestamp64Milli(timestamp)) AS increase
FROM (SELECT metric_id, fingerprint, timestamp, if(divisor = 0, raw, scaled / divisor) AS value FROM metric_samples)
GROUP BY metric_id, fingerprint, minute`;

const TABLES = ["metric_samples", "metric_series", "metric_minutes", "metric_hours", "metric_rollups"];

const seriesAt = (at: number) => {
  const name = `bench.metric_${at % METRICS}`;
  return {
    name,
    kind: at % 2 === 0 ? "counter" : "gauge",
    labels: { "host.name": `host-${Math.floor(at / METRICS)}` },
  };
};
const IDS = Array.from({ length: SERIES }, (_, at) => {
  const { name, labels } = seriesAt(at);
  return { metric_id: metricId(name), fingerprint: seriesFingerprint(name, labels) };
});

let sequence = 0;
const finish = (builder: BatchBuilder<"metric_samples"> | BatchBuilder<"metric_series">): Buffer =>
  Buffer.from(builder.finish({ producer: "bench/rollups", sequence: ++sequence }));

const seriesBatch = (): Buffer => {
  const builder = new BatchBuilder("metric_series");
  for (const [at, id] of IDS.entries()) {
    const { name, kind, labels } = seriesAt(at);
    const rest = { unit: "1", host_name: labels["host.name"], service_name: "", attributes: labels };
    builder.append({ ...id, seen_at: START, metric_name: name, kind, ...rest });
  }
  return finish(builder);
};

const samplesBatch = (step: number): Buffer => {
  const builder = new BatchBuilder("metric_samples");
  for (const [at, id] of IDS.entries()) {
    const value = at % 2 === 0 ? step * (at % 90) : Math.round(5000 * Math.sin(step / 90 + at)) / 100;
    builder.append({ ...id, timestamp: START + step * STEP_MS + (at % 977), value });
  }
  return finish(builder);
};

/** The same request for each way: the engine counts a view's rows as read too, at which the store's own insert would stumble. */
const insert = async (
  { url, username, password }: BenchEngine,
  {
    table,
    body,
    token,
    toViews = "1",
  }: { table: "metric_samples" | "metric_series"; body: Buffer; token: string; toViews?: string },
): Promise<void> => {
  const parameters = new URLSearchParams({
    database: "homeostat",
    query: nativeInsert(table),
    insert_deduplicate: "1",
    insert_deduplication_token: token,
    deduplicate_blocks_in_dependent_materialized_views: toViews,
    async_insert: "0",
    max_insert_threads: "1",
  });
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  const headers = { authorization, "content-encoding": "zstd" };
  const response = await fetch(`${url}/?${parameters}`, { method: "POST", body: new Uint8Array(body), headers });
  if (!response.ok) throw new Error((await response.text()).slice(0, 1000));
  await response.arrayBuffer();
};

/** Merges that are still due are part of the price: everything ends as one part a day. */
const merge = async (engine: BenchEngine, way: Way): Promise<void> => {
  const others = { plain: [], view: ["minutes_view"], job: ["metric_minutes", "metric_hours"] }[way];
  for (const table of ["metric_samples", ...others]) await engine.query(`OPTIMIZE TABLE ${table} FINAL`);
};

const empty = async (engine: BenchEngine): Promise<void> => {
  await engine.query("DROP TABLE IF EXISTS minutes_view SYNC");
  for (const table of TABLES) await engine.query(`TRUNCATE TABLE ${table} SYNC`);
};

interface Spent {
  /** CPU-seconds a million samples: of inserts and merges, and of the job's statements. */
  readonly inserts: number;
  readonly job: number;
}

/** All samples in, as they would come, and all that is due summed up. */
const measure = async (engine: BenchEngine, way: Way, batches: readonly Buffer[]): Promise<Spent> => {
  await empty(engine);
  if (way === "view") await engine.query(VIEW);
  await insert(engine, { table: "metric_series", body: seriesBatch(), token: `series-${sequence}` });
  let nowUnixMs = START;
  const job = createRollupJob({ store: () => engine.store, now: () => nowUnixMs, log: benchLog });
  const stay = new AbortController().signal;
  await job(stay);
  const cpuOf = async (run: () => Promise<void>): Promise<number> =>
    (await measureCpu({ engine: engine.pid }, run)).engine;
  let ofJob = 0;
  const sumUp = async (unixMs: number): Promise<void> => {
    nowUnixMs = unixMs;
    ofJob += await cpuOf(() => job(stay));
  };
  const spent = await cpuOf(async () => {
    for (const [step, body] of batches.entries()) {
      const at = START + step * STEP_MS;
      await insert(engine, { table: "metric_samples", body, token: `${way}-${++sequence}` });
      if (way === "job" && at % JOB_EVERY_MS === 0) await sumUp(at);
    }
    if (way === "job") await sumUp(START + batches.length * STEP_MS + HOUR_MS);
    await merge(engine, way);
  });
  const millions = (batches.length * SERIES) / 1e6;
  return { inserts: (spent - ofJob) / millions, job: ofJob / millions };
};

/** How often a view holds a sample that was inserted three times under one token. */
const timesInView = async (engine: BenchEngine, toViews: "0" | "1"): Promise<number> => {
  await empty(engine);
  await engine.query(VIEW);
  const body = samplesBatch(0);
  for (let time = 0; time < 3; time++)
    await insert(engine, { table: "metric_samples", body, token: `again-${toViews}`, toViews });
  const [rows = 0] = await engine.numbers("SELECT countMerge(count) FROM minutes_view");
  return rows / SERIES;
};

const bytesOf = async (engine: BenchEngine, table: string): Promise<number> => {
  await engine.query(`OPTIMIZE TABLE ${table} FINAL`);
  const [bytes = 0] = await engine.numbers(
    `SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND database = 'homeostat' AND table = '${table}'`,
  );
  return rounded(bytes, 1);
};

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const runs = Number(options.runs ?? 5);
  const hours = Number(options.hours ?? 2);
  const batches = Array.from({ length: (hours * HOUR_MS) / STEP_MS }, (_, step) => samplesBatch(step));
  const engine = await startBenchEngine();
  try {
    const spent: Record<Way, Spent[]> = { plain: [], view: [], job: [] };
    // Run 0 warms up.
    for (let round = 0; round <= runs; round++)
      for (const [turn] of WAYS.entries()) {
        const way = WAYS[(turn + round) % WAYS.length] ?? "plain";
        const each = await measure(engine, way, batches);
        process.stdout.write(
          `run ${round}, ${way.padEnd(6)} CPU-seconds per million samples: inserts and merges ${rounded(each.inserts, 2)}, job ${rounded(each.job, 2)}\n`,
        );
        if (round > 0) spent[way].push(each);
      }
    await measure(engine, "job", batches);
    const bytes = { minutes: await bytesOf(engine, "metric_minutes"), hours: await bytesOf(engine, "metric_hours") };
    const all = (way: Way): number => median(spent[way].map(({ inserts, job }) => inserts + job));
    process.stdout.write(
      `${JSON.stringify({
        view_cpu_ratio_to_plain: rounded(all("view") / all("plain"), 2),
        job_cpu_ratio_to_plain: rounded(all("job") / all("plain"), 2),
        view_inserts_ratio_to_plain: rounded(median(spent.view.map((each) => each.inserts)) / all("plain"), 2),
        plain_cpu_s_per_million: rounded(all("plain"), 2),
        job_cpu_s_per_million: rounded(median(spent.job.map(({ job }) => job)), 2),
        bytes_a_minute: bytes.minutes,
        bytes_an_hour: bytes.hours,
        view_times_counted_with_deduplication: await timesInView(engine, "1"),
        view_times_counted_without: await timesInView(engine, "0"),
      })}\n`,
    );
  } finally {
    await engine.stop();
  }
};
