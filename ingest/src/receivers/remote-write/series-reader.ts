import protobuf, { type Reader, type Type } from "protobufjs";
import { RequestError } from "../../gateway/receiver-route.ts";
import { type DecodedRequest, HISTOGRAMS_MAX } from "./decoded-request.ts";
import { HistogramProblem, histogramPoint, type NativeHistogram, RESET_HINT } from "./native-histogram.ts";
import type { KnownSeries } from "./series-cache.ts";
import { checkWithin, FIXED64, readEnd, readInt64, skipField, tagOf, VARINT } from "./wire.ts";

/** A request's bytes under both views that reading wants. */
export interface Wire {
  readonly body: Buffer;
  readonly reader: Reader;
  readonly view: DataView;
}

export const wireOf = (body: Buffer): Wire => ({
  body,
  reader: protobuf.Reader.create(body),
  view: new DataView(body.buffer, body.byteOffset, body.byteLength),
});

/**
 * protobufjs throws a RangeError for what is cut short, a plain Error for what is malformed, and lets TextDecoder's error through where text
 * is not UTF-8; all else is a fault of ours.
 */
const isOfTheBytes = (error: unknown): error is Error =>
  error instanceof Error &&
  (error.name === "RangeError" ||
    error.name === "Error" ||
    ("code" in error && error.code === "ERR_ENCODING_INVALID_ENCODED_DATA"));

/** Runs a walk; what is wrong with the bytes becomes a 400. */
export const refuseMalformed = <T>(message: string, walk: () => T): T => {
  try {
    return walk();
  } catch (error) {
    if (!isOfTheBytes(error)) throw error;
    throw new RequestError(400, `the body is not a ${message}: ${error.message}`, { cause: error });
  }
};

const SAMPLE_VALUE = tagOf(1, FIXED64);
const SAMPLE_TIMESTAMP = tagOf(2, VARINT);
export const SAMPLE_START = tagOf(3, VARINT);

/** Reads one Sample; `startTag` is where its start time stands (0: nowhere, as in 1.0). */
export const readSample = ({ reader, view }: Wire, limit: number, startTag: number, into: DecodedRequest): void => {
  const end = readEnd(reader, limit);
  let value = 0;
  let timestamp = 0;
  let start = 0;
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === SAMPLE_VALUE) {
      checkWithin(reader, end - 8);
      value = view.getFloat64(reader.pos, true);
      reader.pos += 8;
    } else if (tag === SAMPLE_TIMESTAMP) timestamp = readInt64(reader);
    else if (tag === startTag) start = readInt64(reader);
    else skipField(reader, tag, end);
  }
  checkWithin(reader, end);
  into.addSample(timestamp, value, start);
};

const HISTOGRAM_SUM = tagOf(3, FIXED64);
const STALE_LOW = 2;
const STALE_HIGH = 0x7ff0_0000;

/** Whether the sum is the staleness marker, 0x7ff0000000000002: decoding loses which NaN it was. */
const isStale = ({ reader, view }: Wire, from: number, end: number): boolean => {
  let found = false;
  reader.pos = from;
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === HISTOGRAM_SUM && reader.pos + 8 <= end) {
      const at = reader.pos;
      found = view.getUint32(at, true) === STALE_LOW && view.getUint32(at + 4, true) === STALE_HIGH;
    }
    skipField(reader, tag, end);
  }
  return found;
};

/** A histogram as it was sent, before it is known whose it is. */
export interface ToldHistogram {
  readonly told: NativeHistogram;
  readonly isStale: boolean;
}

export const readHistogram = (wire: Wire, limit: number, type: Type): ToldHistogram => {
  const { body, reader } = wire;
  const end = readEnd(reader, limit);
  const from = reader.pos;
  const stale = isStale(wire, from, end);
  const message = type.decode(body.subarray(from, end));
  reader.pos = end;
  // The published definition says what there is; defaults fill in what proto3 leaves out, but for members of a oneof.
  const told = type.toObject(message, { longs: Number, defaults: true, arrays: true }) as NativeHistogram;
  return { told, isStale: stale };
};

export const checkHistogramCount = (count: number): void => {
  if (count > HISTOGRAMS_MAX) throw new RequestError(400, `more than ${HISTOGRAMS_MAX} histograms in one series`);
};

/** Adds a series' histograms. `seriesStart` is the start time that older senders tell with the series. */
export const addHistograms = (
  histograms: readonly ToldHistogram[],
  series: KnownSeries,
  seriesStart: number,
  into: DecodedRequest,
): void => {
  for (const { told, isStale: stale } of histograms) {
    const point = stale ? null : histogramPoint(told);
    if (point instanceof HistogramProblem) {
      into.reject("invalid_histogram", 1, `${series.labels.name}: ${point.message}`);
      continue;
    }
    into.addHistogram({
      series,
      point,
      timestampUnixMs: told.timestamp,
      startUnixMs: startOf(told, seriesStart),
      isGauge: told.resetHint === RESET_HINT.gauge,
    });
  }
};

/** Where only a reset is told, counting began anew at some time after the point before: just before this one, at the latest. */
const startOf = ({ startTimestamp, resetHint, timestamp }: NativeHistogram, seriesStart: number): number => {
  if (startTimestamp !== 0) return startTimestamp;
  if (seriesStart !== 0) return seriesStart;
  return resetHint === RESET_HINT.yes ? timestamp - 1 : 0;
};
