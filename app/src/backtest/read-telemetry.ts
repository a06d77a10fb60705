import {
  hostSeconds,
  logHours,
  logReplay,
  metricSeries,
  type Samples,
  type Store,
  StoreError,
  sampleHours,
} from "@homeostat/analytics";
import { BATCH_ROWS_MAX, type Batch, BatchBuilder, type BatchOf, decodeBatch, metricId } from "@homeostat/schemas";

export interface Selected {
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Range {
  readonly fromUnixMs: number;
  readonly toUnixMs: number;
}

/** What the store has of an hour. */
export interface HourCount {
  readonly atUnixMs: number;
  readonly rows: number;
}

type Reading = Pick<Store, "run" | "samples">;

const HOUR_MS = 3_600_000;
const SLICE_MS_MIN = 1000;

const bounds = ({ fromUnixMs, toUnixMs }: Range) => ({ from_unix_ms: fromUnixMs, to_unix_ms: toUnixMs });

/** Every hour of the range with its rows; 0 where the store has none. */
export const countHours = async (
  store: Reading,
  selects: readonly Selected[] | null,
  range: Range,
): Promise<readonly HourCount[]> => {
  const counted =
    selects === null
      ? [await store.run(logHours, bounds(range))]
      : await Promise.all(
          selects.map(({ metric, labels }) =>
            store.run(sampleHours, { metric_name: metric, labels, ...bounds(range) }),
          ),
        );
  const rows = new Map<number, number>();
  for (const { at_unix_ms, rows: count } of counted.flat()) rows.set(at_unix_ms, (rows.get(at_unix_ms) ?? 0) + count);
  const hours: HourCount[] = [];
  for (let at = Math.floor(range.fromUnixMs / HOUR_MS) * HOUR_MS; at < range.toUnixMs; at += HOUR_MS)
    hours.push({ atUnixMs: at, rows: rows.get(at) ?? 0 });
  return hours;
};

const isTooMuch = (error: unknown): boolean => error instanceof StoreError && error.code === "too_much";

/** Reads a range in pieces that the store is willing to answer: what is too much is asked for in halves. */
async function* inPieces<Answer>(
  range: Range,
  read: (piece: Range) => Promise<Answer>,
): AsyncGenerator<{ readonly piece: Range; readonly answer: Answer }> {
  let answer: Answer;
  try {
    answer = await read(range);
  } catch (error) {
    const lengthMs = range.toUnixMs - range.fromUnixMs;
    if (!isTooMuch(error) || lengthMs <= SLICE_MS_MIN) throw error;
    const middle = range.fromUnixMs + Math.ceil(lengthMs / 2 / SLICE_MS_MIN) * SLICE_MS_MIN;
    yield* inPieces({ fromUnixMs: range.fromUnixMs, toUnixMs: middle }, read);
    yield* inPieces({ fromUnixMs: middle, toUnixMs: range.toUnixMs }, read);
    return;
  }
  yield { piece: range, answer };
}

const producer = { producer: "backtest", sequence: 0 } as const;

/** The series of the metrics as they were told, so that they can be told again. */
export const readSeries = async (
  store: Reading,
  selects: readonly Selected[],
  range: Range,
): Promise<readonly Batch[]> => {
  const batches: Batch[] = [];
  for (const { metric, labels } of selects) {
    const rows = await store.run(metricSeries, { metric_name: metric, labels, ...toldAround(range) });
    for (let at = 0; at < rows.length; at += BATCH_ROWS_MAX) {
      const builder = new BatchBuilder("metric_series");
      for (const row of rows.slice(at, at + BATCH_ROWS_MAX))
        builder.append({
          metric_id: metricId(metric),
          fingerprint: BigInt(`0x${row.fingerprint}`),
          seen_at: range.fromUnixMs,
          metric_name: metric,
          kind: row.kind,
          unit: row.unit,
          host_name: row.labels["host.name"] ?? "",
          service_name: row.labels["service.name"] ?? "",
          attributes: row.labels,
        });
      batches.push(decodeBatch(builder.finish(producer)));
    }
  }
  return batches;
};

/** The newest telling of a day replaces the others: hence the days around. */
const DAY_MS = 86_400_000;
const toldAround = ({ fromUnixMs, toUnixMs }: Range) => ({
  from_unix_ms: Math.max(0, fromUnixMs - DAY_MS),
  to_unix_ms: toUnixMs + DAY_MS,
});

const header = (schema: "metric_samples", rowCount: number, { fromUnixMs, toUnixMs }: Range) => ({
  version: 1 as const,
  schema,
  row_count: rowCount,
  time_min_unix_ms: fromUnixMs,
  time_max_unix_ms: Math.max(fromUnixMs, toUnixMs - 1),
  ...producer,
  uncompressed_bytes: 0,
  frame_bytes: 0,
  frame_crc32: 0,
});

/** Rows of an answer as the batch that they would have come in; views, no copies. */
const samplesBatch = (samples: Samples, from: number, to: number, range: Range): Batch => {
  const columns = {
    metric_id: samples.fingerprints.subarray(from, to),
    fingerprint: samples.fingerprints.subarray(from, to),
    timestamp: samples.timestamps.subarray(from, to),
    value: samples.values.subarray(from, to),
  };
  const batch: Pick<BatchOf<"metric_samples">, "schema" | "header" | "rowCount"> = {
    schema: "metric_samples",
    header: header("metric_samples", to - from, range),
    rowCount: to - from,
  };
  return { ...batch, column: (name: keyof typeof columns) => columns[name] } as Batch;
};

/** What is there for one second of the past. */
export interface Second {
  readonly atUnixMs: number;
  readonly batches: readonly { readonly key: string | null; readonly batch: Batch }[];
}

const NO_SAMPLES: Samples = {
  count: 0,
  fingerprints: new BigUint64Array(0),
  timestamps: new BigInt64Array(0),
  values: new Float64Array(0),
};

/** The rows of a second, taken from the front of what is left of an answer. */
const takeSecond = (reader: { samples: Samples; at: number }, range: Range): Batch | null => {
  const { samples, at } = reader;
  let end = at;
  while (end < samples.count && Number(samples.timestamps[end]) < range.toUnixMs) end++;
  reader.at = end;
  return end === at ? null : samplesBatch(samples, at, end, range);
};

interface MetricPiece {
  readonly samples: readonly Samples[];
  /** Hosts that were heard, by second from the piece's beginning. */
  readonly heard: ReadonlyMap<number, readonly string[]>;
}

const readPiece = async (
  store: Reading,
  { selects, looksAtHosts }: { readonly selects: readonly Selected[]; readonly looksAtHosts: boolean },
  piece: Range,
): Promise<MetricPiece> => {
  const samples = await Promise.all(
    selects.map(({ metric, labels }) => store.samples({ metric_name: metric, labels, ...bounds(piece) })),
  );
  const heard = new Map<number, string[]>();
  const hosts = looksAtHosts ? await store.run(hostSeconds, bounds(piece)) : [];
  for (const { host_name, seconds } of hosts)
    for (const second of seconds) heard.set(second, [...(heard.get(second) ?? []), host_name]);
  return { samples, heard };
};

/** An hour of metrics, second by second; seconds without anything are among them. */
export async function* metricSeconds(
  store: Reading,
  wanted: { readonly selects: readonly Selected[]; readonly looksAtHosts: boolean },
  range: Range,
): AsyncGenerator<Second> {
  for await (const { piece, answer } of inPieces(range, (part) => readPiece(store, wanted, part))) {
    const readers = answer.samples.map((samples) => ({ samples, at: 0 }));
    for (let at = piece.fromUnixMs; at < piece.toUnixMs; at += 1000) {
      const second = { fromUnixMs: at, toUnixMs: Math.min(at + 1000, piece.toUnixMs) };
      const hosts = answer.heard.get(Math.floor((at - piece.fromUnixMs) / 1000)) ?? [];
      const batches = [
        ...hosts.map((key) => ({ key, batch: samplesBatch(NO_SAMPLES, 0, 0, { fromUnixMs: at, toUnixMs: at + 1 }) })),
        ...readers.flatMap((reader) => {
          const batch = takeSecond(reader, second);
          return batch === null ? [] : [{ key: null, batch }];
        }),
      ];
      yield { atUnixMs: at, batches };
    }
  }
}

type LogRow = Awaited<ReturnType<typeof readLogs>>[number];
const readLogs = (store: Reading, piece: Range) => store.run(logReplay, bounds(piece));

const logBatches = (rows: readonly LogRow[]): readonly Batch[] => {
  const batches: Batch[] = [];
  let builder = new BatchBuilder("logs");
  const flush = (): void => {
    if (builder.rowCount === 0) return;
    batches.push(decodeBatch(builder.finish(producer)));
    builder = new BatchBuilder("logs");
  };
  for (const { time_unix_nano, severity_number, host_name, service_name, body } of rows) {
    builder.append({
      timestamp: BigInt(time_unix_nano),
      severity_number,
      service_name,
      host_name,
      trace_id: "",
      span_id: "",
      body,
      attributes: {},
    });
    if (builder.isFull) flush();
  }
  flush();
  return batches;
};

/** An hour of logs, second by second. */
export async function* logSeconds(store: Reading, range: Range): AsyncGenerator<Second> {
  for await (const { piece, answer } of inPieces(range, (part) => readLogs(store, part))) {
    let at = 0;
    for (let from = piece.fromUnixMs; from < piece.toUnixMs; from += 1000) {
      const end = BigInt(from + 1000) * 1_000_000n;
      const begin = at;
      while (at < answer.length && BigInt(answer[at]?.time_unix_nano ?? 0) < end) at++;
      const batches = at === begin ? [] : logBatches(answer.slice(begin, at));
      yield { atUnixMs: from, batches: batches.map((batch) => ({ key: null, batch })) };
    }
  }
}
