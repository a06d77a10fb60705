import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createKafkaBus } from "@homeostat/app";
import { TELEMETRY_GROUP } from "@homeostat/ingest";
import { type Bus, topics } from "@homeostat/schemas";
import { Broker } from "../test/kafka/broker.ts";
import { type BenchEngine, benchLog, startBenchEngine } from "./ingest/engine.ts";
import { encodeLoad, messagesOf, PARTITIONS, type Signal, TOPIC_OF_SIGNAL } from "./ingest/workload.ts";
import { rounded } from "./numbers.ts";

/*
 * The ingest process alone, started as a user starts it (`parts: [ingest]`), while it drains a backlog that waits at Kafka; its store is
 * an engine that this benchmark runs, so that nothing else of ours is in the process. Resident memory is read from /proc.
 */

const HOMEOSTAT = fileURLToPath(new URL("../app/bin/homeostat.mjs", import.meta.url));
const SAMPLE_MS = 200;
const SETTLE_MS = 3000;
const PUBLISH_MESSAGES = 16;
/** Encoded and published a piece at a time, so that this process stays small. */
const PIECE_ROWS = 1_000_000;
const READY_MS_MAX = 60_000;
const DRAIN_MS_MAX = 600_000;

interface Sample {
  readonly seconds: number;
  readonly rssMb: number;
}

const rssMb = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

const fillBacklog = async (bus: Bus, signal: Signal, rows: number): Promise<number> => {
  let published = 0;
  for (let piece = 0; published < rows; piece++) {
    const load = encodeLoad(signal, `memory-${piece}`, Math.min(PIECE_ROWS, rows - published));
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const messages = messagesOf(load, partition);
      for (let at = 0; at < messages.length; at += PUBLISH_MESSAGES)
        await bus.publish(messages.slice(at, at + PUBLISH_MESSAGES));
    }
    published += load.rows;
  }
  return published;
};

interface IngestProcess {
  readonly pid: number;
  stop(): Promise<void>;
}

const startIngestProcess = async (config: string): Promise<IngestProcess> => {
  const child = spawn(process.execPath, [HOMEOSTAT, "start", "--config", config], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("ingest was not ready in time")), READY_MS_MAX);
    child.once("exit", () => reject(new Error("ingest ended before it was ready")));
    child.stdout.on("data", (chunk: Buffer) => {
      if (!chunk.includes("ready in")) return;
      clearTimeout(timer);
      resolve();
    });
  });
  const stop = async (): Promise<void> => {
    child.kill("SIGINT");
    await ended;
  };
  return { pid: child.pid ?? 0, stop };
};

/** Least squares over the samples' second half: what it grows by once it is at work. */
const slopeMbPerMinute = (samples: readonly Sample[]): number => {
  const late = samples.slice(samples.length >> 1);
  const meanX = late.reduce((sum, { seconds }) => sum + seconds, 0) / late.length;
  const meanY = late.reduce((sum, each) => sum + each.rssMb, 0) / late.length;
  const over = late.reduce((sum, each) => sum + (each.seconds - meanX) * (each.rssMb - meanY), 0);
  const under = late.reduce((sum, each) => sum + (each.seconds - meanX) ** 2, 0);
  return (over / under) * 60;
};

const isDrained = async (bus: Bus): Promise<boolean> => {
  const lags = await Promise.all(Object.values(TOPIC_OF_SIGNAL).map((topic) => bus.lag(TELEMETRY_GROUP, topic)));
  return lags.flat().every((messages) => messages === 0);
};

const sampleWhile = async (pid: number, isDone: () => Promise<boolean>): Promise<readonly Sample[]> => {
  const samples: Sample[] = [];
  const startedAt = performance.now();
  let [doneAt, askedAt, isOver] = [0, 0, false];
  for (let now = startedAt; !isOver || now - doneAt < SETTLE_MS; now = performance.now()) {
    if (now - startedAt > DRAIN_MS_MAX) throw new Error("the backlog did not drain in time");
    samples.push({ seconds: (now - startedAt) / 1000, rssMb: rssMb(pid) });
    if (!isOver && now - askedAt > 1000) {
      askedAt = now;
      isOver = await isDone();
      doneAt = performance.now();
    }
    await delay(SAMPLE_MS);
  }
  return samples;
};

const drain = async (engine: BenchEngine, broker: Broker, bus: Bus): Promise<readonly Sample[]> => {
  const dir = mkdtempSync(join(tmpdir(), "homeostat-memory-"));
  const config = join(dir, "homeostat.yaml");
  const passwordFile = join(dir, "password");
  const { url, username, password } = engine;
  writeFileSync(passwordFile, password, { mode: 0o600 });
  const options = {
    data_dir: join(dir, "data"),
    parts: ["ingest"],
    bus: { kind: "kafka", brokers: [broker.address] },
    store: { kind: "clickhouse", url, username, password: { file: passwordFile } },
  };
  // JSON is YAML.
  writeFileSync(config, JSON.stringify(options));
  try {
    const ingest = await startIngestProcess(config);
    try {
      return await sampleWhile(ingest.pid, () => isDrained(bus));
    } finally {
      await ingest.stop();
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const rows = { logs: Number(options["log-rows"] ?? 2_000_000), metrics: Number(options["metric-rows"] ?? 8_000_000) };
  const engine = await startBenchEngine();
  const broker = await Broker.create();
  try {
    await broker.start();
    const bus = await createKafkaBus({ brokers: [broker.address], clientId: "bench", topics: topics(), log: benchLog });
    const published = {
      logs: await fillBacklog(bus, "logs", rows.logs),
      metrics: await fillBacklog(bus, "metrics", rows.metrics),
    };
    process.stdout.write(`a backlog of ${published.logs} log rows and ${published.metrics} samples waits\n`);
    const samples = await drain(engine, broker, bus);
    await bus.stop();
    const [logs = 0, metrics = 0] = await engine.numbers(
      "SELECT (SELECT count() FROM logs), (SELECT count() FROM metric_samples)",
    );
    const values = samples.map((each) => each.rssMb);
    for (const { seconds, rssMb: mb } of samples.filter((_, index) => index % 10 === 0))
      process.stdout.write(`${seconds.toFixed(1).padStart(7)} s ${mb.toFixed(0).padStart(5)} MB\n`);
    process.stdout.write(
      `${JSON.stringify({
        rss_mb_max: rounded(Math.max(...values), 1),
        rss_mb_start: rounded(values[0] ?? Number.NaN, 1),
        rss_mb_end: rounded(values.at(-1) ?? Number.NaN, 1),
        slope_mb_per_minute: rounded(slopeMbPerMinute(samples), 1),
        seconds: rounded(samples.at(-1)?.seconds ?? Number.NaN, 1),
        missing: published.logs + published.metrics - logs - metrics,
      })}\n`,
    );
  } finally {
    await broker.dispose();
    await engine.stop();
  }
};
