import { Finding, Severity } from "@homeostat/schemas";
import { z } from "zod";
import { loadColumns, pickColumns, saveColumns } from "../../columns.ts";
import type { Detector, Readiness, Step } from "../../detector.ts";
import {
  announce,
  type Episodes,
  FRESH_MS,
  forgetEpisodes,
  isDue,
  NO_DATA_MS,
  openFindings,
  resolve,
  SavedEpisodes,
  tellNoData,
} from "../../episode.ts";
import { Selector, type Series } from "../../series.ts";
import type { MetricWindow } from "../../window.ts";
import { isWarm } from "./host-alert.ts";
import { findingOf } from "./host-finding.ts";
import {
  type HostJudge,
  type Judgement,
  judgeRow,
  loadHostJudge,
  makeHostJudge,
  pickMetrics,
  saveHostJudge,
} from "./host-judge.ts";
import {
  addToRow,
  growOpenRows,
  makeOpenRows,
  measuredValue,
  type OpenRows,
  ROW_LAYOUT,
  rowsClosedBy,
  takeRow,
} from "./host-rows.ts";

export const HostAnomalyConfig = z.strictObject({
  detector: z.literal("host_anomaly"),
  name: z.string().min(1).max(128),
  /** Begins the summary. */
  title: z.string().min(1).max(200),
  /** The metrics that are looked at together, with all their series of a host. */
  metrics: z.array(Selector.metric).min(1).max(100),
  labels: Selector.labels,
  not_labels: Selector.not_labels,
  /** Samples are averaged over so long. */
  step_s: z.int().min(10).max(3600).default(60),
  /** The least score of an alert: how many widths of their usual bands the worst quarter of the metrics are beyond them. */
  level: z.number().min(0.1).max(100).default(1.2),
  severity: Severity.default("warning"),
  category: Finding.shape.category.default("symptom"),
  /** A series takes 2.1 kB. Hosts and series of a host beyond these many are not watched by the rule. */
  hosts_max: z.int().min(1).max(100_000).default(1000),
  series_per_host_max: z.int().min(1).max(1000).default(64),
});
export type HostAnomalyConfig = z.infer<typeof HostAnomalyConfig>;

/** A host of which nothing has come for so long. */
const STALE_MS = 3_600_000;

interface WatchedHost {
  readonly name: string;
  readonly judge: HostJudge;
  /** By metric of the judge, the slot of its series. */
  slots: number[];
  /** The older of the two open rows; NaN before the first sample. */
  openRow: number;
  arrivedUnixMs: number;
}

export interface HostAnomalyState {
  rows: OpenRows;
  hosts: WatchedHost[];
  /** By series' slot, the host's place; -1 for what a cap leaves out. */
  hostOf: number[];
  /** By host's place. */
  episodes: Episodes;
}

const adopt = (state: HostAnomalyState, series: readonly Series[], config: HostAnomalyConfig): void => {
  const places = new Map(state.hosts.map(({ name }, place) => [name, place]));
  const grown = new Set<WatchedHost>();
  for (let slot = state.hostOf.length; slot < series.length; slot++) {
    const name = (series[slot] as Series).host;
    let place = places.get(name);
    if (place === undefined && state.hosts.length < config.hosts_max) {
      place = state.hosts.length;
      places.set(name, place);
      state.hosts.push({ name, judge: makeHostJudge(0), slots: [], openRow: Number.NaN, arrivedUnixMs: 0 });
    }
    const host = place === undefined ? undefined : state.hosts[place];
    if (place === undefined || host === undefined || host.slots.length >= config.series_per_host_max) {
      state.hostOf.push(-1);
      continue;
    }
    host.slots.push(slot);
    grown.add(host);
    state.hostOf.push(place);
  }
  for (const host of grown) pickMetrics(host.judge, Array.from(host.slots.keys()));
  growOpenRows(state.rows, series.length);
};

interface Closed {
  readonly place: number;
  readonly host: WatchedHost;
  readonly judgement: Judgement;
  readonly values: Float64Array;
  readonly endUnixMs: number;
}

const tell = (
  state: HostAnomalyState,
  closed: Closed,
  window: MetricWindow,
  config: HostAnomalyConfig,
): readonly Finding[] => {
  const { place, host, judgement, endUnixMs } = closed;
  const { nowUnixMs } = window;
  const { score } = judgement;
  if (!judgement.isAlert) {
    if (!state.episodes.has(place)) return [];
    return resolve(state.episodes, place, {
      summary: `${config.title} on ${host.name}: over; the score is ${Number(score.toPrecision(3))}.`,
      value: score,
    });
  }
  const isFresh = endUnixMs >= nowUnixMs - FRESH_MS - config.step_s * 1000;
  if (!isFresh || !isDue(state.episodes, place, { severity: config.severity, nowUnixMs })) return [];
  const series = host.slots.map((slot) => window.series[slot] as Series);
  const finding = findingOf({ ...closed, host: host.name, judge: host.judge, series, nowUnixMs }, config);
  return [announce(state.episodes, place, finding, nowUnixMs)];
};

const closeRow = (
  state: HostAnomalyState,
  { place, row }: { readonly place: number; readonly row: number },
  window: MetricWindow,
  config: HostAnomalyConfig,
): readonly Finding[] => {
  const host = state.hosts[place] as WatchedHost;
  const values = takeRow(state.rows, host.slots, row);
  if (values === null) return [];
  const stepMs = config.step_s * 1000;
  const judgement = judgeRow(host.judge, { timeUnixMs: row * stepMs, values }, config.level);
  if (judgement === null) return [];
  return tell(state, { place, host, judgement, values, endUnixMs: (row + 1) * stepMs }, window, config);
};

const observe = (
  state: HostAnomalyState,
  { slot, time, value }: { readonly slot: number; readonly time: number; readonly value: number },
  window: MetricWindow,
  config: HostAnomalyConfig,
): readonly Finding[] => {
  const place = state.hostOf[slot] ?? -1;
  const host = state.hosts[place];
  if (host === undefined) return [];
  const { isCounter } = window.series[slot] as Series;
  const measured = measuredValue(state.rows, { slot, time, value, isCounter });
  if (measured === null) return [];
  const stepMs = config.step_s * 1000;
  const row = Math.floor(time / stepMs);
  if (Number.isNaN(host.openRow)) host.openRow = row;
  host.arrivedUnixMs = window.nowUnixMs;
  // Its row is closed already.
  if (row < host.openRow) return [];
  const closed = rowsClosedBy(host.openRow, time, stepMs);
  const findings = closed.flatMap((old) => closeRow(state, { place, row: old }, window, config));
  if (closed.length > 0) host.openRow = row;
  addToRow(state.rows, slot, row, measured);
  return findings;
};

const forget = (state: HostAnomalyState, kept: Uint32Array): Step<HostAnomalyState> => {
  const known = kept.filter((slot) => slot < state.hostOf.length);
  const renumbered = new Map(Array.from(known, (slot, index) => [slot, index]));
  const keptHosts: number[] = [];
  const hosts: WatchedHost[] = [];
  state.hosts.forEach((host, place) => {
    const metrics = Array.from(host.slots.keys()).filter((metric) => renumbered.has(host.slots[metric] as number));
    if (metrics.length === 0) return;
    if (metrics.length < host.slots.length) pickMetrics(host.judge, metrics);
    const slots = metrics.map((metric) => renumbered.get(host.slots[metric] as number) as number);
    hosts.push({ ...host, slots });
    keptHosts.push(place);
  });
  const places = new Map(keptHosts.map((place, index) => [place, index]));
  const hostOf = Array.from(known, (slot) => places.get(state.hostOf[slot] as number) ?? -1);
  const { episodes, findings } = forgetEpisodes(state.episodes, Uint32Array.from(keptHosts));
  return { state: { rows: pickColumns(state.rows, ROW_LAYOUT, known), hosts, hostOf, episodes }, findings };
};

const SavedState = z.object({
  hosts: z.array(
    z.object({
      name: z.string(),
      slots: z.array(z.int().min(0)),
      open_row: z.number().nullable(),
      arrived_at_unix_ms: z.number(),
    }),
  ),
  host_of: z.array(z.int().min(-1)),
  episodes: SavedEpisodes,
});

/** One array a host: its parts one after the other, whose names and lengths follow from the number of metrics. */
const packed = (judge: HostJudge): Float64Array => {
  const parts = Object.values(saveHostJudge(judge));
  const all = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
  let from = 0;
  for (const part of parts) {
    all.set(part, from);
    from += part.length;
  }
  return all;
};

const unpacked = (all: Float64Array, metrics: number): HostJudge => {
  let from = 0;
  const parts = Object.entries(saveHostJudge(makeHostJudge(metrics))).map(([name, { length }]) => {
    const part = all.slice(from, from + length);
    from += length;
    return [name, part] as const;
  });
  if (from !== all.length) throw new RangeError(`a saved host holds ${all.length} numbers, not ${from}`);
  return loadHostJudge(Object.fromEntries(parts));
};

const readinessOf = ({ hosts }: HostAnomalyState, nowUnixMs: number): Readiness => {
  const counts = { ready: 0, warming_up: 0, stale: 0 };
  for (const { judge, arrivedUnixMs } of hosts) {
    if (!isWarm(judge.alert)) counts.warming_up += 1;
    else if (nowUnixMs - arrivedUnixMs > STALE_MS) counts.stale += 1;
    else counts.ready += 1;
  }
  return counts;
};

/** The metrics of a host looked at together: a finding when several of them leave their usual bands at once. */
export const hostAnomaly: Detector<HostAnomalyConfig, HostAnomalyState, MetricWindow> = {
  name: "host_anomaly",
  version: 1,
  config: HostAnomalyConfig,
  start: () => ({ rows: makeOpenRows(), hosts: [], hostOf: [], episodes: new Map() }),

  step(state, window, config) {
    if (window.series.length > state.hostOf.length) adopt(state, window.series, config);
    const findings: Finding[] = [];
    const { slots, times, values, count, nowUnixMs } = window;
    for (let row = 0; row < count; row++) {
      const sample = { slot: slots[row] as number, time: times[row] as number, value: values[row] as number };
      findings.push(...observe(state, sample, window, config));
    }
    if (window.isTick) {
      for (const place of state.episodes.keys()) {
        const heardAt = Math.max(state.hosts[place]?.arrivedUnixMs ?? 0, window.observingSinceUnixMs);
        if (nowUnixMs - heardAt >= NO_DATA_MS + config.step_s * 1000)
          findings.push(...tellNoData(state.episodes, place, nowUnixMs));
      }
    }
    return { state, findings };
  },

  forget,

  save: ({ rows, hosts, hostOf, episodes }) => ({
    json: {
      hosts: hosts.map(({ name, slots, openRow, arrivedUnixMs }) => ({
        name,
        slots,
        open_row: Number.isNaN(openRow) ? null : openRow,
        arrived_at_unix_ms: arrivedUnixMs,
      })),
      host_of: hostOf,
      episodes: [...episodes],
    },
    columns: {
      ...saveColumns(rows, ROW_LAYOUT),
      ...Object.fromEntries(hosts.map(({ judge }, place) => [`host.${place}`, packed(judge)])),
    },
    open: openFindings(episodes),
  }),

  load: (saved) => {
    const { hosts, host_of, episodes } = SavedState.parse(saved.json);
    return {
      rows: loadColumns(saved.columns, ROW_LAYOUT),
      hosts: hosts.map(({ name, slots, open_row, arrived_at_unix_ms }, place) => ({
        name,
        slots,
        judge: unpacked(saved.columns[`host.${place}`] ?? new Float64Array(0), slots.length),
        openRow: open_row ?? Number.NaN,
        arrivedUnixMs: arrived_at_unix_ms,
      })),
      hostOf: host_of,
      episodes: new Map(episodes),
    };
  },

  readiness: readinessOf,
};
