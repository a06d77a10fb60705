import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { DataSet, SeriesOfSet } from "./data-set.ts";

/** What a peer takes for the samples, and how many of them it gives back changed; null where its program is not installed. */
export interface PeerSize {
  readonly bytes: number;
  /** null: not checked. */
  readonly changed: number | null;
}

const isInstalled = (program: string): boolean => spawnSync(program, ["--version"]).error === undefined;

const bytesUnder = async (dir: string): Promise<number> => {
  const names = await readdir(dir, { recursive: true });
  const sizes = await Promise.all(names.map(async (name) => stat(join(dir, name))));
  return sizes.reduce((sum, one) => sum + (one.isFile() ? one.size : 0), 0);
};

const withDir = async <T>(use: (dir: string) => Promise<T>): Promise<T> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-peer-"));
  try {
    return await use(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
};

/** Prometheus's names have no dots. */
const labelsOf = ({ labels }: SeriesOfSet): readonly (readonly [string, string])[] =>
  Object.entries(labels).map(([name, value]) => [name.replaceAll(".", "_"), value]);

/** Lines of one file, with the stream's own back-pressure. */
const writeLines = async (path: string, chunks: Iterable<string>): Promise<void> => {
  const file = createWriteStream(path);
  for (const chunk of chunks) if (!file.write(chunk)) await once(file, "drain");
  file.end();
  await finished(file);
};

function* openMetrics({ series, times }: DataSet): Generator<string> {
  // A metric's series stand together.
  const byName = series.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  for (const one of byName) {
    const head = `${one.name}{${labelsOf(one)
      .map(([name, value]) => `${name}="${value}"`)
      .join(",")}}`;
    let lines = "";
    for (const [i, value] of one.values.entries())
      lines += `${head} ${value} ${((times[one.host]?.[i] ?? 0) / 1000).toFixed(3)}\n`;
    yield lines;
  }
  yield "# EOF\n";
}

/** One block of a day, as its compaction leaves them: chunks and index. */
export const prometheusSize = async (set: DataSet): Promise<PeerSize | null> => {
  if (!isInstalled("promtool")) return null;
  return withDir(async (dir) => {
    await writeLines(join(dir, "set.txt"), openMetrics(set));
    const blocks = join(dir, "blocks");
    const args = [
      "tsdb",
      "create-blocks-from",
      "openmetrics",
      "--max-block-duration=24h",
      join(dir, "set.txt"),
      blocks,
    ];
    const { status, stderr } = spawnSync("promtool", args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`promtool failed: ${stderr.slice(-1000)}`);
    return { bytes: await bytesUnder(blocks), changed: null };
  });
};

function* importLines({ series, times }: DataSet): Generator<string> {
  for (const one of series) {
    const metric = { __name__: one.name, ...Object.fromEntries(labelsOf(one)) };
    yield `${JSON.stringify({ metric, values: [...one.values], timestamps: [...(times[one.host] ?? [])] })}\n`;
  }
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
};

const START_MS_MAX = 20_000;
const MERGE_MS_MAX = 60_000;
const POLL_MS = 100;
const IMPORT_SERIES = 50;

const until = async (msMax: number, what: string, holds: () => Promise<boolean>): Promise<void> => {
  for (const end = performance.now() + msMax; performance.now() < end; await delay(POLL_MS)) if (await holds()) return;
  throw new Error(`${what} took more than ${msMax} ms`);
};

/** Series whose values come back otherwise than they went in: how many values. */
const changedValues = async (url: string, { series }: DataSet): Promise<number> => {
  const key = (name: string, labels: readonly (readonly [string, string])[]) =>
    JSON.stringify([name, [...labels].sort(([a], [b]) => (a < b ? -1 : 1))]);
  const sent = new Map(series.map((one) => [key(one.name, labelsOf(one)), one.values]));
  const text = await (await fetch(`${url}/api/v1/export?match[]={__name__!=""}`)).text();
  let changed = 0;
  for (const line of text.trim().split("\n")) {
    const { metric, values } = JSON.parse(line) as { metric: Record<string, string>; values: number[] };
    const { __name__: name = "", ...labels } = metric;
    const wanted = sent.get(key(name, Object.entries(labels)));
    changed += values.reduce((count, value, i) => count + (value === wanted?.[i] ? 0 : 1), 0);
  }
  return changed;
};

const parts = async (url: string): Promise<string> =>
  (await (await fetch(`${url}/metrics`)).text())
    .split("\n")
    .filter((line) => /^vm_(parts|active_merges)\{/.test(line))
    .join(" ");

/** `data` and `indexdb` after a forced merge to one part. */
export const victoriaMetricsSize = async (set: DataSet): Promise<PeerSize | null> => {
  if (!isInstalled("victoria-metrics")) return null;
  return withDir(async (dir) => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const args = [`-storageDataPath=${dir}/vm`, `-httpListenAddr=127.0.0.1:${port}`, "-retentionPeriod=10y"];
    const child = spawn("victoria-metrics", [...args, "-loggerLevel=ERROR"], { stdio: "ignore" });
    const ended = once(child, "exit");
    try {
      const isUp = () =>
        fetch(`${url}/health`).then(
          ({ ok }) => ok,
          () => false,
        );
      await until(START_MS_MAX, "the start of victoria-metrics", isUp);
      const lines = [...importLines(set)];
      for (let at = 0; at < lines.length; at += IMPORT_SERIES)
        await fetch(`${url}/api/v1/import`, { method: "POST", body: lines.slice(at, at + IMPORT_SERIES).join("") });
      await fetch(`${url}/internal/force_flush`);
      await fetch(`${url}/internal/force_merge`);
      const isMerged = async () => {
        const told = await parts(url);
        return (
          /vm_parts\{type="storage\/(small|big)"\} 1\b/.test(told) && !/vm_active_merges\{[^}]*\} [1-9]/.test(told)
        );
      };
      await until(MERGE_MS_MAX, "the merge of victoria-metrics", isMerged);
      const changed = await changedValues(url, set);
      child.kill("SIGTERM");
      await ended;
      return { bytes: (await bytesUnder(`${dir}/vm/data`)) + (await bytesUnder(`${dir}/vm/indexdb`)), changed };
    } finally {
      child.kill("SIGKILL");
    }
  });
};
