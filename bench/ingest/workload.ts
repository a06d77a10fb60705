import { BATCH_ROWS_MAX, BatchBuilder, metricId, type OutgoingMessage, seriesFingerprint } from "@homeostat/schemas";
import { random } from "../random.ts";

export type Signal = "logs" | "metrics";
export type TelemetryTable = "logs" | "metric_samples";

/** Encoded batches of one run. Encoding is the producer's work and part of no measurement but its own. */
export interface Load {
  readonly signal: Signal;
  readonly table: TelemetryTable;
  readonly rows: number;
  /** What makes a row unique. */
  readonly identity: string;
  /** A producer a partition, in its order. */
  readonly byPartition: readonly (readonly Uint8Array[])[];
  readonly encodeSeconds: number;
}

export const PARTITIONS = 2;
export const TOPIC_OF_SIGNAL = { logs: "telemetry.logs", metrics: "telemetry.metrics" } as const;

const HOSTS = Array.from({ length: 20 }, (_, index) => `web-${index}`);
const VERBS = ["GET", "PUT", "POST", "DELETE"];

/** Names of one run's producers: never used again, so that no sequence is taken for one that is in already. */
const producerOf = (signal: Signal, run: string, partition: number): string => `bench/${signal}-${run}-${partition}`;

const encodeLogs = (run: string, partition: number, rows: number): Uint8Array[] => {
  const builder = new BatchBuilder("logs");
  const next = random(partition + 1);
  const producer = producerOf("logs", run, partition);
  const startNs = BigInt(Date.now() - 3_600_000) * 1_000_000n;
  const values: Uint8Array[] = [];
  const finish = (): number => values.push(builder.finish({ producer, sequence: values.length }));
  for (let row = 0; row < rows; row++) {
    const order = Math.floor(next() * 1e9).toString(36);
    builder.append({
      timestamp: startNs + BigInt(row) * 100_000n,
      severity_number: next() < 0.02 ? 17 : 9,
      service_name: `service-${row % 12}`,
      host_name: HOSTS[row % HOSTS.length] ?? "",
      trace_id: "",
      span_id: "",
      body: `${VERBS[row % 4]} /api/orders/${order} ${next() < 0.05 ? 500 : 200} in ${(next() * 900).toFixed(2)} ms for user ${Math.floor(next() * 1e6)} from 10.${row % 7}.${Math.floor(next() * 255)}.9, request ${partition}-${row}`,
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

interface Series {
  readonly metric: bigint;
  readonly fingerprint: bigint;
  value: number;
  readonly step: number;
}

/** A hundred metrics of each host: a third never change, a third count, a third wander. */
const seriesOf = (partition: number, next: () => number): Series[] =>
  HOSTS.flatMap((host) =>
    Array.from({ length: 100 }, (_, index) => {
      const name = `bench.metric.${index}`;
      const labels = { "host.name": host, partition: String(partition) };
      const step = [0, 1, 0.01][index % 3] ?? 0;
      return {
        metric: metricId(name),
        fingerprint: seriesFingerprint(name, labels),
        value: Math.round(next() * 1e4),
        step,
      };
    }),
  );

const SCRAPE_MS = 10_000;

const advance = (series: Series, next: () => number): number => {
  if (series.step === 1) series.value += Math.floor(next() * 100);
  else if (series.step !== 0) series.value = Math.round(series.value * 100 + (next() - 0.5) * 50) / 100;
  return series.value;
};

/** Scrape by scrape, as an agent or a remote writer sends them: all series of a scrape have its time. */
const encodeSamples = (run: string, partition: number, rows: number): Uint8Array[] => {
  const builder = new BatchBuilder("metric_samples");
  const next = random(partition + 1);
  const series = seriesOf(partition, next);
  const producer = producerOf("metrics", run, partition);
  const scrapes = Math.ceil(rows / series.length);
  const start = Date.now() - scrapes * SCRAPE_MS;
  const values: Uint8Array[] = [];
  const finish = (): number => values.push(builder.finish({ producer, sequence: values.length }));
  for (let row = 0; row < rows; row++) {
    const each = series[row % series.length];
    if (each === undefined) throw new RangeError("no series");
    builder.append({
      metric_id: each.metric,
      fingerprint: each.fingerprint,
      timestamp: start + Math.floor(row / series.length) * SCRAPE_MS,
      value: advance(each, next),
    });
    if (builder.rowCount === BATCH_ROWS_MAX) finish();
  }
  if (builder.rowCount > 0) finish();
  return values;
};

/** `run` must be a name that this store has not seen. */
export const encodeLoad = (signal: Signal, run: string, rows: number): Load => {
  const startedAt = performance.now();
  const encode = signal === "logs" ? encodeLogs : encodeSamples;
  const each = Math.floor(rows / PARTITIONS);
  const byPartition = Array.from({ length: PARTITIONS }, (_, partition) => encode(run, partition, each));
  return {
    signal,
    table: signal === "logs" ? "logs" : "metric_samples",
    rows: each * PARTITIONS,
    identity: signal === "logs" ? "body" : "fingerprint, timestamp",
    byPartition,
    encodeSeconds: (performance.now() - startedAt) / 1000,
  };
};

export const messagesOf = ({ signal, byPartition }: Load, partition: number): OutgoingMessage[] =>
  (byPartition[partition] ?? []).map((value) => ({
    topic: TOPIC_OF_SIGNAL[signal],
    key: `bench-${partition}`,
    value,
    partition,
  }));
