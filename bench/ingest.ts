import { type BenchEngine, startBenchEngine } from "./ingest/engine.ts";
import { type Measured, measureEngine } from "./ingest/engine-limit.ts";
import { measurePeers } from "./ingest/peers.ts";
import { measureDrain, measurePipeline, type Piped } from "./ingest/pipeline.ts";
import { encodeLoad, type Signal } from "./ingest/workload.ts";
import { type BusKind, startWorld, type World } from "./ingest/world.ts";
import { median, rounded, thousands } from "./numbers.ts";

/*
 * Each run inserts the same batches once straight into a table of the same definition ("engine"), and once through each bus and ingest.
 * Who comes first changes from run to run. All share this machine's processors: the broker is up all the time, and idle except in its turn.
 */

interface Round {
  readonly rows: number;
  /** Of all messages' values. */
  readonly busBytes: number;
  readonly engine: Measured;
  readonly piped: Readonly<Partial<Record<BusKind, Piped>>>;
  /** Through Kafka, with the producer's work done before: kafkajs has a large part in it, and shares the processors with the rest. */
  readonly drained: Piped | null;
}

/** The default gathers for up to a second, which would only stand at each run's end: while there is a backlog nothing waits. */
const MAX_WAIT_MS = 50;

const PEER_RUNS = 3;
const SIGNALS: readonly Signal[] = ["logs", "metrics"];

const rotated = <T>(items: readonly T[], by: number): readonly T[] => {
  const at = by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
};

const cpuPerMillion = ({ cpu }: Measured, rows: number): string =>
  Object.entries(cpu)
    .map(([name, seconds]) => `${name} ${((seconds / rows) * 1e6).toFixed(2)}`)
    .join(", ");

const say = (what: string, measured: Measured, rows: number): void => {
  const { rowsPerSecond, seconds } = measured;
  process.stdout.write(
    `${what.padEnd(26)}${thousands(rowsPerSecond)} rows/s, ${seconds.toFixed(1)} s; CPU-seconds per million rows: ${cpuPerMillion(measured, rows)}\n`,
  );
};

const oneRound = async (
  engine: BenchEngine,
  worlds: readonly World[],
  { signal, run, rows }: { signal: Signal; run: number; rows: number },
): Promise<Round> => {
  const load = encodeLoad(signal, `${process.pid}-${run}`, rows);
  let limit: Measured | null = null;
  let drained: Piped | null = null;
  const piped: Partial<Record<BusKind, Piped>> = {};
  for (const world of rotated([null, ...worlds], run)) {
    if (world === null) {
      limit = await measureEngine(engine, load);
      say(`${signal}, run ${run}, engine`, limit, load.rows);
      continue;
    }
    const measured = await measurePipeline(world, engine, load);
    piped[world.kind] = measured;
    say(`${signal}, run ${run}, ${world.kind}`, measured, load.rows);
    if (world.kind !== "kafka") continue;
    // Of its own name: what is in already would be taken for repeated.
    drained = await measureDrain(world, engine, encodeLoad(signal, `${process.pid}-${run}-drain`, rows));
    say(`${signal}, run ${run}, kafka drain`, drained, drained.rowsPerSecond * drained.seconds);
  }
  if (limit === null) throw new Error("the engine had no turn");
  const busBytes = load.byPartition.flat().reduce((bytes, value) => bytes + value.length, 0);
  return { rows: load.rows, busBytes, engine: limit, piped, drained };
};

/** The median of the runs' own ratios: both halves of a run met the same weather. */
const ratio = (rounds: readonly Round[], of: (round: Round) => Piped | null | undefined): number =>
  median(rounds.map((round) => (of(round)?.rowsPerSecond ?? Number.NaN) / round.engine.rowsPerSecond));

const measureAll = async (
  buses: readonly BusKind[],
  { runs, rows }: { runs: number; rows: Readonly<Record<Signal, number>> },
): Promise<Record<Signal, readonly Round[]>> => {
  const rounds: Record<Signal, Round[]> = { logs: [], metrics: [] };
  const engine = await startBenchEngine();
  const worlds: World[] = [];
  try {
    for (const kind of buses)
      worlds.push(await startWorld({ kind, engine, ingestConfig: { max_wait_ms: MAX_WAIT_MS } }));
    // Run 0 warms up: code, caches, the engine's pools.
    for (let run = 0; run <= runs; run++) {
      for (const signal of SIGNALS.filter((each) => rows[each] > 0)) {
        const done = await oneRound(engine, worlds, { signal, run, rows: rows[signal] });
        if (run > 0) rounds[signal].push(done);
      }
    }
  } finally {
    for (const world of worlds) await world.stop();
    await engine.stop();
  }
  return rounds;
};

const sum = (rounds: Record<Signal, readonly Round[]>, field: "lost" | "doubled"): number =>
  Object.values(rounds)
    .flat()
    .flatMap(({ piped, drained }) => [...Object.values(piped), ...(drained === null ? [] : [drained])])
    .reduce((total, measured) => total + measured[field], 0);

const rowsPerCpuSecond = (rounds: readonly Round[], kind: BusKind): number =>
  median(
    rounds.flatMap(({ piped }) => {
      const each = piped[kind];
      if (each === undefined) return [];
      const cpu = Object.values(each.cpu).reduce((total, seconds) => total + seconds, 0);
      return [(each.rowsPerSecond * each.seconds) / cpu];
    }),
  );

/** By process, median over the runs. */
const cpuPerMillionRows = (rounds: readonly Round[], kind: BusKind): Record<string, number> => {
  const names = Object.keys(rounds[0]?.piped[kind]?.cpu ?? {});
  const of = (name: string) =>
    median(
      rounds.map(
        ({ rows, piped }) =>
          ((Object.entries(piped[kind]?.cpu ?? {}).find(([key]) => key === name)?.[1] ?? 0) / rows) * 1e6,
      ),
    );
  return Object.fromEntries(names.map((name) => [name, rounded(of(name))]));
};

const bySignal = <T>(of: (signal: Signal) => T): Record<Signal, T> => ({ logs: of("logs"), metrics: of("metrics") });

/** Ours over the peer's, in rows per CPU-second of every process that each way needs (of rsyslog's way the broker is left out). */
const besidePeers = async (
  rounds: Readonly<Record<Signal, readonly Round[]>>,
  buses: readonly BusKind[],
  options: { runs: number; samples: number; lines: number },
): Promise<Record<string, Record<string, number>>> => {
  const ours = buses.flatMap((kind) =>
    SIGNALS.map((signal) => ({ kind, signal, rate: rowsPerCpuSecond(rounds[signal], kind) })),
  );
  for (const { kind, signal, rate } of ours)
    process.stdout.write(`${`${signal}, ${kind}`.padEnd(26)}${thousands(rate)} rows per CPU-second\n`);
  const compared: Record<string, Record<string, number>> = {};
  for (const [peer, theirs] of Object.entries(await measurePeers(options))) {
    process.stdout.write(`${peer.padEnd(26)}${thousands(theirs)} rows per CPU-second\n`);
    const applying = ours.filter(({ signal }) => (signal === "logs") === (peer === "rsyslog"));
    compared[peer] = Object.fromEntries(applying.map(({ kind, rate }) => [kind, rounded(rate / theirs)]));
  }
  return compared;
};

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const runs = Number(options.runs ?? 5);
  const rows = {
    logs: Number(options["log-rows"] ?? 1_600_000),
    metrics: Number(options["metric-rows"] ?? 16_000_000),
  };
  const buses: readonly BusKind[] = options.bus === undefined ? ["embedded", "kafka"] : [options.bus as BusKind];
  const rounds = await measureAll(buses, { runs, rows });
  const entries = buses.flatMap((kind) =>
    SIGNALS.map(
      (signal) =>
        [`${kind}_${signal}_ratio_to_engine`, rounded(ratio(rounds[signal], ({ piped }) => piped[kind]))] as const,
    ),
  );
  const drains = SIGNALS.filter(() => buses.includes("kafka")).map(
    (signal) =>
      [`kafka_${signal}_drain_ratio_to_engine`, rounded(ratio(rounds[signal], ({ drained }) => drained))] as const,
  );
  const peers = await besidePeers(rounds, buses, {
    runs: PEER_RUNS,
    samples: Number(options["peer-samples"] ?? 2_000_000),
    lines: Number(options["peer-lines"] ?? 500_000),
  });
  process.stdout.write(
    `${JSON.stringify({
      ...Object.fromEntries([...entries, ...drains]),
      lost: sum(rounds, "lost"),
      doubled: sum(rounds, "doubled"),
      peers,
      cpu_s_per_million_rows: Object.fromEntries(
        buses.map((kind) => [kind, bySignal((signal) => cpuPerMillionRows(rounds[signal], kind))]),
      ),
      bus_bytes_per_row: bySignal((signal) =>
        rounded(median(rounds[signal].map(({ busBytes, rows }) => busBytes / rows))),
      ),
    })}\n`,
  );
};
