import type { ResourceEntry, SeriesEntry } from "./identities.ts";
import type { HistogramPoint, LogRecord } from "./intake.ts";
import type { Lane, RowGroup } from "./lane.ts";

/** What has been told is told anew this often, so that a reader need not look back further than a day's part or a topic's retention. */
const RETELL_MS = 600_000;

/** A log record with the times that stand for those that its sender did not tell, in nanoseconds. */
export interface TimedRecord {
  readonly record: LogRecord;
  readonly time: bigint;
  readonly observed: bigint;
}

/** Appends rows to lanes, and what they refer to before them. */
export class Rows {
  readonly #logs: readonly Lane[];
  readonly #metrics: readonly Lane[];
  readonly #now: () => number;
  /** By lane: how many samples were folded into each overflow series since the lane's last batches. As many at most as metrics can overflow. */
  readonly #folded: readonly Map<SeriesEntry, number>[];
  #epoch = 0;

  constructor(options: { logs: readonly Lane[]; metrics: readonly Lane[]; now: () => number }) {
    this.#logs = options.logs;
    this.#metrics = options.metrics;
    this.#now = options.now;
    this.#folded = options.metrics.map(() => new Map());
    for (const [index, lane] of options.metrics.entries()) lane.beforeSeal = () => this.#appendFolded(index);
  }

  /** Batches were lost for good: nothing is known to have been told. */
  forgetTold(): void {
    this.#epoch++;
  }

  log(entry: ResourceEntry, { record, time, observed }: TimedRecord, nowUnixMs: number): RowGroup {
    const lane = laneAt(this.#logs, entry.lane);
    if (this.#isUntold(entry, nowUnixMs)) {
      const { host, service, attributes } = entry.resource;
      const seen_at = nowUnixMs;
      const { resourceId: resource_id } = entry;
      lane.append("log_resources", { resource_id, seen_at, host_name: host, service_name: service, attributes });
      this.#markTold(entry, nowUnixMs);
    }
    return lane.append("logs", {
      timestamp: time,
      severity_number: record.severityNumber,
      service_name: entry.resource.service,
      host_name: entry.resource.host,
      trace_id: record.traceId,
      span_id: record.spanId,
      body: record.body,
      attributes: record.attributes,
      observed_timestamp: observed,
      severity_text: record.severityText,
      event_name: record.eventName,
      scope_name: record.scopeName,
      trace_flags: record.traceFlags,
      resource_id: entry.resourceId,
    });
  }

  sample(entry: SeriesEntry, timestamp: number, value: number, nowUnixMs: number): RowGroup {
    const lane = this.#laneOf(entry, nowUnixMs);
    const { metricId: metric_id, fingerprint } = entry;
    return lane.append("metric_samples", { metric_id, fingerprint, timestamp, value });
  }

  histogram(entry: SeriesEntry, point: HistogramPoint, nowUnixMs: number): RowGroup {
    const lane = this.#laneOf(entry, nowUnixMs);
    const { metricId: metric_id, fingerprint } = entry;
    const { timestampUnixMs: timestamp, count, sum, min, max, bounds, counts } = point;
    return lane.append("metric_histograms", {
      metric_id,
      fingerprint,
      timestamp,
      count,
      sum,
      min,
      max,
      bounds,
      counts,
    });
  }

  /** Counts one sample into an overflow series. */
  fold(overflow: SeriesEntry): RowGroup {
    const folded = this.#folded[overflow.lane];
    folded?.set(overflow, (folded.get(overflow) ?? 0) + 1);
    return laneAt(this.#metrics, overflow.lane).openGroup();
  }

  #appendFolded(index: number): void {
    const folded = this.#folded[index];
    if (folded === undefined) return;
    const now = this.#now();
    for (const [entry, value] of folded) {
      // Taken out first: the append may fill a batch, and then this runs once more for the rest.
      folded.delete(entry);
      this.sample(entry, now, value, now);
    }
  }

  #laneOf(entry: SeriesEntry, nowUnixMs: number): Lane {
    const lane = laneAt(this.#metrics, entry.lane);
    if (!this.#isUntold(entry, nowUnixMs)) return lane;
    const { name, kind, unit, host, service, attributes } = entry.identity;
    lane.append("metric_series", {
      metric_id: entry.metricId,
      fingerprint: entry.fingerprint,
      seen_at: nowUnixMs,
      metric_name: name,
      kind,
      unit,
      host_name: host,
      service_name: service,
      attributes,
    });
    this.#markTold(entry, nowUnixMs);
    return lane;
  }

  #isUntold({ toldInEpoch, toldAtUnixMs }: ResourceEntry | SeriesEntry, nowUnixMs: number): boolean {
    // A clock that went back tells anew as well.
    const age = nowUnixMs - toldAtUnixMs;
    return toldInEpoch !== this.#epoch || age >= RETELL_MS || age < 0;
  }

  #markTold(entry: ResourceEntry | SeriesEntry, nowUnixMs: number): void {
    entry.toldInEpoch = this.#epoch;
    entry.toldAtUnixMs = nowUnixMs;
  }
}

const laneAt = (lanes: readonly Lane[], index: number): Lane => {
  const lane = lanes[index];
  if (lane === undefined) throw new RangeError(`there is no lane ${index}: the reference is of another gateway`);
  return lane;
};
