import { gzipSync } from "node:zlib";
import { nativeInsert } from "@homeostat/analytics";
import { BatchBuilder, metricId, seriesFingerprint, type TelemetrySchema } from "@homeostat/schemas";
import { median } from "./numbers.ts";
import { type DataSet, dataSet } from "./storage/data-set.ts";
import { type BenchEngine, bodiesOf, insertAll, type Sized, sizeOf, startBenchEngine } from "./storage/engine.ts";
import { logLines } from "./storage/log-lines.ts";
import { type PeerSize, prometheusSize, victoriaMetricsSize } from "./storage/peers.ts";

/*
 * Bytes on disk for the same samples: ours after a merge to one part (series included), Prometheus as one block, VictoriaMetrics merged to one
 * part with its index. The rows arrive in the order of their time, as scrapes do. Beside it what the codecs cost an insert: rows per second of
 * the engine's processor time, for our table and for one with the codecs of migration 0001. Log rows stand beside a syslog file and that gzipped.
 */

const DAY_MS = 86_400_000;

/** The codecs that samples had before they were measured here. */
const FORMER_SAMPLES = `CREATE TABLE former_samples (
  metric_id UInt64 CODEC(Delta, ZSTD(1)), fingerprint UInt64 CODEC(Delta, ZSTD(1)),
  timestamp DateTime64(3) CODEC(DoubleDelta, ZSTD(1)), value Float64 CODEC(ZSTD(1)))
ENGINE = MergeTree PARTITION BY toDate(timestamp) ORDER BY (metric_id, fingerprint, timestamp)
SETTINGS non_replicated_deduplication_window = 10000`;

let sequence = 0;

const framesOf = <S extends TelemetrySchema>(
  schema: S,
  rows: Iterable<Parameters<BatchBuilder<S>["append"]>[0]>,
): readonly Uint8Array[] => {
  const builder = new BatchBuilder(schema);
  const frames: Uint8Array[] = [];
  const finish = () => frames.push(builder.finish({ producer: "bench/storage", sequence: ++sequence }));
  for (const row of rows) {
    builder.append(row);
    if (builder.isFull) finish();
  }
  if (builder.rowCount > 0) finish();
  return frames;
};

const identities = ({ series }: DataSet) =>
  series.map(({ name, labels }) => ({ metric_id: metricId(name), fingerprint: seriesFingerprint(name, labels) }));

function* sampleRows(set: DataSet) {
  const ids = identities(set);
  for (let i = 0; i < (set.times[0]?.length ?? 0); i++)
    for (const [at, { host, values }] of set.series.entries()) {
      const id = ids[at];
      if (id !== undefined) yield { ...id, timestamp: set.times[host]?.[i] ?? 0, value: values[i] ?? 0 };
    }
}

function* seriesRows(set: DataSet) {
  const ids = identities(set);
  for (const [at, { name, kind, unit, labels, host }] of set.series.entries()) {
    const id = ids[at];
    if (id === undefined) continue;
    const names = { host_name: labels["host.name"] ?? "", service_name: labels["service.name"] ?? "" };
    yield { ...id, seen_at: set.times[host]?.[0] ?? 0, metric_name: name, kind, unit, ...names, attributes: labels };
  }
}

interface Metrics {
  readonly samples: Sized;
  readonly series: Sized;
  readonly former: Sized;
  readonly rowsPerCpuSecond: number;
  readonly formerRowsPerCpuSecond: number;
}

/** Both tables in turn, so that both meet the same weather; the last run's rows are what is measured. */
const measureMetrics = async (engine: BenchEngine, set: DataSet, runs: number): Promise<Metrics> => {
  const bodies = bodiesOf(framesOf("metric_samples", sampleRows(set)));
  await engine.query(FORMER_SAMPLES);
  const rates = { metric_samples: [] as number[], former_samples: [] as number[] };
  const statements = {
    metric_samples: nativeInsert("metric_samples"),
    former_samples: "INSERT INTO former_samples FORMAT Native",
  };
  // The first warms up.
  for (let run = 0; run <= runs; run++)
    for (const table of ["metric_samples", "former_samples"] as const) {
      await engine.query(`TRUNCATE TABLE ${table}`);
      const seconds = await insertAll(engine, statements[table], bodies);
      if (run > 0) rates[table].push(set.samples / seconds);
    }
  for (const body of bodiesOf(framesOf("metric_series", seriesRows(set))))
    await engine.query(nativeInsert("metric_series"), body);
  return {
    samples: await sizeOf(engine, "metric_samples"),
    series: await sizeOf(engine, "metric_series"),
    former: await sizeOf(engine, "former_samples"),
    rowsPerCpuSecond: median(rates.metric_samples),
    formerRowsPerCpuSecond: median(rates.former_samples),
  };
};

interface Logs {
  readonly sized: Sized;
  readonly fileBytes: number;
  readonly gzipBytes: number;
}

const measureLogs = async (engine: BenchEngine, rows: number, startUnixMs: number): Promise<Logs> => {
  const lines = [...logLines(rows, { startUnixMs })];
  for (const body of bodiesOf(framesOf("logs", lines))) await engine.query(nativeInsert("logs"), body);
  const file = lines
    .map(({ timestamp, host_name, service_name, body, attributes }) => {
      const at = new Date(Number(timestamp / 1_000_000n)).toISOString();
      return `${at} ${host_name} ${service_name}: ${body.replaceAll("\n", "#012")} ${JSON.stringify(attributes)}\n`;
    })
    .join("");
  return { sized: await sizeOf(engine, "logs"), fileBytes: Buffer.byteLength(file), gzipBytes: gzipSync(file).length };
};

const rounded = (value: number): number => Math.round(value * 1000) / 1000;

const columnLines = ({ columns, rows }: Sized): string =>
  Object.entries(columns)
    .sort(([, a], [, b]) => b - a)
    .map(([name, bytes]) => `    ${name.padEnd(20)} ${(bytes / rows).toFixed(3)}\n`)
    .join("");

const peerLine = (name: string, peer: PeerSize | null, samples: number): string =>
  peer === null
    ? `  ${name}: its program is not installed\n`
    : `  ${name.padEnd(24)} ${(peer.bytes / samples).toFixed(3)}${peer.changed !== null && peer.changed > 0 ? ` (${peer.changed} values come back changed)` : ""}\n`;

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const size = { hosts: Number(options.hosts ?? 14), hours: Number(options.hours ?? 6) };
  const startUnixMs = Math.floor(Date.now() / DAY_MS) * DAY_MS - DAY_MS;
  const set = dataSet({ ...size, startUnixMs });
  const engine = await startBenchEngine();
  try {
    const metrics = await measureMetrics(engine, set, Number(options.runs ?? 5));
    const logs = await measureLogs(engine, Number(options["log-rows"] ?? 300_000), startUnixMs);
    const prometheus = await prometheusSize(set);
    const victoriaMetrics = await victoriaMetricsSize(set);
    report(set, metrics, logs, { prometheus, victoria_metrics: victoriaMetrics });
  } finally {
    await engine.stop();
  }
};

const report = (set: DataSet, metrics: Metrics, logs: Logs, peers: Readonly<Record<string, PeerSize | null>>): void => {
  const { samples } = set;
  const ours = (metrics.samples.bytes + metrics.series.bytes) / samples;
  const found = Object.values(peers).flatMap((peer) => (peer === null ? [] : [peer.bytes / samples]));
  const logRow = logs.sized.bytes / logs.sized.rows;
  process.stdout.write(`${samples} samples of ${set.series.length} series, bytes a sample\n`);
  process.stdout.write(`  ${"homeostat".padEnd(24)} ${ours.toFixed(3)}\n${columnLines(metrics.samples)}`);
  process.stdout.write(`    ${"(series)".padEnd(20)} ${(metrics.series.bytes / samples).toFixed(3)}\n`);
  process.stdout.write(`  ${"with former codecs".padEnd(24)} ${(metrics.former.bytes / samples).toFixed(3)}\n`);
  for (const [name, peer] of Object.entries(peers)) process.stdout.write(peerLine(name, peer, samples));
  process.stdout.write(`${logs.sized.rows} log records, bytes a record\n`);
  process.stdout.write(`  ${"homeostat".padEnd(24)} ${logRow.toFixed(3)}\n${columnLines(logs.sized)}`);
  process.stdout.write(`  ${"syslog file".padEnd(24)} ${(logs.fileBytes / logs.sized.rows).toFixed(3)}\n`);
  process.stdout.write(`  ${"syslog file, gzip".padEnd(24)} ${(logs.gzipBytes / logs.sized.rows).toFixed(3)}\n`);
  process.stdout.write(
    `${JSON.stringify({
      ratio_to_best_peer: found.length === 0 ? null : rounded(ours / Math.min(...found)),
      insert_ratio_to_former_codecs: rounded(metrics.rowsPerCpuSecond / metrics.formerRowsPerCpuSecond),
      bytes_per_sample: rounded(ours),
      bytes_per_sample_of_peers: Object.fromEntries(
        Object.entries(peers).map(([name, peer]) => [name, peer === null ? null : rounded(peer.bytes / samples)]),
      ),
      values_changed_by_peers: Object.fromEntries(
        Object.entries(peers).map(([name, peer]) => [name, peer === null ? null : peer.changed]),
      ),
      bytes_per_log_row: rounded(logRow),
      rows_per_cpu_s: Math.round(metrics.rowsPerCpuSecond),
    })}\n`,
  );
};
