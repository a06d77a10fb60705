import type { Root } from "protobufjs";
import { RequestError } from "../../gateway/receiver-route.ts";
import { type DecodedRequest, SERIES_MAX } from "./decoded-request.ts";
import { type LabelBytes, LabelsProblem, readLabels } from "./labels.ts";
import { METRIC_TYPE } from "./metric-kind.ts";
import { KnownSeries, SeriesCache } from "./series-cache.ts";
import {
  addHistograms,
  checkHistogramCount,
  readHistogram,
  readSample,
  refuseMalformed,
  SAMPLE_START,
  type ToldHistogram,
  type Wire,
  wireOf,
} from "./series-reader.ts";
import { SymbolNumbers, SymbolTable } from "./symbols.ts";
import { checkWithin, LENGTH_DELIMITED, readEnd, readInt64, skipField, tagOf, VARINT } from "./wire.ts";

const REQUEST_SYMBOL = tagOf(4, LENGTH_DELIMITED);
const REQUEST_SERIES = tagOf(5, LENGTH_DELIMITED);
const SERIES_LABELS = tagOf(1, LENGTH_DELIMITED);
const SERIES_LABEL_UNPACKED = tagOf(1, VARINT);
const SERIES_SAMPLE = tagOf(2, LENGTH_DELIMITED);
const SERIES_HISTOGRAM = tagOf(3, LENGTH_DELIMITED);
const SERIES_EXEMPLAR = tagOf(4, LENGTH_DELIMITED);
const SERIES_METADATA = tagOf(5, LENGTH_DELIMITED);
/** `created_timestamp` of the candidates before rc.4. */
const SERIES_CREATED = tagOf(6, VARINT);
const METADATA_TYPE = tagOf(1, VARINT);
const METADATA_UNIT = tagOf(4, VARINT);

/** References of one series, two to a label: eight times as many labels as Prometheus's senders have at most. */
const LABEL_REFS_MAX = 2048;

/** One TimeSeries while it is read; used again for the next. */
interface SeriesState {
  refCount: number;
  readonly refs: Uint32Array;
  histograms: ToldHistogram[];
  exemplars: number;
  type: number;
  unitRef: number;
  created: number;
}

/**
 * Remote write 2.0 (https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/): reads `io.prometheus.write.v2.Request`. Requests number
 * their symbols each in its own way; a series is known again by our numbers of its symbols, and only new ones are decoded.
 */
export class WriteV2 {
  readonly #cache: SeriesCache;
  readonly #numbers = new SymbolNumbers();
  readonly #histogramType;
  readonly #keyBytes = Buffer.alloc(LABEL_REFS_MAX * 4);
  readonly #keyView = new DataView(this.#keyBytes.buffer, this.#keyBytes.byteOffset, this.#keyBytes.length);
  readonly #state: SeriesState = {
    refCount: 0,
    refs: new Uint32Array(LABEL_REFS_MAX),
    histograms: [],
    exemplars: 0,
    type: METRIC_TYPE.unknown,
    unitRef: 0,
    created: 0,
  };

  constructor(definitions: Root, seed: number) {
    this.#cache = new SeriesCache(seed);
    this.#histogramType = definitions.lookupType("io.prometheus.write.v2.Histogram");
  }

  /** @throws RequestError, and then nothing of the body has had an effect. */
  decode(body: Buffer, into: DecodedRequest): void {
    refuseMalformed("io.prometheus.write.v2.Request", () => this.#readRequest(wireOf(body), into));
  }

  #readRequest(wire: Wire, into: DecodedRequest): void {
    const { body, reader } = wire;
    const symbols = new SymbolTable(body);
    const series: number[] = [];
    // Symbols may stand behind the series that refer to them.
    while (reader.pos < body.length) {
      const tag = reader.tag();
      if (tag === REQUEST_SYMBOL) {
        const end = readEnd(reader, body.length);
        symbols.add(reader.pos, end);
        reader.pos = end;
      } else {
        if (tag === REQUEST_SERIES) series.push(reader.pos);
        if (series.length > SERIES_MAX) throw new RequestError(400, `more than ${SERIES_MAX} series in one request`);
        skipField(reader, tag, body.length);
      }
    }
    if (series.length > 0 && symbols.bytes(0)?.length !== 0) {
      throw new RequestError(400, "the first symbol must be the empty string");
    }
    if (this.#numbers.makeRoom(symbols.size, body.length) === "forgotten") this.#cache.clear();
    for (const at of series) {
      reader.pos = at;
      this.#readSeries(wire, symbols, into);
    }
  }

  #readSeries(wire: Wire, symbols: SymbolTable, into: DecodedRequest): void {
    const { body, reader } = wire;
    const end = readEnd(reader, body.length);
    const first = into.sampleCount;
    const state = this.#reset();
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === SERIES_SAMPLE) readSample(wire, end, SAMPLE_START, into);
      else if (tag === SERIES_LABELS) this.#readRefs(wire, readEnd(reader, end));
      else if (tag === SERIES_METADATA) this.#readMetadata(wire, readEnd(reader, end));
      else if (tag === SERIES_CREATED) state.created = readInt64(reader);
      else if (tag === SERIES_LABEL_UNPACKED) this.#addRef(reader.uint32());
      else if (tag === SERIES_HISTOGRAM) {
        state.histograms.push(readHistogram(wire, end, this.#histogramType));
        checkHistogramCount(state.histograms.length);
      } else {
        if (tag === SERIES_EXEMPLAR) state.exemplars++;
        skipField(reader, tag, end);
      }
    }
    checkWithin(reader, end);
    into.reject("exemplar", state.exemplars, "");
    this.#take(symbols, first, into);
  }

  #reset(): SeriesState {
    const state = this.#state;
    state.refCount = 0;
    state.histograms = [];
    state.exemplars = 0;
    state.type = METRIC_TYPE.unknown;
    state.unitRef = 0;
    state.created = 0;
    return state;
  }

  #readRefs({ reader }: Wire, end: number): void {
    while (reader.pos < end) this.#addRef(reader.uint32());
    checkWithin(reader, end);
  }

  #addRef(ref: number): void {
    const state = this.#state;
    if (state.refCount < LABEL_REFS_MAX) state.refs[state.refCount] = ref;
    state.refCount++;
  }

  #readMetadata({ reader }: Wire, end: number): void {
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === METADATA_TYPE) this.#state.type = reader.uint32();
      else if (tag === METADATA_UNIT) this.#state.unitRef = reader.uint32();
      else skipField(reader, tag, end);
    }
    checkWithin(reader, end);
  }

  #take(symbols: SymbolTable, first: number, into: DecodedRequest): void {
    const { histograms, type, unitRef, created } = this.#state;
    const samples = into.sampleCount - first;
    const series = this.#seriesOf(symbols);
    const problem = series instanceof LabelsProblem ? series.message : this.#contentProblem(samples, symbols);
    if (series instanceof LabelsProblem || problem !== "") {
      const reason = series instanceof LabelsProblem ? "invalid_labels" : "invalid_series";
      into.reject(reason, Math.max(samples + histograms.length, 1), problem);
      into.sampleCount = first;
      return;
    }
    series.describe(type, unitRef === 0 ? "" : symbols.text(unitRef));
    into.assign(first, series);
    for (let place = first; created !== 0 && place < into.sampleCount; place++) into.starts[place] ||= created;
    addHistograms(histograms, series, created, into);
  }

  /** What the specification wants of a series besides its labels. */
  #contentProblem(samples: number, symbols: SymbolTable): string {
    const { histograms, unitRef } = this.#state;
    if (samples > 0 && histograms.length > 0) return "a series has samples and histograms";
    if (samples === 0 && histograms.length === 0) return "a series has neither samples nor histograms";
    return unitRef < symbols.size ? "" : `the unit is symbol ${unitRef} of ${symbols.size}`;
  }

  #seriesOf(symbols: SymbolTable): KnownSeries | LabelsProblem {
    const { refCount, refs } = this.#state;
    if (refCount > LABEL_REFS_MAX)
      return new LabelsProblem(`a series has ${refCount} label references, at most ${LABEL_REFS_MAX} are taken`);
    if (refCount % 2 === 1) return new LabelsProblem(`a series has ${refCount} label references, an odd number`);
    for (let place = 0; place < refCount; place++) {
      const number = symbols.numberOf(refs[place] ?? 0, this.#numbers);
      if (number < 0) return new LabelsProblem(`a label refers to symbol ${refs[place]} of ${symbols.size}`);
      this.#keyView.setUint32(place * 4, number, true);
    }
    const key = { bytes: this.#keyBytes, view: this.#keyView, start: 0, end: refCount * 4 };
    const known = this.#cache.find(key);
    if (known !== undefined) return known;
    const told = readLabels(labelsOf(refs.subarray(0, refCount), symbols));
    if (told instanceof LabelsProblem) return told;
    const series = new KnownSeries(told);
    this.#cache.add(key, series);
    return series;
  }
}

const NO_BYTES = new Uint8Array(0);

const labelsOf = (refs: Uint32Array, symbols: SymbolTable): LabelBytes[] => {
  const labels: LabelBytes[] = [];
  for (let place = 0; place < refs.length; place += 2) {
    const name = symbols.bytes(refs[place] ?? 0) ?? NO_BYTES;
    labels.push({ name, value: symbols.bytes(refs[place + 1] ?? 0) ?? NO_BYTES });
  }
  return labels;
};
