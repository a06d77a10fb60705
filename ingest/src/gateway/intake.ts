import type { SeriesKind } from "@homeostat/schemas";

export type { SeriesKind } from "@homeostat/schemas";

/**
 * What a receiver hands to the gateway, and what it gets back. A receiver decodes a whole body, then appends its records to a
 * submission; the gateway makes batches of the records of many submissions and tells each when the bus has all of its own.
 */

/** What telemetry is about: `host` and `service` are `host.name` and `service.name`, "" when not told; both stand in `attributes` too. */
export interface Resource {
  readonly host: string;
  readonly service: string;
  readonly attributes: Readonly<Record<string, string>>;
}

export interface SeriesIdentity {
  readonly name: string;
  readonly kind: SeriesKind;
  /** UCUM, "" when not told. */
  readonly unit: string;
  readonly host: string;
  readonly service: string;
  /** All labels, those that tell host and service among them when set. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** A log record in OpenTelemetry's data model (https://opentelemetry.io/docs/specs/otel/logs/data-model/). */
export interface LogRecord {
  /** 0n: not told; then the observed time stands for it, and when that is 0n too, the time of arrival. */
  readonly timeUnixNano: bigint;
  readonly observedUnixNano: bigint;
  /** 0 (unspecified) to 24. */
  readonly severityNumber: number;
  readonly severityText: string;
  readonly eventName: string;
  readonly scopeName: string;
  /** Lower-case hexadecimal digits, "" when there is none. */
  readonly traceId: string;
  readonly spanId: string;
  /** 0 to 255. */
  readonly traceFlags: number;
  readonly body: string;
  /** The record's own; those of the resource are told with the resource. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** One point of a distribution; `bounds` and `counts` as the columns of `metric_histograms` have them. NaN: not known. */
export interface HistogramPoint {
  /** Whole milliseconds. */
  readonly timestampUnixMs: number;
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  /** Inclusive upper bounds, ascending, the last may be Infinity. */
  readonly bounds: readonly number[];
  /** As many as bounds, each of its bucket alone. */
  readonly counts: readonly number[];
}

/** Stands for a resource or a series; only a gateway makes them. A receiver may keep one as long as it likes (and must cap what it keeps). */
export interface ResourceRef {
  readonly resourceId: bigint;
}
export interface SeriesRef {
  readonly fingerprint: bigint;
}

/**
 * Why one record was refused. It is counted, and the others of its submission go on.
 * `late`, `future`: outside the fences. `not_a_number`: a point whose counts or time are no numbers. `bad_value`: a field outside its
 * range. `too_large`: the record, or the resource or series it belongs to. `too_many`: more records than one request may have.
 */
export const REFUSALS = ["late", "future", "not_a_number", "bad_value", "too_large", "too_many"] as const;
export type Refusal = (typeof REFUSALS)[number];

export interface Submission {
  /** Each answers null when the record was taken, or why it was not. None of them throws for what a record holds. */
  log(resource: ResourceRef, record: LogRecord): Refusal | null;
  /**
   * NaN is a staleness marker. `startUnixMs`: since when a `counter` counts, where the sender tells it (0 or absent: unknown).
   * A sample of a metric that is over its budget is folded into the metric's overflow series, and counts as taken.
   */
  sample(series: SeriesRef, timestampUnixMs: number, value: number, startUnixMs?: number): Refusal | null;
  /** Appends the distribution alone: the ordinary series `X_count` and `X_sum` of a histogram `X` are the receiver's to append. */
  histogram(series: SeriesRef, point: HistogramPoint, startUnixMs?: number): Refusal | null;
  /** Counts records that the receiver itself could not take, by a reason of its own (at most 64 characters of a fixed set). */
  reject(reason: string, records: number): void;
  /**
   * Resolves when the bus has every record that was taken, however long that takes; at once when there is none.
   * Nothing may be appended afterwards.
   * @throws GatewayError when the bus refuses them for good, or the gateway stops.
   */
  commit(): Promise<void>;
  /** Gives the room back without a commit, when nothing was appended. */
  abandon(): void;
}

export interface Gateway {
  resource(resource: Resource): ResourceRef;
  /** Over the metric's budget of new series, what is appended to the ref is counted into the overflow series, until there is room again. */
  series(identity: SeriesIdentity): SeriesRef;
  /** `bytes`: of the decompressed body. null: there is no room now; say 429 with Retry-After. Each admission ends with commit or abandon. */
  admit(request: { readonly sender: string; readonly receiver: string; readonly bytes: number }): Submission | null;
}

/** What a receiver hears when a commit fails. After it some of the records may be on the bus none the less. */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly code: "stopped" | "refused";
  constructor(code: GatewayError["code"], message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
