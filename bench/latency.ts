import { setTimeout as delay } from "node:timers/promises";
import type { InsertPort } from "@homeostat/ingest";
import { type BatchHeader, decodeHeader, type OutgoingMessage } from "@homeostat/schemas";
import { type BenchEngine, startBenchEngine } from "./ingest/engine.ts";
import { measurePipeline } from "./ingest/pipeline.ts";
import { encodeLoad, type Load, messagesOf, PARTITIONS, type Signal } from "./ingest/workload.ts";
import { type BusKind, startWorld, type World } from "./ingest/world.ts";
import { median, quantile, rounded, thousands } from "./numbers.ts";

/*
 * Batches are encoded beforehand and published one by one at a fixed rate. A row counts as produced when its batch is handed to the bus (what
 * an agent gathers before that is its own affair), and as queryable when the engine has acknowledged the insert that holds it. That an
 * acknowledged row is seen by a query is tried all along: whenever an insert is acknowledged and no trial is under way, `count()` must
 * give at least what was acknowledged before it was asked.
 */

const SHARES = [0.1, 0.5, 0.8];
const CAPACITY_RUNS = 3;
const DRAIN_MS_MAX = 60_000;
const POLL_MS = 20;

const nameOf = ({ producer, sequence }: Pick<BatchHeader, "producer" | "sequence">): string =>
  `${producer}#${sequence}`;

/** Notes when each batch was acknowledged. */
class Observer {
  readonly insert: InsertPort;
  readonly #engine: BenchEngine;
  readonly acknowledgedAt = new Map<string, number>();
  trials = 0;
  unseen = 0;
  #rows = 0;
  #isTrying = false;

  constructor(engine: BenchEngine) {
    this.#engine = engine;
    this.insert = {
      insertJson: (insert) => engine.store.insertJson(insert),
      lastSequences: (topic, partition) => engine.store.lastSequences(topic, partition),
      insertNative: async (insert) => {
        await engine.store.insertNative(insert);
        const now = performance.now();
        for (const frame of insert.frames) this.acknowledgedAt.set(nameOf(decodeHeader(frame)), now);
        this.#rows += insert.rowCount;
        void this.#try(insert.table, this.#rows);
      },
    };
  }

  /** The table has been emptied, and nothing is under way. */
  begin(): void {
    this.acknowledgedAt.clear();
    this.#rows = 0;
  }

  forgetTrials(): void {
    this.trials = 0;
    this.unseen = 0;
  }

  async #try(table: string, acknowledged: number): Promise<void> {
    if (this.#isTrying) return;
    this.#isTrying = true;
    const [count = 0] = await this.#engine.numbers(`SELECT count() FROM ${table}`);
    this.trials += 1;
    if (count < acknowledged) this.unseen += 1;
    this.#isTrying = false;
  }
}

/** The partitions' batches by turns. */
const inTurns = (load: Load): readonly OutgoingMessage[] => {
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => messagesOf(load, partition));
  return (partitions[0] ?? []).flatMap((_, index) => partitions.flatMap((messages) => messages[index] ?? []));
};

const publishAtRate = async (
  { bus }: World,
  messages: readonly OutgoingMessage[],
  seconds: number,
): Promise<ReadonlyMap<string, number>> => {
  const producedAt = new Map<string, number>();
  const under: Promise<void>[] = [];
  const startedAt = performance.now();
  for (const [index, message] of messages.entries()) {
    const due = startedAt + (index / messages.length) * seconds * 1000;
    const early = due - performance.now();
    if (early > 1) await delay(early);
    if (message.value !== null) producedAt.set(nameOf(decodeHeader(message.value)), performance.now());
    under.push(bus.publish([message]));
  }
  await Promise.all(under);
  return producedAt;
};

interface Latencies {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const measureAt = async (
  world: World,
  observer: Observer,
  engine: BenchEngine,
  { load, seconds }: { load: Load; seconds: number },
): Promise<Latencies> => {
  await engine.query(`TRUNCATE TABLE ${load.table} SYNC`);
  observer.begin();
  const producedAt = await publishAtRate(world, inTurns(load), seconds);
  const deadline = performance.now() + DRAIN_MS_MAX;
  while (observer.acknowledgedAt.size < producedAt.size) {
    if (performance.now() > deadline) throw new Error("not all batches came in in time");
    await delay(POLL_MS);
  }
  const latencies = [...producedAt].map(([name, at]) => (observer.acknowledgedAt.get(name) ?? Number.NaN) - at);
  const sorted = latencies.toSorted((a, b) => a - b);
  return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: sorted.at(-1) ?? Number.NaN };
};

const measureCapacity = async (
  world: World,
  engine: BenchEngine,
  { signal, rows }: { signal: Signal; rows: number },
): Promise<number> => {
  const rates: number[] = [];
  for (let run = 0; run <= CAPACITY_RUNS; run++) {
    const load = encodeLoad(signal, `capacity-${process.pid}-${run}`, rows);
    const { rowsPerSecond } = await measurePipeline(world, engine, load);
    // The first warms up.
    if (run > 0) rates.push(rowsPerSecond);
  }
  return median(rates);
};

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const kind: BusKind = options.bus === "kafka" ? "kafka" : "embedded";
  const signal: Signal = options.signal === "metrics" ? "metrics" : "logs";
  const seconds = Number(options.seconds ?? 20);
  const rows = Number(options["capacity-rows"] ?? (signal === "logs" ? 1_000_000 : 8_000_000));
  const engine = await startBenchEngine();
  try {
    const observer = new Observer(engine);
    const world = await startWorld({ kind, engine, insert: observer.insert });
    try {
      const capacity = await measureCapacity(world, engine, { signal, rows });
      process.stdout.write(`${signal} through the ${kind} bus: capacity ${thousands(capacity)} rows/s\n`);
      observer.forgetTrials();
      const figures: Record<string, number> = {};
      for (const share of SHARES) {
        const load = encodeLoad(signal, `latency-${process.pid}-${share}`, Math.round(capacity * share * seconds));
        const { p50, p99, max } = await measureAt(world, observer, engine, { load, seconds });
        const percent = Math.round(share * 100);
        process.stdout.write(
          `at ${percent} %: p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, worst ${max.toFixed(0)} ms\n`,
        );
        figures[`p50_ms_at_${percent}`] = rounded(p50, 0);
        figures[`p99_ms_at_${percent}`] = rounded(p99, 0);
      }
      process.stdout.write(
        `${JSON.stringify({ ...figures, capacity_rows_per_s: Math.round(capacity), signal, bus: kind, trials: observer.trials, unseen: observer.unseen })}\n`,
      );
    } finally {
      await world.stop();
    }
  } finally {
    await engine.stop();
  }
};
