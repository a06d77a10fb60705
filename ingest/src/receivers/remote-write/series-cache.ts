import type { Gateway, SeriesIdentity, SeriesRef } from "../../gateway/intake.ts";
import type { SeriesLabels } from "./labels.ts";
import { kindOf, METRIC_TYPE, unitOf } from "./metric-kind.ts";

/** A native histogram's three series: X, X_count and X_sum. */
export interface HistogramRefs {
  readonly isGauge: boolean;
  readonly distribution: SeriesRef;
  readonly count: SeriesRef;
  readonly sum: SeriesRef;
}

/** A series that was seen before: its labels, the type and unit last told, and what stands for it at the gateway. */
export class KnownSeries {
  readonly labels: SeriesLabels;
  /** Of MetricFamilies, when type and unit were last looked up there. */
  generation = -1;
  #type: number = METRIC_TYPE.unknown;
  #unit = "";
  #samples: SeriesRef | null = null;
  #histogram: HistogramRefs | null = null;

  constructor(labels: SeriesLabels) {
    this.labels = labels;
  }

  describe(type: number, unit: string): void {
    if (type === this.#type && unit === this.#unit) return;
    this.#type = type;
    this.#unit = unit;
    this.#samples = null;
    this.#histogram = null;
  }

  samplesRef(gateway: Gateway): SeriesRef {
    const { name } = this.labels;
    this.#samples ??= gateway.series(this.#identity(name, kindOf(name, this.#type), unitOf(name, this.#unit)));
    return this.#samples;
  }

  /** A gauge histogram's points stand each for itself, as deltas do; its count and sum are gauges. */
  histogramRefs(gateway: Gateway, hintIsGauge: boolean): HistogramRefs {
    const isGauge = hintIsGauge || this.#type === METRIC_TYPE.gaugeHistogram;
    if (this.#histogram?.isGauge === isGauge) return this.#histogram;
    const { name } = this.labels;
    const unit = unitOf(name, this.#unit);
    const kind = isGauge ? "gauge" : "counter";
    this.#histogram = {
      isGauge,
      distribution: gateway.series(this.#identity(name, isGauge ? "delta_histogram" : "histogram", unit)),
      count: gateway.series(this.#identity(`${name}_count`, kind, "")),
      sum: gateway.series(this.#identity(`${name}_sum`, kind, unit)),
    };
    return this.#histogram;
  }

  #identity(name: string, kind: SeriesIdentity["kind"], unit: string): SeriesIdentity {
    const { host, service, attributes } = this.labels;
    return { name, kind, unit, host, service, attributes };
  }
}

/** The bytes that name a series, where they stand. `view` is over the same memory as `bytes`. */
export interface Key {
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly start: number;
  readonly end: number;
}

interface CachedSeries {
  readonly bytes: Buffer;
  readonly series: KnownSeries;
  /** Another series of the same digest. */
  readonly next: CachedSeries | null;
  /** The series that came after this one the last time. */
  follower: CachedSeries | null;
}

const isKeyOf = ({ bytes }: CachedSeries, key: Key): boolean =>
  bytes.length === key.end - key.start && key.bytes.compare(bytes, 0, bytes.length, key.start, key.end) === 0;

/** What all cached series may take in memory, as `costOf` estimates it: some 60,000 series of ten labels. */
const CACHE_BYTES_MAX = 64 * 1_048_576;
/** Longer keys are decoded anew each time. */
const KEY_BYTES_MAX = 16_384;
/** Digests that collide are rare unless somebody seeks them: then series are decoded anew each time. */
const SAME_DIGEST_MAX = 4;

/** The key, the labels as strings, and what keeps them. */
const costOf = (keyBytes: number): number => 3 * keyBytes + 400;

/** Murmur3's multiplier and mixer, four bytes at a time; 30 bits, so that V8 keeps it without an object. */
const digestOf = ({ bytes, view, start, end }: Key, seed: number): number => {
  let digest = seed ^ (end - start);
  let at = start;
  for (; at + 4 <= end; at += 4) {
    digest = Math.imul(digest ^ view.getInt32(at, true), 0x5bd1_e995);
    digest ^= digest >>> 15;
  }
  for (; at < end; at++) digest = Math.imul(digest ^ (bytes[at] ?? 0), 0x5bd1_e995);
  digest ^= digest >>> 13;
  return Math.imul(digest, 0x5bd1_e995) >>> 2;
};

/**
 * Series by the bytes that name them. Senders keep an order, so the series that followed the last time is tried first; others are found by a
 * digest. Either way all bytes are compared. When it is full it begins anew: series are decoded again as
 * they come, which costs time and nothing else.
 */
export class SeriesCache {
  readonly #seed: number;
  readonly #byDigest = new Map<number, CachedSeries>();
  #bytes = 0;
  #last: CachedSeries | null = null;

  constructor(seed: number) {
    this.#seed = seed;
  }

  find(key: Key): KnownSeries | undefined {
    const expected = this.#last?.follower ?? null;
    const cached = expected !== null && isKeyOf(expected, key) ? expected : this.#findByDigest(key);
    if (cached === null) return undefined;
    if (this.#last !== null) this.#last.follower = cached;
    this.#last = cached;
    return cached.series;
  }

  #findByDigest(key: Key): CachedSeries | null {
    let cached = this.#byDigest.get(digestOf(key, this.#seed)) ?? null;
    while (cached !== null && !isKeyOf(cached, key)) cached = cached.next;
    return cached;
  }

  add(key: Key, series: KnownSeries): void {
    const keyBytes = key.end - key.start;
    if (keyBytes > KEY_BYTES_MAX) return;
    if (this.#bytes + costOf(keyBytes) > CACHE_BYTES_MAX) this.clear();
    const digest = digestOf(key, this.#seed);
    const next = this.#byDigest.get(digest) ?? null;
    let same = 0;
    for (let other = next; other !== null; other = other.next) same++;
    if (same >= SAME_DIGEST_MAX) return;
    const bytes = Buffer.from(key.bytes.subarray(key.start, key.end));
    this.#byDigest.set(digest, { bytes, series, next, follower: null });
    this.#bytes += costOf(keyBytes);
  }

  clear(): void {
    this.#byDigest.clear();
    this.#last = null;
    this.#bytes = 0;
  }
}
