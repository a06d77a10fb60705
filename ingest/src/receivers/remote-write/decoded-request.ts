import type { HistogramPoint } from "../../gateway/intake.ts";
import { RequestError } from "../../gateway/receiver-route.ts";
import type { KnownSeries } from "./series-cache.ts";

/** What one request may hold; Prometheus sends 2,000 samples unless told otherwise. More is refused as a whole. */
export const SAMPLES_MAX = 500_000;
export const SERIES_MAX = 100_000;
export const HISTOGRAMS_MAX = 50_000;

/** Up to here the arrays are kept from one request to the next. */
const KEPT_SAMPLES = 65_536;

/** What the receiver itself refuses, as it is counted; the gateway has its own reasons. */
export type Rejection = "invalid_labels" | "invalid_series" | "invalid_histogram" | "exemplar";

export interface DecodedHistogram {
  readonly series: KnownSeries;
  /** null is a staleness marker. */
  readonly point: HistogramPoint | null;
  readonly timestampUnixMs: number;
  /** 0: not told. */
  readonly startUnixMs: number;
  readonly isGauge: boolean;
}

/** A whole request, sample by sample in flat arrays: nothing is appended before all of it is here. */
export class DecodedRequest {
  sampleCount = 0;
  seriesCount = 0;
  readonly series: KnownSeries[] = [];
  timestamps = new Float64Array(KEPT_SAMPLES);
  values = new Float64Array(KEPT_SAMPLES);
  /** 0: not told. */
  starts = new Float64Array(KEPT_SAMPLES);
  histograms: DecodedHistogram[] = [];
  readonly rejected = new Map<Rejection, number>();
  /** The first thing that was wrong with a series, for the answer. */
  problem = "";

  reset(): void {
    this.sampleCount = 0;
    this.seriesCount = 0;
    this.histograms = [];
    this.rejected.clear();
    this.problem = "";
    if (this.values.length === KEPT_SAMPLES) return;
    this.series.length = 0;
    this.#resize(KEPT_SAMPLES);
  }

  countSeries(): void {
    this.seriesCount++;
    if (this.seriesCount > SERIES_MAX) throw new RequestError(400, `more than ${SERIES_MAX} series in one request`);
  }

  addSample(timestampUnixMs: number, value: number, startUnixMs: number): void {
    const place = this.sampleCount;
    if (place === this.values.length) this.#grow();
    this.timestamps[place] = timestampUnixMs;
    this.values[place] = value;
    this.starts[place] = startUnixMs;
    this.sampleCount = place + 1;
  }

  /** Says whose the samples from `first` on are. */
  assign(first: number, series: KnownSeries): void {
    for (let place = first; place < this.sampleCount; place++) this.series[place] = series;
  }

  addHistogram(histogram: DecodedHistogram): void {
    if (this.histograms.length === HISTOGRAMS_MAX) {
      throw new RequestError(400, `more than ${HISTOGRAMS_MAX} histograms in one request`);
    }
    this.histograms.push(histogram);
  }

  reject(reason: Rejection, records: number, problem: string): void {
    if (records === 0) return;
    this.rejected.set(reason, (this.rejected.get(reason) ?? 0) + records);
    if (this.problem === "") this.problem = problem;
  }

  #grow(): void {
    if (this.sampleCount >= SAMPLES_MAX) throw new RequestError(400, `more than ${SAMPLES_MAX} samples in one request`);
    this.#resize(Math.min(this.values.length * 2, SAMPLES_MAX));
  }

  #resize(length: number): void {
    for (const name of ["timestamps", "values", "starts"] as const) {
      const grown = new Float64Array(length);
      grown.set(this[name].subarray(0, Math.min(this.sampleCount, length)));
      this[name] = grown;
    }
  }
}
