import { type Fences, fencesAt } from "../../gateway/fences.ts";
import { entryOf, Identities, ResourceEntry, SeriesEntry } from "../../gateway/identities.ts";
import type {
  HistogramPoint,
  LogRecord,
  Refusal,
  Resource,
  ResourceRef,
  SeriesIdentity,
  SeriesRef,
} from "../../gateway/intake.ts";
import { recordFits } from "../../gateway/record-size.ts";
import {
  histogramRow,
  logRow,
  nothingCounted,
  pointRefusal,
  refusalOfRow,
  resourceRow,
  sampleRow,
  seriesRow,
  timed,
} from "../../gateway/telemetry-rows.ts";
import type { LogSink, Registry } from "../otlp/append-logs.ts";
import type { MetricSink } from "../otlp/append-metrics.ts";
import type { MessageBatches } from "./message-batches.ts";

export interface TopicLimits {
  readonly late_max_ms: number;
  readonly future_max_ms: number;
  readonly lanes: number;
  readonly identities_bytes_max: number;
}

interface Message {
  readonly batches: MessageBatches;
  /** The bus's time of the message: times are measured against it, not against a clock, so that a second reading decides alike. */
  readonly takenAtUnixMs: number;
  readonly fences: Fences;
}

/** What has been told by this process, and the rows of the message that is being read. */
export class TopicRecords implements Registry, LogSink, MetricSink {
  readonly #limits: TopicLimits;
  readonly #now: () => number;
  readonly #identities: Identities;
  #epoch = 0;
  #message: Message | null = null;
  /** Of the message that is being read. */
  accepted = 0;
  rejected = new Map<string, number>();

  constructor(options: { readonly limits: TopicLimits; readonly now: () => number }) {
    this.#limits = options.limits;
    this.#now = options.now;
    const { lanes, identities_bytes_max: bytesMax } = options.limits;
    this.#identities = new Identities({ lanes, bytesMax });
  }

  begin(batches: MessageBatches, takenAtUnixMs: number): void {
    this.#message = { batches, takenAtUnixMs, fences: fencesAt(takenAtUnixMs, this.#limits) };
    this.accepted = 0;
    this.rejected = new Map();
  }

  /** What was told may not have reached the bus: all is told anew. */
  forgetTold(): void {
    this.#epoch++;
  }

  resource(resource: Resource): ResourceRef {
    return this.#identities.resource(resource);
  }

  series(identity: SeriesIdentity): SeriesRef {
    const { entry, isNew } = this.#identities.series(identity);
    if (isNew && entry.refusal === null) this.#identities.remember(entry);
    return entry;
  }

  log(ref: ResourceRef, record: LogRecord): Refusal | null {
    const entry = entryOf(ref, ResourceEntry);
    const message = this.#current();
    const times = timed(record, message.takenAtUnixMs);
    const early = entry.refusal ?? message.fences.refusalOfNano(times.time);
    const refusal = early ?? (recordFits(record) ? null : "too_large");
    if (refusal !== null) return this.#refuse(refusal);
    return this.#append(() => {
      this.#tellResource(message, entry);
      message.batches.append("data", entry.lane, "logs", logRow(entry, times));
    });
  }

  sample(ref: SeriesRef, timestampUnixMs: number, value: number, startUnixMs = 0): Refusal | null {
    const entry = entryOf(ref, SeriesEntry);
    const message = this.#current();
    const { batches, fences } = message;
    const refusal = entry.refusal ?? fences.refusalOf(timestampUnixMs);
    if (refusal !== null) return this.#refuse(refusal);
    return this.#append(() => {
      this.#tellSeries(message, entry);
      if (entry.beginsAt(startUnixMs, timestampUnixMs, fences))
        batches.append("telling", entry.lane, "metric_samples", sampleRow(entry, startUnixMs, 0));
      batches.append("data", entry.lane, "metric_samples", sampleRow(entry, timestampUnixMs, value));
    });
  }

  histogram(ref: SeriesRef, point: HistogramPoint, startUnixMs = 0): Refusal | null {
    const entry = entryOf(ref, SeriesEntry);
    const message = this.#current();
    const { batches, fences } = message;
    const refusal = entry.refusal ?? fences.refusalOf(point.timestampUnixMs) ?? pointRefusal(point);
    if (refusal !== null) return this.#refuse(refusal);
    return this.#append(() => {
      this.#tellSeries(message, entry);
      if (entry.beginsAt(startUnixMs, point.timestampUnixMs, fences)) {
        const zero = histogramRow(entry, nothingCounted(point, startUnixMs));
        batches.append("telling", entry.lane, "metric_histograms", zero);
      }
      batches.append("data", entry.lane, "metric_histograms", histogramRow(entry, point));
    });
  }

  reject(reason: string, records: number): void {
    this.rejected.set(reason, (this.rejected.get(reason) ?? 0) + records);
  }

  #current(): Message {
    if (this.#message === null) throw new Error("no message is being read");
    return this.#message;
  }

  #append(append: () => void): Refusal | null {
    try {
      append();
    } catch (error) {
      return this.#refuse(refusalOfRow(error));
    }
    this.accepted++;
    return null;
  }

  #refuse(refusal: Refusal): Refusal {
    this.reject(refusal, 1);
    return refusal;
  }

  #tellResource({ batches }: Message, entry: ResourceEntry): void {
    const seenAt = this.#now();
    if (!entry.isUntold(this.#epoch, seenAt)) return;
    batches.append("telling", entry.lane, "log_resources", resourceRow(entry, seenAt));
    entry.markTold(this.#epoch, seenAt);
  }

  #tellSeries({ batches }: Message, entry: SeriesEntry): void {
    const seenAt = this.#now();
    if (!entry.isUntold(this.#epoch, seenAt)) return;
    batches.append("telling", entry.lane, "metric_series", seriesRow(entry, seenAt));
    entry.markTold(this.#epoch, seenAt);
  }
}
