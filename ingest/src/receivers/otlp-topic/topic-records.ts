import { BatchError } from "@homeostat/schemas";
import { type Fences, fencesAt } from "../../gateway/fences.ts";
import { Identities, ResourceEntry, SeriesEntry } from "../../gateway/identities.ts";
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
import type { LogSink, Registry } from "../otlp/append-logs.ts";
import type { MetricSink } from "../otlp/append-metrics.ts";
import type { MessageBatches } from "./message-batches.ts";

/** Series and resources are told anew after this, as agents do. */
const RETELL_MS = 600_000;
/** A counter that is new here and began within this time counted from zero while we watched. */
const BEGAN_LATELY_MS = 600_000;
const NS_PER_MS = 1_000_000n;

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
    const entry = expect(ref, ResourceEntry);
    const message = this.#current();
    const { takenAtUnixMs, fences } = message;
    const observed = record.observedUnixNano === 0n ? BigInt(takenAtUnixMs) * NS_PER_MS : record.observedUnixNano;
    const time = record.timeUnixNano === 0n ? observed : record.timeUnixNano;
    const refusal = entry.refusal ?? fences.refusalOfNano(time) ?? (recordFits(record) ? null : "too_large");
    if (refusal !== null) return this.#refuse(refusal);
    return this.#append(() => {
      this.#tellResource(message, entry);
      message.batches.append("data", entry.lane, "logs", {
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
    });
  }

  sample(ref: SeriesRef, timestampUnixMs: number, value: number, startUnixMs = 0): Refusal | null {
    const entry = expect(ref, SeriesEntry);
    const message = this.#current();
    const refusal = entry.refusal ?? message.fences.refusalOf(timestampUnixMs);
    if (refusal !== null) return this.#refuse(refusal);
    const { metricId: metric_id, fingerprint, lane } = entry;
    return this.#append(() => {
      this.#tellSeries(message, entry);
      if (this.#beginsAt(entry, timestampUnixMs, startUnixMs)) {
        const zero = { metric_id, fingerprint, timestamp: startUnixMs, value: 0 };
        message.batches.append("telling", lane, "metric_samples", zero);
      }
      const sample = { metric_id, fingerprint, timestamp: timestampUnixMs, value };
      message.batches.append("data", lane, "metric_samples", sample);
    });
  }

  histogram(ref: SeriesRef, point: HistogramPoint, startUnixMs = 0): Refusal | null {
    const entry = expect(ref, SeriesEntry);
    const message = this.#current();
    const refusal = entry.refusal ?? message.fences.refusalOf(point.timestampUnixMs);
    if (refusal !== null) return this.#refuse(refusal);
    const { metricId: metric_id, fingerprint, lane } = entry;
    const { timestampUnixMs: timestamp, ...distribution } = point;
    return this.#append(() => {
      this.#tellSeries(message, entry);
      if (this.#beginsAt(entry, timestamp, startUnixMs)) {
        const nothing = { count: 0, sum: 0, min: Number.NaN, max: Number.NaN, counts: point.counts.map(() => 0) };
        const zero = { metric_id, fingerprint, timestamp: startUnixMs, bounds: point.bounds, ...nothing };
        message.batches.append("telling", lane, "metric_histograms", zero);
      }
      message.batches.append("data", lane, "metric_histograms", { metric_id, fingerprint, timestamp, ...distribution });
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
      if (!(error instanceof BatchError)) throw error;
      return this.#refuse(error.code === "too_long" ? "too_large" : "bad_value");
    }
    this.accepted++;
    return null;
  }

  #refuse(refusal: Refusal): Refusal {
    this.reject(refusal, 1);
    return refusal;
  }

  /** Once in a while, and once in each epoch. A clock that went back tells anew as well. */
  #mustTell(entry: ResourceEntry | SeriesEntry, nowUnixMs: number): boolean {
    const age = nowUnixMs - entry.toldAtUnixMs;
    if (entry.toldInEpoch === this.#epoch && age < RETELL_MS && age >= 0) return false;
    entry.toldInEpoch = this.#epoch;
    entry.toldAtUnixMs = nowUnixMs;
    return true;
  }

  #tellResource({ batches }: Message, entry: ResourceEntry): void {
    const seen_at = this.#now();
    if (!this.#mustTell(entry, seen_at)) return;
    const { host: host_name, service: service_name, attributes } = entry.resource;
    const { resourceId: resource_id } = entry;
    const row = { resource_id, seen_at, host_name, service_name, attributes };
    batches.append("telling", entry.lane, "log_resources", row);
  }

  #tellSeries({ batches }: Message, entry: SeriesEntry): void {
    const seen_at = this.#now();
    if (!this.#mustTell(entry, seen_at)) return;
    const { name: metric_name, kind, unit, host: host_name, service: service_name, attributes } = entry.identity;
    const { metricId: metric_id, fingerprint } = entry;
    const row = { metric_id, fingerprint, seen_at, metric_name, kind, unit, host_name, service_name, attributes };
    batches.append("telling", entry.lane, "metric_series", row);
  }

  /** Whether a cumulative series began to count anew at its start time, so that it was zero then. Remembers the start. */
  #beginsAt(entry: SeriesEntry, timestampUnixMs: number, startUnixMs: number): boolean {
    const { kind } = entry.identity;
    if (kind !== "counter" && kind !== "histogram") return false;
    const before = entry.startUnixMs;
    if (before === null || startUnixMs > before) entry.startUnixMs = startUnixMs;
    if (startUnixMs <= 0 || startUnixMs >= timestampUnixMs) return false;
    if (this.#current().fences.refusalOf(startUnixMs) !== null) return false;
    if (before === null) return timestampUnixMs - startUnixMs <= BEGAN_LATELY_MS;
    return before > 0 && startUnixMs > before;
  }
}

const expect = <T extends object>(ref: object, type: abstract new (...args: never[]) => T): T => {
  if (ref instanceof type) return ref;
  throw new TypeError(`want a reference that this reader has made, as a ${type.name}`);
};
