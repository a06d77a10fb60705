import { readFileSync } from "node:fs";
import { TemplateMiner } from "@homeostat/detectors";
import { median } from "../numbers.ts";
import { drain3LinesPerCpuSecond } from "./drain3-speed.ts";
import { linesOf, linesOfChunk } from "./log-stream.ts";

const CHUNK_LINES = 100_000;
/** The first chunk warms up: the compiler's work is not measured. */
const LINES_DEFAULT = 20 * CHUNK_LINES;
/** A file is mined so often, each time anew. */
const FILE_RUNS = 6;
const MEMORY_EVERY_CHUNKS = 10;

export interface LogSpeed {
  readonly log_lines_per_cpu_s: number;
  /** null where Drain3 could not be run. */
  readonly log_ratio_to_drain3: number | null;
}

const mine = (miner: TemplateMiner, lines: readonly Buffer[]): number => {
  const before = process.cpuUsage();
  for (const line of lines) miner.classify(line);
  const { user, system } = process.cpuUsage(before);
  return lines.length / ((user + system) / 1_000_000);
};

const megabytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

const report = (miner: TemplateMiner, lines: number): void => {
  const { heapUsed, rss } = process.memoryUsage();
  process.stderr.write(
    `${lines} lines: ${miner.size} templates, heap ${megabytes(heapUsed)}, resident ${megabytes(rss)}\n`,
  );
};

/** One miner over a stream whose templates come and go, chunk by chunk. */
const mineStream = (lines: number): readonly number[] => {
  const miner = new TemplateMiner();
  const chunks = Math.max(2, Math.ceil(lines / CHUNK_LINES));
  return Array.from({ length: chunks }, (_, chunk) => {
    const rate = mine(miner, linesOfChunk(chunk, CHUNK_LINES));
    if ((chunk + 1) % MEMORY_EVERY_CHUNKS === 0) report(miner, (chunk + 1) * CHUNK_LINES);
    return rate;
  }).slice(1);
};

const mineFile = (lines: readonly Buffer[]): readonly number[] =>
  Array.from({ length: FILE_RUNS }, () => mine(new TemplateMiner(), lines)).slice(1);

/** Log lines per CPU-second of this process, masking included, and how many times Drain3's on the same lines: medians of several runs. */
export const logSpeed = async (options: Readonly<Record<string, string>>): Promise<LogSpeed> => {
  const file = options["log-file"];
  const sample = file === undefined ? linesOfChunk(0, CHUNK_LINES) : linesOf(readFileSync(file));
  const rate = median(file === undefined ? mineStream(Number(options.lines ?? LINES_DEFAULT)) : mineFile(sample));
  let ratio: number | null = null;
  try {
    ratio = Number((rate / drain3LinesPerCpuSecond(sample.slice(0, CHUNK_LINES))).toFixed(1));
  } catch (error) {
    process.stderr.write(`Drain3 was not run: ${error instanceof Error ? error.message : String(error)}\n`);
  }
  return { log_lines_per_cpu_s: Math.round(rate), log_ratio_to_drain3: ratio };
};
