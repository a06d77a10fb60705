import type { Root } from "protobufjs";
import { RequestError } from "../../gateway/receiver-route.ts";
import type { DecodedRequest } from "./decoded-request.ts";
import { type LabelBytes, LabelsProblem, readLabels } from "./labels.ts";
import { MetricFamilies } from "./metric-families.ts";
import { KnownSeries, SeriesCache } from "./series-cache.ts";
import {
  addHistograms,
  checkHistogramCount,
  readHistogram,
  readSample,
  refuseMalformed,
  type ToldHistogram,
  type Wire,
  wireOf,
} from "./series-reader.ts";
import { checkWithin, LENGTH_DELIMITED, readEnd, skipField, tagOf } from "./wire.ts";

const REQUEST_SERIES = tagOf(1, LENGTH_DELIMITED);
const REQUEST_METADATA = tagOf(3, LENGTH_DELIMITED);
const SERIES_LABEL = tagOf(1, LENGTH_DELIMITED);
const SERIES_SAMPLE = tagOf(2, LENGTH_DELIMITED);
const SERIES_EXEMPLAR = tagOf(3, LENGTH_DELIMITED);
const SERIES_HISTOGRAM = tagOf(4, LENGTH_DELIMITED);
const LABEL_NAME = tagOf(1, LENGTH_DELIMITED);
const LABEL_VALUE = tagOf(2, LENGTH_DELIMITED);

/** Prometheus sends 500 at a time. */
const METADATA_MAX = 50_000;

interface Metadata {
  readonly type: number;
  readonly metricFamilyName: string;
  readonly unit: string;
}

/** The bytes of a series' labels: they lie in one piece unless a sender is playful. */
interface LabelSpan {
  start: number;
  end: number;
  isWhole: boolean;
}

const NO_BYTES = new Uint8Array(0);

/**
 * Remote write 1.0 (https://prometheus.io/docs/specs/prw/remote_write_spec/): reads `prometheus.WriteRequest`. A series is known again by
 * the bytes of its labels, and only new ones are decoded.
 */
export class WriteV1 {
  readonly #cache: SeriesCache;
  readonly #families = new MetricFamilies();
  readonly #metadataType;
  readonly #histogramType;

  constructor(definitions: Root, seed: number) {
    this.#cache = new SeriesCache(seed);
    this.#metadataType = definitions.lookupType("prometheus.MetricMetadata");
    this.#histogramType = definitions.lookupType("io.prometheus.write.v2.Histogram");
  }

  /** @throws RequestError, and then nothing of the body has had an effect. */
  decode(body: Buffer, into: DecodedRequest): void {
    const metadata = refuseMalformed("prometheus.WriteRequest", () => this.#readRequest(wireOf(body), into));
    for (const { type, metricFamilyName, unit } of metadata) this.#families.tell(metricFamilyName, { type, unit });
    this.#describe(into);
  }

  #readRequest(wire: Wire, into: DecodedRequest): Metadata[] {
    const { body, reader } = wire;
    const metadata: Metadata[] = [];
    while (reader.pos < body.length) {
      const tag = reader.tag();
      if (tag === REQUEST_SERIES) this.#readSeries(wire, into);
      else if (tag === REQUEST_METADATA) {
        if (metadata.length === METADATA_MAX)
          throw new RequestError(400, `more than ${METADATA_MAX} metadata messages`);
        const end = readEnd(reader, body.length);
        metadata.push(this.#metadataType.decode(body.subarray(reader.pos, end)) as unknown as Metadata);
        reader.pos = end;
      } else skipField(reader, tag, body.length);
    }
    return metadata;
  }

  #readSeries(wire: Wire, into: DecodedRequest): void {
    const { body, reader } = wire;
    const end = readEnd(reader, body.length);
    const from = reader.pos;
    const first = into.sampleCount;
    const labels: LabelSpan = { start: from, end: from, isWhole: true };
    let histograms: ToldHistogram[] | null = null;
    let exemplars = 0;
    into.countSeries();
    while (reader.pos < end) {
      const at = reader.pos;
      const tag = reader.tag();
      if (tag === SERIES_LABEL) {
        reader.pos = readEnd(reader, end);
        extend(labels, at, reader.pos);
      } else if (tag === SERIES_SAMPLE) readSample(wire, end, 0, into);
      else if (tag === SERIES_HISTOGRAM) {
        histograms ??= [];
        histograms.push(readHistogram(wire, end, this.#histogramType));
        checkHistogramCount(histograms.length);
      } else {
        if (tag === SERIES_EXEMPLAR) exemplars++;
        skipField(reader, tag, end);
      }
    }
    into.reject("exemplar", exemplars, "");
    if (into.sampleCount > first || histograms !== null)
      this.#take(wire, { from, end, first, labels }, histograms ?? [], into);
  }

  #take(
    { body, reader, view }: Wire,
    { from, end, first, labels }: { from: number; end: number; first: number; labels: LabelSpan },
    histograms: readonly ToldHistogram[],
    into: DecodedRequest,
  ): void {
    const key = { bytes: body, view, start: labels.start, end: labels.end };
    let series = labels.isWhole ? this.#cache.find(key) : undefined;
    if (series === undefined) {
      const told = readLabels(this.#labelsOf({ body, reader }, from, end));
      reader.pos = end;
      if (told instanceof LabelsProblem) {
        into.reject("invalid_labels", into.sampleCount - first + histograms.length, told.message);
        into.sampleCount = first;
        return;
      }
      series = new KnownSeries(told);
      if (labels.isWhole) this.#cache.add(key, series);
    }
    into.assign(first, series);
    addHistograms(histograms, series, 0, into);
  }

  #labelsOf({ body, reader }: Pick<Wire, "body" | "reader">, from: number, end: number): LabelBytes[] {
    const labels: LabelBytes[] = [];
    reader.pos = from;
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === SERIES_LABEL) labels.push(readLabel({ body, reader }, end));
      else skipField(reader, tag, end);
    }
    return labels;
  }

  /** Metadata may have come since a series was seen last, in this request even. */
  #describe(into: DecodedRequest): void {
    const { generation } = this.#families;
    for (let place = 0; place < into.sampleCount; place++) this.#describeOne(into.series[place], generation);
    for (const { series } of into.histograms) this.#describeOne(series, generation);
  }

  #describeOne(series: KnownSeries | undefined, generation: number): void {
    if (series === undefined || series.generation === generation) return;
    const { type, unit } = this.#families.find(series.labels.name);
    series.describe(type, unit);
    series.generation = generation;
  }
}

const extend = (labels: LabelSpan, start: number, end: number): void => {
  if (labels.end === labels.start) labels.start = start;
  else if (labels.end !== start) labels.isWhole = false;
  labels.end = end;
};

const readLabel = ({ body, reader }: Pick<Wire, "body" | "reader">, limit: number): LabelBytes => {
  const end = readEnd(reader, limit);
  let name: Uint8Array = NO_BYTES;
  let value: Uint8Array = NO_BYTES;
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag !== LABEL_NAME && tag !== LABEL_VALUE) {
      skipField(reader, tag, end);
      continue;
    }
    const textEnd = readEnd(reader, end);
    const bytes = body.subarray(reader.pos, textEnd);
    reader.pos = textEnd;
    if (tag === LABEL_NAME) name = bytes;
    else value = bytes;
  }
  checkWithin(reader, end);
  return { name, value };
};
