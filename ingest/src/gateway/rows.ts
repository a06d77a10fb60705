import type { ResourceEntry, SeriesEntry } from "./identities.ts";
import type { HistogramPoint } from "./intake.ts";
import type { Lane, RowGroup } from "./lane.ts";
import { histogramRow, logRow, resourceRow, sampleRow, seriesRow, type TimedRecord } from "./telemetry-rows.ts";

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

  log(entry: ResourceEntry, record: TimedRecord, nowUnixMs: number): RowGroup {
    const lane = laneAt(this.#logs, entry.lane);
    if (entry.isUntold(this.#epoch, nowUnixMs)) {
      lane.append("log_resources", resourceRow(entry, nowUnixMs));
      entry.markTold(this.#epoch, nowUnixMs);
    }
    return lane.append("logs", logRow(entry, record));
  }

  sample(entry: SeriesEntry, timestamp: number, value: number, nowUnixMs: number): RowGroup {
    return this.#laneOf(entry, nowUnixMs).append("metric_samples", sampleRow(entry, timestamp, value));
  }

  histogram(entry: SeriesEntry, point: HistogramPoint, nowUnixMs: number): RowGroup {
    return this.#laneOf(entry, nowUnixMs).append("metric_histograms", histogramRow(entry, point));
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
    if (!entry.isUntold(this.#epoch, nowUnixMs)) return lane;
    lane.append("metric_series", seriesRow(entry, nowUnixMs));
    entry.markTold(this.#epoch, nowUnixMs);
    return lane;
  }
}

const laneAt = (lanes: readonly Lane[], index: number): Lane => {
  const lane = lanes[index];
  if (lane === undefined) throw new RangeError(`there is no lane ${index}: the reference is of another gateway`);
  return lane;
};
