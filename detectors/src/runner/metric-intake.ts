import type { Batch, BatchOf, Finding } from "@homeostat/schemas";
import { z } from "zod";
import { type Columns, growColumns, loadColumns, makeColumns, pickColumns, saveColumns } from "../columns.ts";
import type { History, Readiness } from "../detector.ts";
import { FRESH_MS } from "../episode.ts";
import type { Series } from "../series.ts";
import type { Hosts, MetricWindow } from "../window.ts";
import { Cap, orphansOfCap } from "./cap.ts";
import type { DetectorsConfig } from "./config.ts";
import { FingerprintIndex } from "./fingerprint-index.ts";
import { FORGET_OBSERVED_MS, FUTURE_MS, type Intake, isForgetDue, noCounts, type Tick } from "./intake.ts";
import { loadWatches, SavedWatches, saveWatches } from "./saved-watches.ts";
import type { Snapshot } from "./snapshot.ts";
import { readinessOf, type Watch } from "./watch.ts";

/** A host that says nothing for longer than this, by its own clock, has paused. */
const HOST_PAUSE_MS = 10_000;

const TWO_POW_32 = 4_294_967_296;

/** Under this and its name a rule's cap is saved. */
const RULE_CAP = "rule ";

const SERIES_LAYOUT = {
  arrived: { fill: 0 },
  /** Of a delta the time of its newest point, -Infinity before the first; NaN for all others. */
  deltaAt: { fill: Number.NaN },
} as const;
const HOST_LAYOUT = {
  lastEvent: { fill: 0 },
  currentAt: { fill: 0 },
  speakingSince: { fill: 0 },
  arrived: { fill: 0 },
} as const;

const SavedSeries = z.strictObject({
  fingerprint: z.string().regex(/^[0-9a-f]{16}$/),
  metric: z.string(),
  unit: z.string(),
  isCounter: z.boolean(),
  host: z.string(),
  service: z.string(),
  labels: z.record(z.string(), z.string()),
});

const SavedIntake = z.strictObject({
  series: z.array(SavedSeries),
  hosts: z.array(z.string()),
  caps: z.record(z.string(), z.unknown()),
  watches: SavedWatches,
});

/** One rule and the samples that are gathered for it out of a batch. */
interface Share {
  readonly watch: Watch<MetricWindow>;
  readonly cap: Cap;
  series: Series[];
  /** Series that the rule matches and that its cap keeps out, and the host of the last of them. */
  beyond: number;
  beyondHost: string;
  count: number;
  slots: Uint32Array;
  times: Float64Array;
  values: Float64Array;
}

const shareOf = (watch: Watch<MetricWindow>): Share => ({
  watch,
  cap: new Cap({ rule: "series-cap", subject: watch.rule, what: `series of rule ${watch.rule}`, max: watch.seriesMax }),
  series: [],
  beyond: 0,
  beyondHost: "",
  count: 0,
  slots: new Uint32Array(0),
  times: new Float64Array(0),
  values: new Float64Array(0),
});

const lengthen = (share: Share): void => {
  const length = Math.max(64, share.slots.length * 2);
  const { slots, times, values } = share;
  share.slots = new Uint32Array(length);
  share.times = new Float64Array(length);
  share.values = new Float64Array(length);
  share.slots.set(slots);
  share.times.set(times);
  share.values.set(values);
};

const NO_SHARES = new Uint32Array(0);

/** The two halves of each 64-bit cell, low before high. */
const halves = (cells: BigInt64Array | BigUint64Array): Uint32Array =>
  new Uint32Array(cells.buffer, cells.byteOffset, cells.length * 2);

const hex = (low: number, high: number): string =>
  high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");

/** Kinds whose points are no samples: detectors look at what is told beside them (X_count, X_sum). */
const isHistogram = (kind: string): boolean => kind === "histogram" || kind === "delta_histogram";

/**
 * What the samples of a partition become for its rules. A staleness marker (NaN) is no sample: it neither teaches nor keeps a series
 * from being absent. A delta is handed on as its rate over the time since the point before, so that a rule's limit holds for any export
 * interval, an interval without a point counts as nothing added, and figures agree with those of `metric_range`.
 */
export class MetricIntake implements Intake {
  readonly counts = noCounts();
  readonly #config: DetectorsConfig;
  readonly #shares: readonly Share[];
  readonly #seriesCap: Cap;
  readonly #metricCap: Cap;
  readonly #hostCap: Cap;
  #series: Series[] = [];
  #countOf = new Map<string, number>();
  #seriesColumns = makeColumns(SERIES_LAYOUT);
  #index = new FingerprintIndex();
  /** By series: pairs of a share's place and the slot in it. */
  #sharesOf: Uint32Array[] = [];
  #hostNames: string[] = [];
  #hostSlots = new Map<string, number>();
  #hostColumns: Columns<typeof HOST_LAYOUT> = makeColumns(HOST_LAYOUT);
  #forgotAt = 0;

  constructor(watches: readonly Watch<MetricWindow>[], config: DetectorsConfig) {
    this.#config = config;
    this.#shares = watches.map(shareOf);
    this.#seriesCap = new Cap({ rule: "series-cap", what: "series", max: config.series_max });
    this.#metricCap = new Cap({
      rule: "series-cap",
      subject: "one metric",
      what: "series of one metric",
      max: config.series_per_metric_max,
    });
    this.#hostCap = new Cap({ rule: "host-cap", what: "hosts", max: config.hosts_max });
  }

  get subjects(): number {
    return this.#series.length;
  }

  get watched(): number {
    if (this.#shares.some(({ watch }) => watch.matchesSeries === null)) return this.#hostNames.length;
    return this.#sharesOf.filter(({ length }) => length > 0).length;
  }

  get refused(): number {
    return Object.values(this.#caps()).reduce((sum, cap) => sum + cap.refused, 0);
  }

  /** By the name under which each is saved. */
  #caps(): Readonly<Record<string, Cap>> {
    const ofRules = this.#shares.map(({ watch, cap }) => [`${RULE_CAP}${watch.rule}`, cap] as const);
    return {
      series: this.#seriesCap,
      metric: this.#metricCap,
      host: this.#hostCap,
      ...Object.fromEntries(ofRules),
    };
  }

  take(
    batch: Batch,
    { key, nowUnixMs }: { readonly key: string | null; readonly nowUnixMs: number },
  ): readonly Finding[] {
    if (batch.schema === "metric_samples") return this.#takeSamples(batch, key ?? "", nowUnixMs);
    if (batch.schema === "metric_series") this.#takeSeries(batch, key ?? "", nowUnixMs);
    return [];
  }

  tick({ nowUnixMs, observingSinceUnixMs }: Tick): readonly Finding[] {
    const findings = this.#runShares({ nowUnixMs, observingSinceUnixMs, isTick: true });
    for (const cap of Object.values(this.#caps())) findings.push(...cap.tick(nowUnixMs));
    for (const { cap, beyond, beyondHost } of this.#shares) if (beyond > 0) cap.hold(beyond, beyondHost, nowUnixMs);
    if (nowUnixMs - observingSinceUnixMs >= FORGET_OBSERVED_MS && isForgetDue(nowUnixMs, this.#forgotAt))
      findings.push(...this.#forget(nowUnixMs));
    return findings;
  }

  #takeSeries(batch: BatchOf<"metric_series">, key: string, nowUnixMs: number): void {
    const fingerprints = halves(batch.column("fingerprint"));
    for (let row = 0; row < batch.rowCount; row++) {
      const low = fingerprints[row * 2] as number;
      const high = fingerprints[row * 2 + 1] as number;
      if (this.#index.get(low, high) >= 0) continue;
      const host = batch.column("host_name").at(row) || key || "unknown";
      const kind = batch.column("kind").at(row);
      if (isHistogram(kind)) continue;
      const metric = batch.column("metric_name").at(row);
      const unit = batch.column("unit").at(row);
      const full = this.#fullFor(metric);
      if (full !== null) {
        full.refuse(host, nowUnixMs, metric);
        continue;
      }
      const series: Series = {
        fingerprint: hex(low, high),
        metric,
        unit: kind === "delta" ? `${unit}/s` : unit,
        isCounter: kind === "counter",
        host,
        service: batch.column("service_name").at(row),
        labels: batch.column("attributes").at(row),
      };
      this.#add(series, { low, high, nowUnixMs });
      const added = this.#series.length - 1;
      this.#seriesColumns.at.arrived[added] = nowUnixMs;
      if (kind === "delta") this.#seriesColumns.at.deltaAt[added] = Number.NEGATIVE_INFINITY;
    }
  }

  /** The cap that a further series of this metric would break. */
  #fullFor(metric: string): Cap | null {
    if (this.#series.length >= this.#config.series_max) return this.#seriesCap;
    return (this.#countOf.get(metric) ?? 0) >= this.#config.series_per_metric_max ? this.#metricCap : null;
  }

  /** A rule takes the first that it matches, up to its own cap: so the slots of those that it has never change. */
  #add(series: Series, { low, high, nowUnixMs }: { low: number; high: number; nowUnixMs: number | null }): void {
    const number = this.#series.length;
    this.#index.add(low, high, number);
    this.#series.push(series);
    this.#countOf.set(series.metric, (this.#countOf.get(series.metric) ?? 0) + 1);
    growColumns(this.#seriesColumns, SERIES_LAYOUT, number + 1);
    const shares: number[] = [];
    this.#shares.forEach((share, place) => {
      if (share.watch.matchesSeries?.(series) !== true) return;
      if (share.series.length >= share.watch.seriesMax) {
        share.beyond++;
        share.beyondHost = series.host;
        if (nowUnixMs !== null) share.cap.refuse(series.host, nowUnixMs, series.metric);
        return;
      }
      shares.push(place, share.series.length);
      share.series.push(series);
    });
    this.#sharesOf[number] = shares.length === 0 ? NO_SHARES : Uint32Array.from(shares);
  }

  #takeSamples(batch: BatchOf<"metric_samples">, key: string, nowUnixMs: number): readonly Finding[] {
    if (key !== "") this.#hear(key, batch.header, nowUnixMs);
    const fingerprints = halves(batch.column("fingerprint"));
    const timestamps = halves(batch.column("timestamp"));
    const values = batch.column("value");
    const { arrived, deltaAt } = this.#seriesColumns.at;
    const [futureFrom, freshFrom] = [nowUnixMs + FUTURE_MS, nowUnixMs - FRESH_MS];
    let [unknown, future, late, stale] = [0, 0, 0, 0];
    for (let row = 0; row < batch.rowCount; row++) {
      const series = this.#index.get(fingerprints[row * 2] as number, fingerprints[row * 2 + 1] as number);
      if (series < 0) {
        unknown++;
        continue;
      }
      const time = (timestamps[row * 2 + 1] as number) * TWO_POW_32 + (timestamps[row * 2] as number);
      if (time > futureFrom) {
        future++;
        continue;
      }
      let value = values[row] as number;
      if (Number.isNaN(value)) {
        stale++;
        continue;
      }
      if (time < freshFrom) late++;
      arrived[series] = nowUnixMs;
      const before = deltaAt[series] as number;
      if (!Number.isNaN(before)) {
        if (!(time > before)) continue;
        deltaAt[series] = time;
        value = (value * 1000) / (time - before);
        if (before === Number.NEGATIVE_INFINITY) continue;
      }
      this.#hand(this.#sharesOf[series] as Uint32Array, time, value);
    }
    this.counts.rows += batch.rowCount;
    this.counts.unknown += unknown;
    this.counts.future += future;
    this.counts.late += late;
    this.counts.stale += stale;
    return this.#runShares({ nowUnixMs, observingSinceUnixMs: Number.POSITIVE_INFINITY, isTick: false });
  }

  #hand(shares: Uint32Array, time: number, value: number): void {
    for (let at = 0; at < shares.length; at += 2) {
      const share = this.#shares[shares[at] as number] as Share;
      if (share.count === share.slots.length) lengthen(share);
      share.slots[share.count] = shares[at + 1] as number;
      share.times[share.count] = time;
      share.values[share.count] = value;
      share.count++;
    }
  }

  #hear(
    host: string,
    header: { readonly time_min_unix_ms: number; readonly time_max_unix_ms: number },
    nowUnixMs: number,
  ): void {
    const slot = this.#hostSlot(host, nowUnixMs);
    const { time_min_unix_ms: from, time_max_unix_ms: to } = header;
    if (slot === null || to > nowUnixMs + FUTURE_MS) return;
    const at = this.#hostColumns.at;
    at.arrived[slot] = nowUnixMs;
    if (from - (at.lastEvent[slot] as number) > HOST_PAUSE_MS) at.speakingSince[slot] = from;
    at.lastEvent[slot] = Math.max(to, at.lastEvent[slot] as number);
    if (to >= nowUnixMs - FRESH_MS) at.currentAt[slot] = nowUnixMs;
  }

  #hostSlot(host: string, nowUnixMs: number): number | null {
    const known = this.#hostSlots.get(host);
    if (known !== undefined) return known;
    if (this.#hostNames.length >= this.#config.hosts_max) {
      this.#hostCap.refuse(host, nowUnixMs);
      return null;
    }
    const slot = this.#hostNames.length;
    this.#hostNames.push(host);
    this.#hostSlots.set(host, slot);
    growColumns(this.#hostColumns, HOST_LAYOUT, slot + 1);
    return slot;
  }

  #runShares(time: Tick & { readonly isTick: boolean }): Finding[] {
    const { lastEvent, currentAt, speakingSince } = this.#hostColumns.at;
    const hosts: Hosts = { names: this.#hostNames, slotOf: this.#hostSlots, lastEvent, currentAt, speakingSince };
    const findings: Finding[] = [];
    for (const share of this.#shares) {
      const { watch, series, count, slots, times, values } = share;
      if (count === 0 && !time.isTick) continue;
      findings.push(...watch.step({ ...time, series, hosts, count, slots, times, values }));
      share.count = 0;
    }
    return findings;
  }

  #forget(nowUnixMs: number): readonly Finding[] {
    this.#forgotAt = nowUnixMs;
    const since = nowUnixMs - this.#config.forget_after_s * 1000;
    return [...this.#forgetSeries(since, nowUnixMs), ...this.#forgetHosts(since, nowUnixMs)];
  }

  #forgetSeries(since: number, nowUnixMs: number): readonly Finding[] {
    const isKept = (number: number) => (this.#seriesColumns.at.arrived[number] as number) >= since;
    const kept = Uint32Array.from([...this.#series.keys()].filter(isKept));
    if (kept.length === this.#series.length) return [];
    const findings = this.#shares.flatMap(({ watch, series }, place) => {
      if (watch.matchesSeries === null) return [];
      const slots = new Uint32Array(series.length);
      let count = 0;
      for (const number of kept) {
        const shares = this.#sharesOf[number] as Uint32Array;
        for (let at = 0; at < shares.length; at += 2)
          if (shares[at] === place) slots[count++] = shares[at + 1] as number;
      }
      return watch.forget(slots.slice(0, count), nowUnixMs);
    });
    const series = Array.from(kept, (number) => this.#series[number] as Series);
    this.#seriesColumns = pickColumns(this.#seriesColumns, SERIES_LAYOUT, kept);
    this.#rebuild(series);
    return findings;
  }

  #rebuild(series: readonly Series[]): void {
    this.#series = [];
    this.#sharesOf = [];
    this.#index = new FingerprintIndex();
    this.#countOf = new Map();
    for (const share of this.#shares) Object.assign(share, { series: [], beyond: 0 });
    for (const one of series) {
      const low = Number.parseInt(one.fingerprint.slice(8), 16);
      const high = Number.parseInt(one.fingerprint.slice(0, 8), 16);
      this.#add(one, { low, high, nowUnixMs: null });
    }
  }

  #forgetHosts(since: number, nowUnixMs: number): readonly Finding[] {
    const isKept = (slot: number) => (this.#hostColumns.at.arrived[slot] as number) >= since;
    const kept = Uint32Array.from([...this.#hostNames.keys()].filter(isKept));
    if (kept.length === this.#hostNames.length) return [];
    this.#hostColumns = pickColumns(this.#hostColumns, HOST_LAYOUT, kept);
    this.#hostNames = Array.from(kept, (slot) => this.#hostNames[slot] as string);
    this.#hostSlots = new Map(this.#hostNames.map((name, slot) => [name, slot]));
    return this.#shares
      .filter(({ watch }) => watch.matchesSeries === null)
      .flatMap(({ watch }) => watch.forget(kept, nowUnixMs));
  }

  readiness(nowUnixMs: number): ReadonlyMap<string, Readiness> {
    return readinessOf(
      this.#shares.map(({ watch }) => watch),
      nowUnixMs,
    );
  }

  lacking(): ReadonlyMap<string, readonly Series[]> {
    return new Map(
      this.#shares.flatMap(({ watch, series }) => {
        const slots = watch.lacking(series.length);
        return slots.length === 0 ? [] : [[watch.rule, slots.map((slot) => series[slot] as Series)] as const];
      }),
    );
  }

  recall(rule: string, asked: readonly Series[], histories: ReadonlyMap<string, History>): void {
    const isAsked = new Set(asked.map(({ fingerprint }) => fingerprint));
    for (const { watch, series } of this.#shares) {
      if (watch.rule !== rule) continue;
      for (const slot of watch.lacking(series.length)) {
        const { fingerprint } = series[slot] as Series;
        if (isAsked.has(fingerprint)) watch.recall(slot, histories.get(fingerprint) ?? null);
      }
    }
  }

  save(): Snapshot {
    const watches = saveWatches(this.#shares.map(({ watch }) => watch));
    const json: z.input<typeof SavedIntake> = {
      series: this.#series,
      hosts: this.#hostNames,
      caps: Object.fromEntries(Object.entries(this.#caps()).map(([name, cap]) => [name, cap.save()])),
      watches: watches.json,
    };
    const series = saveColumns(this.#seriesColumns, SERIES_LAYOUT);
    const hosts = saveColumns(this.#hostColumns, HOST_LAYOUT);
    const named = (prefix: string, columns: Readonly<Record<string, Float64Array>>) =>
      Object.entries(columns).map(([name, values]) => [`${prefix}${name}`, values] as const);
    return {
      json,
      columns: { ...watches.columns, ...Object.fromEntries([...named("series.", series), ...named("host.", hosts)]) },
    };
  }

  load({ json, columns }: Snapshot): readonly Finding[] {
    const saved = SavedIntake.parse(json);
    const arrived = columns["series.arrived"] ?? new Float64Array();
    // A snapshot of before there were deltas has none.
    const deltaAt = columns["series.deltaAt"] ?? new Float64Array(arrived.length).fill(Number.NaN);
    const series = loadColumns({ arrived, deltaAt }, SERIES_LAYOUT);
    if (series.slots !== saved.series.length)
      throw new RangeError(`${saved.series.length} series, ${series.slots} slots`);
    const hosts = Object.keys(HOST_LAYOUT).map((name) => [name, columns[`host.${name}`] ?? new Float64Array()]);
    this.#seriesColumns = series;
    this.#rebuild(saved.series);
    this.#hostColumns = loadColumns(Object.fromEntries(hosts), HOST_LAYOUT);
    this.#hostNames = saved.hosts;
    this.#hostSlots = new Map(saved.hosts.map((name, slot) => [name, slot]));
    const caps = this.#caps();
    const orphans = Object.entries(saved.caps).flatMap(([name, cap]) => {
      if (!(name in caps)) return orphansOfCap(cap, name.slice(RULE_CAP.length));
      caps[name]?.load(cap);
      return [];
    });
    const watches = this.#shares.map(({ watch }) => watch);
    return [...orphans, ...loadWatches(watches, saved.watches, columns)];
  }
}
