import { metricHourBands, metricHours, type Store } from "@homeostat/analytics";
import type { History, HourlySeries, HourMemory } from "@homeostat/detectors";
import type { z } from "zod";

const HOUR_MS = 3_600_000;

/** A baseline remembers so many weeks. */
const HISTORY_HOURS = 5 * 168;

/** Series a page: weeks of hours are some hundred numbers each, of their bands some thousand. */
const PAGE_SERIES = 500;
const BANDS_PAGE_SERIES = 100;

/** Pages until one is not full. */
async function* pages<Row extends { readonly fingerprint: string }>(
  limit: number,
  read: (afterFingerprint: string) => Promise<readonly Row[]>,
): AsyncGenerator<Row> {
  for (let after = ""; ; ) {
    const rows = await read(after);
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < limit) return;
    after = last.fingerprint;
  }
}

const historyOf = ({ fingerprint, hours, lows, medians, highs }: z.output<typeof metricHourBands.row>): History => ({
  fingerprint,
  hours: Float64Array.from(hours),
  quantiles: Float64Array.from(hours.flatMap((_, at) => [lows[at] ?? 0, medians[at] ?? 0, highs[at] ?? 0])),
});

const hourlyOf = (row: z.output<typeof metricHours.row>, fromUnixMs: number, toUnixMs: number): HourlySeries => {
  const firstHour = Math.floor(fromUnixMs / HOUR_MS);
  const values = new Float64Array(Math.floor(toUnixMs / HOUR_MS) - firstHour).fill(Number.NaN);
  row.hours.forEach((hour, at) => {
    values[hour - firstHour] = row.means[at] ?? Number.NaN;
  });
  return {
    series: {
      fingerprint: row.fingerprint,
      metric: row.metric_name,
      unit: row.unit,
      isCounter: row.kind === "counter",
      host: row.host_name || "unknown",
      service: row.service_name,
      labels: row.labels,
    },
    fromUnixMs: firstHour * HOUR_MS,
    values,
  };
};

/** What the store has summed up by the hour, as the detectors want it. */
export const createHourMemory = (store: () => Pick<Store, "run">): HourMemory => ({
  readHours: async function* ({ metric, labels, fromUnixMs, toUnixMs }) {
    const range = { from_unix_ms: fromUnixMs, to_unix_ms: toUnixMs };
    const rows = pages(PAGE_SERIES, (after_fingerprint) =>
      store().run(metricHours, { metric_name: metric, labels, ...range, after_fingerprint, limit: PAGE_SERIES }),
    );
    for await (const row of rows) yield hourlyOf(row, fromUnixMs, toUnixMs);
  },
  readHistories: async function* ({ metric, labels, fingerprints, nowUnixMs }) {
    const range = { from_unix_ms: Math.max(0, nowUnixMs - HISTORY_HOURS * HOUR_MS), to_unix_ms: nowUnixMs };
    const rows = pages(BANDS_PAGE_SERIES, (after_fingerprint) =>
      store().run(metricHourBands, {
        metric_name: metric,
        labels,
        ...range,
        fingerprints: [...fingerprints],
        after_fingerprint,
        limit: BANDS_PAGE_SERIES,
      }),
    );
    for await (const row of rows) yield historyOf(row);
  },
});
