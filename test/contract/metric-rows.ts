import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStore, type Store, StoreConfig } from "../../analytics/src/index.ts";
import { startEmbeddedStore } from "../../app/src/embedded/store/index.ts";
import { BatchBuilder, metricId, type SeriesKind, seriesFingerprint } from "../../schemas/src/index.ts";
import { NOON, quietLog } from "./store-rows.ts";

let sequence = 0;
const origin = () => ({ producer: "host-1/metrics", sequence: ++sequence });

interface Told {
  readonly name: string;
  readonly kind: SeriesKind;
  readonly labels: Readonly<Record<string, string>>;
}

export interface SamplesOf extends Told {
  /** Milliseconds after noon, and the value. */
  readonly points: readonly (readonly [number, number])[];
}

export interface HistogramsOf extends Told {
  readonly points: readonly {
    /** Milliseconds after noon. */
    readonly at: number;
    readonly bounds: readonly number[];
    readonly counts: readonly number[];
  }[];
}

const idOf = ({ name, labels }: Told) => ({ metric_id: metricId(name), fingerprint: seriesFingerprint(name, labels) });

const insert = async (
  store: Store,
  table: "metric_series" | "metric_samples" | "metric_histograms",
  rows: object[],
) => {
  const builder = new BatchBuilder(table);
  for (const row of rows) builder.append(row as never);
  if (builder.rowCount === 0) return;
  const { rowCount } = builder;
  await store.insertNative({ table, frames: [builder.finish(origin())], dedupToken: `metrics-${sequence}`, rowCount });
};

const tell = (store: Store, all: readonly Told[]): Promise<void> =>
  insert(
    store,
    "metric_series",
    all.map((told) => ({
      ...idOf(told),
      seen_at: NOON,
      metric_name: told.name,
      kind: told.kind,
      unit: "s",
      host_name: told.labels["host.name"] ?? "",
      service_name: told.labels["service.name"] ?? "",
      attributes: told.labels,
    })),
  );

export const insertSamples = async (store: Store, all: readonly SamplesOf[]): Promise<void> => {
  await tell(store, all);
  const rows = all.flatMap((series) =>
    series.points.map(([at, value]) => ({ ...idOf(series), timestamp: NOON + at, value })),
  );
  await insert(store, "metric_samples", rows);
};

export const insertHistograms = async (store: Store, all: readonly HistogramsOf[]): Promise<void> => {
  await tell(store, all);
  const rows = all.flatMap((series) =>
    series.points.map(({ at, bounds, counts }) => ({
      ...idOf(series),
      timestamp: NOON + at,
      count: counts.reduce((sum, count) => sum + count, 0),
      sum: Number.NaN,
      min: Number.NaN,
      max: Number.NaN,
      bounds,
      counts,
    })),
  );
  await insert(store, "metric_histograms", rows);
};

export interface MetricStore {
  readonly store: Store;
  /** A statement as it is, over HTTP. */
  ask(statement: string): Promise<string>;
  stop(): Promise<void>;
}

/** The tables on an engine of their own. */
export const startMetricStore = async (config: Partial<StoreConfig> = {}): Promise<MetricStore> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-metrics-"));
  const { url, username, password, stop } = await startEmbeddedStore({ dir, log: quietLog });
  const store = createStore({
    url,
    username,
    password,
    config: StoreConfig.parse(config),
    now: Date.now,
    log: quietLog,
  });
  await store.migrate();
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  return {
    store,
    ask: async (statement) => {
      const response = await fetch(`${url}/?database=homeostat`, {
        method: "POST",
        body: statement,
        headers: { authorization },
      });
      const answer = await response.text();
      if (!response.ok) throw new Error(answer);
      return answer.trim();
    },
    stop: async () => {
      await store.close();
      await stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
};
