import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { createInterface } from "node:readline";
import { z } from "zod";

/*
 * What docs/SCALING.md is made of: runs the other benchmarks one after the other, each in a process of its own, and keeps of each last line
 * what one core does and what a row weighs. Half an hour on a quiet machine; `--from DIR` takes last lines that were kept (NAME.json) instead.
 */

const Cpu = z.object({ platform: z.number(), engine: z.number() });

const INGEST = z.object({
  cpu_s_per_million_rows: z.object({ kafka: z.object({ logs: Cpu, metrics: Cpu }) }),
  bus_bytes_per_row: z.object({ logs: z.number(), metrics: z.number() }),
});
const RECEIVERS = z.object({
  otlp_logs_records_per_cpu_s: z.number(),
  remote_write_samples_per_cpu_s: z.number(),
});
const STORAGE = z.object({ bytes_per_sample: z.number(), bytes_per_log_row: z.number() });
const MEMORY = z.object({ rss_mb_max: z.number() });
const DETECTORS = z.object({
  log_lines_per_cpu_s: z.number(),
  anomaly_points_per_cpu_s: z.number(),
  bytes_per_series: z.number(),
});

const lastLineOf = async (name: string, args: readonly string[]): Promise<string> => {
  const child = spawn(process.execPath, ["bench/run.ts", name, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  let last = "";
  for await (const line of createInterface({ input: child.stdout })) {
    process.stdout.write(`${name}: ${line}\n`);
    if (line !== "") last = line;
  }
  return last;
};

const MILLION = 1e6;

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const read = async <T>(name: string, args: readonly string[], shape: z.ZodType<T>): Promise<T> => {
    const text =
      options.from === undefined ? await lastLineOf(name, args) : readFileSync(`${options.from}/${name}.json`, "utf8");
    return shape.parse(JSON.parse(text));
  };
  const ingest = await read("ingest", ["--bus", "kafka"], INGEST);
  const receivers = await read("receivers", [], RECEIVERS);
  const storage = await read("storage", [], STORAGE);
  const memory = await read("memory", [], MEMORY);
  const detectors = await read("detectors", [], DETECTORS);
  const { logs, metrics } = ingest.cpu_s_per_million_rows.kafka;
  const figures = {
    ingest_log_rows: MILLION / logs.platform,
    ingest_samples: MILLION / metrics.platform,
    clickhouse_log_rows: MILLION / logs.engine,
    clickhouse_samples: MILLION / metrics.engine,
    gateway_otlp_log_records: receivers.otlp_logs_records_per_cpu_s,
    gateway_remote_write_samples: receivers.remote_write_samples_per_cpu_s,
    detectors_log_lines: detectors.log_lines_per_cpu_s,
    detectors_points: detectors.anomaly_points_per_cpu_s,
    bus_bytes_log_row: ingest.bus_bytes_per_row.logs,
    bus_bytes_sample: ingest.bus_bytes_per_row.metrics,
    disk_bytes_log_row: storage.bytes_per_log_row,
    disk_bytes_sample: storage.bytes_per_sample,
    memory_bytes_series: detectors.bytes_per_series,
    memory_bytes_ingest: memory.rss_mb_max * MILLION,
  };
  const measured = {
    on: new Date().toISOString().slice(0, 10),
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memory_gib: Math.round(totalmem() / 2 ** 30),
      node: process.versions.node,
    },
    ...Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, Number(value.toPrecision(3))])),
  };
  writeFileSync(options.out ?? "docs/measured.json", `${JSON.stringify(measured, null, 2)}\n`);
  process.stdout.write(`${JSON.stringify(measured)}\n`);
};
