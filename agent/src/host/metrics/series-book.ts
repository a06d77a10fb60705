import { BatchBuilder, metricId, seriesFingerprint } from "@homeostat/schemas";
import type { Spool } from "../spool/spool.ts";

export type Labels = Readonly<Record<string, string>>;

/** One series. `record` notes its value at the time of the present tick. */
export interface Series {
  record(value: number): void;
}

/** Where collectors put what they measure. Ask once for a series and keep it. */
export interface Sink {
  gauge(name: string, unit: string, labels?: Labels): Series;
  counter(name: string, unit: string, labels?: Labels): Series;
}

const METRICS = "telemetry.metrics";
/** Beyond this many series the rest goes uncounted into none: a machine with ten thousand disks must not hurt the platform. */
export const SERIES_MAX = 2_000;
const RETELL_MS = 600_000;
/** A clock that went back less than this catches up; one that went back further was wrong before. */
const CLOCK_STEP_MAX_MS = 600_000;

interface Entry extends Series {
  readonly metricName: string;
  readonly kind: string;
  readonly unit: string;
  readonly labels: Labels;
  readonly metricId: bigint;
  readonly fingerprint: bigint;
  lastUnixMs: number;
}

/**
 * Turns recorded values into batches: `metric_series` for what is new (and everything anew every ten minutes), always before `metric_samples`.
 *
 * Timestamps never repeat or go back within a series. When the clock goes back by up to ten minutes, samples are dropped (`clock_backwards`)
 * until it has caught up: the time in between has its samples already. When it goes back further, the times before were wrong: series go on
 * with the new time, and the agent says so. Values that are no finite numbers are dropped (`not_a_number`).
 */
export class SeriesBook implements Sink {
  readonly #host: string;
  readonly #spool: Spool;
  readonly #entries = new Map<string, Entry>();
  readonly #series = new BatchBuilder("metric_series");
  readonly #samples = new BatchBuilder("metric_samples");
  readonly #sample = { metric_id: 0n, fingerprint: 0n, timestamp: 0, value: 0 };
  #tickUnixMs = 0;
  #clockHighUnixMs = 0;
  #toldAtUnixMs = 0;
  #untold: Entry[] = [];
  #losses = 0;
  #rejected: Record<string, number> = {};
  clockProblem: string | null = null;
  isOverflowing = false;

  constructor(options: { host: string; spool: Spool }) {
    this.#host = options.host;
    this.#spool = options.spool;
  }

  gauge(name: string, unit: string, labels: Labels = {}): Series {
    return this.#find("gauge", name, unit, labels);
  }

  counter(name: string, unit: string, labels: Labels = {}): Series {
    return this.#find("counter", name, unit, labels);
  }

  /** From now on values are recorded at this time. */
  tick(nowUnixMs: number): void {
    this.#watchClock(nowUnixMs);
    this.#tickUnixMs = nowUnixMs;
    if (nowUnixMs - this.#toldAtUnixMs >= RETELL_MS || nowUnixMs < this.#toldAtUnixMs) this.#retell(nowUnixMs);
  }

  /** Spools what has been recorded; what the spool refuses is dropped and counted. */
  flush(): void {
    this.#retellAfterLoss();
    for (const entry of this.#untold) this.#tell(entry);
    this.#untold = [];
    this.#spoolBatch(this.#series);
    this.#spoolBatch(this.#samples);
    for (const [reason, rows] of Object.entries(this.#rejected)) this.#spool.reject(reason, rows, METRICS);
    this.#rejected = {};
  }

  #find(kind: string, name: string, unit: string, labels: Labels): Series {
    const all = { ...labels, "host.name": this.#host };
    const fingerprint = seriesFingerprint(name, all);
    const key = fingerprint.toString(36);
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    if (this.#entries.size >= SERIES_MAX) {
      this.isOverflowing = true;
      return { record: () => this.#reject("series_overflow") };
    }
    const entry: Entry = {
      metricName: name,
      kind,
      unit,
      labels: all,
      metricId: metricId(name),
      fingerprint,
      lastUnixMs: 0,
      record: (value) => this.#record(entry, value),
    };
    this.#entries.set(key, entry);
    this.#untold.push(entry);
    return entry;
  }

  #record(entry: Entry, value: number): void {
    const refusal = this.#refusalOf(entry, value);
    if (refusal !== null) {
      this.#reject(refusal);
      return;
    }
    const at = this.#tickUnixMs;
    entry.lastUnixMs = at;
    this.#sample.metric_id = entry.metricId;
    this.#sample.fingerprint = entry.fingerprint;
    this.#sample.timestamp = at;
    this.#sample.value = value;
    this.#samples.append(this.#sample);
    if (this.#samples.isFull) this.flush();
  }

  #refusalOf(entry: Entry, value: number): string | null {
    if (!Number.isFinite(value)) return "not_a_number";
    const behindMs = entry.lastUnixMs - this.#tickUnixMs;
    return behindMs >= 0 && behindMs < CLOCK_STEP_MAX_MS ? "clock_backwards" : null;
  }

  #reject(reason: string): void {
    this.#rejected[reason] = (this.#rejected[reason] ?? 0) + 1;
  }

  #watchClock(nowUnixMs: number): void {
    const behindMs = this.#clockHighUnixMs - nowUnixMs;
    if (behindMs >= CLOCK_STEP_MAX_MS) this.#clockHighUnixMs = nowUnixMs;
    else this.#clockHighUnixMs = Math.max(this.#clockHighUnixMs, nowUnixMs);
    if (behindMs <= 0) this.clockProblem = null;
    else if (behindMs < CLOCK_STEP_MAX_MS)
      this.clockProblem = `the clock went back: samples are dropped for another ${Math.ceil(behindMs / 1000)} s`;
    else this.clockProblem = `the clock went back by ${Math.round(behindMs / 1000)} s: series go on with the new time`;
  }

  #tell(entry: Entry): void {
    this.#series.append({
      metric_id: entry.metricId,
      fingerprint: entry.fingerprint,
      seen_at: this.#tickUnixMs,
      metric_name: entry.metricName,
      kind: entry.kind,
      unit: entry.unit,
      host_name: this.#host,
      service_name: entry.labels["service.name"] ?? "",
      attributes: entry.labels,
    });
  }

  #retell(nowUnixMs: number): void {
    this.#untold = [...this.#entries.values()];
    this.#toldAtUnixMs = nowUnixMs;
  }

  /** When the spool has lost something, series may be among it: samples would have no name. */
  #retellAfterLoss(): void {
    const { dropped } = this.#spool.ledger();
    const losses =
      (dropped.spool_full ?? 0) + (dropped.corrupt ?? 0) + (dropped.disk_full ?? 0) + (dropped.write_error ?? 0);
    if (losses > this.#losses) this.#retell(this.#toldAtUnixMs);
    this.#losses = losses;
  }

  #spoolBatch(builder: BatchBuilder<"metric_series"> | BatchBuilder<"metric_samples">): void {
    const rows = builder.rowCount;
    if (rows === 0) return;
    const value = builder.finish({ producer: this.#spool.producer, sequence: this.#spool.nextSequence });
    const outcome = this.#spool.append({ topic: METRICS, rows, value });
    if (!outcome.appended) this.#spool.reject(outcome.reason, rows, METRICS);
  }
}
