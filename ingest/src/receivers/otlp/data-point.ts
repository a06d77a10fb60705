import type { ExponentialRange } from "./exponential-buckets.ts";
import {
  BYTES,
  enter,
  FIXED64,
  fixed64Number,
  keep,
  leave,
  milliseconds,
  sfixed64Number,
  skip,
  span,
  uint64Number,
  VARINT,
  type Wire,
} from "./wire.ts";

/** A data point of any kind: what its kind does not have keeps its default. */
export interface DataPoint {
  /** Where its attributes (KeyValues with their tags) stand in the body: start and end of each run of them. */
  readonly attributeRuns: number[];
  timeUnixMs: number;
  startUnixMs: number;
  flags: number;
  exemplars: number;
  /** Of a number data point; undefined when none is given. */
  value: number | undefined;
  count: number;
  /** undefined: not given. */
  sum: number | undefined;
  min: number;
  max: number;
  readonly bucketCounts: number[];
  readonly explicitBounds: number[];
  /** A list of numbers was longer than NUMBERS_MAX; what is behind was skipped. */
  hasTooMany: boolean;
  scale: number;
  zeroCount: number;
  zeroThreshold: number;
  positive: ExponentialRange;
  negative: ExponentialRange;
  readonly quantiles: Quantile[];
}

export interface Quantile {
  readonly quantile: number;
  readonly value: number;
}

/** Of one repeated field of a point. Histograms have some hundred buckets at most; a range that is longer is not made coarser but refused. */
export const NUMBERS_MAX = 16_384;

/** One byte of a body becomes eight. */
const UNITS_PER_NUMBER = 0.25;

const NO_RANGE: ExponentialRange = { offset: 0, counts: [] };

const emptyPoint = (): DataPoint => ({
  attributeRuns: [],
  timeUnixMs: 0,
  startUnixMs: 0,
  flags: 0,
  exemplars: 0,
  value: undefined,
  count: 0,
  sum: undefined,
  min: Number.NaN,
  max: Number.NaN,
  bucketCounts: [],
  explicitBounds: [],
  hasTooMany: false,
  scale: 0,
  zeroCount: 0,
  zeroThreshold: 0,
  positive: NO_RANGE,
  negative: NO_RANGE,
  quantiles: [],
});

type ReadField = (point: DataPoint, wire: Wire) => void;
/** How to read the field of each tag; all field numbers are below 16, so a tag is below 128. */
export type PointFields = readonly (ReadField | undefined)[];

const tag = (field: number, wireType: number): number => (field << 3) | wireType;

const fields = (readers: readonly (readonly [number, ReadField])[]): PointFields => {
  const table = new Array<ReadField | undefined>(128).fill(undefined);
  for (const [fieldTag, read] of readers) table[fieldTag] = read;
  return table;
};

export const readDataPoint = (wire: Wire, known: PointFields): DataPoint => {
  keep(wire);
  const outer = enter(wire);
  const point = emptyPoint();
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    const read = known[fieldTag];
    if (read === undefined) skip(wire, fieldTag);
    else read(point, wire);
  }
  leave(wire, outer);
  return point;
};

/** Attributes mostly stand in one run. All their tags are one byte long. */
const attribute: ReadField = (point, wire) => {
  const start = wire.pos - 1;
  span(wire);
  const { attributeRuns } = point;
  if (attributeRuns.at(-1) === start) attributeRuns[attributeRuns.length - 1] = wire.pos;
  else {
    keep(wire);
    attributeRuns.push(start, wire.pos);
  }
};

const start: ReadField = (point, wire) => {
  point.startUnixMs = milliseconds(wire);
};
const time: ReadField = (point, wire) => {
  point.timeUnixMs = milliseconds(wire);
};
const flags: ReadField = (point, wire) => {
  point.flags = wire.uint32();
};
const exemplar: ReadField = (point, wire) => {
  span(wire);
  point.exemplars++;
};
const count: ReadField = (point, wire) => {
  point.count = fixed64Number(wire);
};
const sum: ReadField = (point, wire) => {
  point.sum = wire.double();
};
const min: ReadField = (point, wire) => {
  point.min = wire.double();
};
const max: ReadField = (point, wire) => {
  point.max = wire.double();
};

export const NUMBER_POINT = fields([
  [tag(2, FIXED64), start],
  [tag(3, FIXED64), time],
  [
    tag(4, FIXED64),
    (point, wire) => {
      point.value = wire.double();
    },
  ],
  [tag(5, BYTES), exemplar],
  [
    tag(6, FIXED64),
    (point, wire) => {
      point.value = sfixed64Number(wire);
    },
  ],
  [tag(7, BYTES), attribute],
  [tag(8, VARINT), flags],
]);

const double = (wire: Wire): number => wire.double();

/** Repeated numbers come packed into one field, or one by one; both must be read (https://protobuf.dev/programming-guides/encoding/#packed). */
const packed = (point: DataPoint, numbers: number[], wire: Wire, read: (wire: Wire) => number): void => {
  const outer = enter(wire);
  while (wire.pos < wire.len) single(point, numbers, read(wire));
  leave(wire, outer);
  keep(wire, numbers.length * UNITS_PER_NUMBER);
};

const single = (point: DataPoint, numbers: number[], value: number): void => {
  if (numbers.length < NUMBERS_MAX) numbers.push(value);
  else point.hasTooMany = true;
};

export const HISTOGRAM_POINT = fields([
  [tag(2, FIXED64), start],
  [tag(3, FIXED64), time],
  [tag(4, FIXED64), count],
  [tag(5, FIXED64), sum],
  [tag(6, BYTES), (point, wire) => packed(point, point.bucketCounts, wire, fixed64Number)],
  [tag(6, FIXED64), (point, wire) => single(point, point.bucketCounts, fixed64Number(wire))],
  [tag(7, BYTES), (point, wire) => packed(point, point.explicitBounds, wire, double)],
  [tag(7, FIXED64), (point, wire) => single(point, point.explicitBounds, wire.double())],
  [tag(8, BYTES), exemplar],
  [tag(9, BYTES), attribute],
  [tag(10, VARINT), flags],
  [tag(11, FIXED64), min],
  [tag(12, FIXED64), max],
]);

const RANGE_OFFSET = tag(1, VARINT);
const RANGE_COUNTS = tag(2, BYTES);
const RANGE_COUNT = tag(2, VARINT);

const readRange = (point: DataPoint, wire: Wire): ExponentialRange => {
  const outer = enter(wire);
  let offset = 0;
  const counts: number[] = [];
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === RANGE_OFFSET) offset = wire.sint32();
    else if (fieldTag === RANGE_COUNTS) packed(point, counts, wire, uint64Number);
    else if (fieldTag === RANGE_COUNT) single(point, counts, uint64Number(wire));
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  return { offset, counts };
};

export const EXPONENTIAL_POINT = fields([
  [tag(1, BYTES), attribute],
  [tag(2, FIXED64), start],
  [tag(3, FIXED64), time],
  [tag(4, FIXED64), count],
  [tag(5, FIXED64), sum],
  [
    tag(6, VARINT),
    (point, wire) => {
      point.scale = wire.sint32();
    },
  ],
  [
    tag(7, FIXED64),
    (point, wire) => {
      point.zeroCount = fixed64Number(wire);
    },
  ],
  [
    tag(8, BYTES),
    (point, wire) => {
      point.positive = readRange(point, wire);
    },
  ],
  [
    tag(9, BYTES),
    (point, wire) => {
      point.negative = readRange(point, wire);
    },
  ],
  [tag(10, VARINT), flags],
  [tag(11, BYTES), exemplar],
  [tag(12, FIXED64), min],
  [tag(13, FIXED64), max],
  [
    tag(14, FIXED64),
    (point, wire) => {
      point.zeroThreshold = wire.double();
    },
  ],
]);

const QUANTILE = tag(1, FIXED64);
const QUANTILE_VALUE = tag(2, FIXED64);

const quantile: ReadField = (point, wire) => {
  const outer = enter(wire);
  let rank = 0;
  let value = 0;
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === QUANTILE) rank = wire.double();
    else if (fieldTag === QUANTILE_VALUE) value = wire.double();
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  if (point.quantiles.length < NUMBERS_MAX) point.quantiles.push({ quantile: rank, value });
  else point.hasTooMany = true;
};

export const SUMMARY_POINT = fields([
  [tag(2, FIXED64), start],
  [tag(3, FIXED64), time],
  [tag(4, FIXED64), count],
  [tag(5, FIXED64), sum],
  [tag(6, BYTES), quantile],
  [tag(7, BYTES), attribute],
  [tag(8, VARINT), flags],
]);
