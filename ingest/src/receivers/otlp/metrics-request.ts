import { readAttribute } from "./any-value.ts";
import {
  type DataPoint,
  EXPONENTIAL_POINT,
  HISTOGRAM_POINT,
  NUMBER_POINT,
  type PointFields,
  readDataPoint,
  SUMMARY_POINT,
} from "./data-point.ts";
import { NO_RESOURCE, NO_SCOPE, readResource, readScope } from "./resource-and-scope.ts";
import type { PointSeries, SeriesMemo } from "./series-memo.ts";
import { BYTES, enter, keep, leave, skip, span, text, VARINT, type Wire, wireOf } from "./wire.ts";

export type MetricType = "gauge" | "sum" | "histogram" | "exponential_histogram" | "summary";

/** A metric of one resource and scope, with its points and the series that each belongs to. */
export interface MetricPoints {
  readonly name: string;
  readonly unit: string;
  readonly type: MetricType;
  readonly temporality: Temporality;
  readonly isMonotonic: boolean;
  readonly points: readonly { readonly point: DataPoint; readonly series: PointSeries }[];
}

export type Temporality = "unspecified" | "delta" | "cumulative";

export interface MetricsRequest {
  readonly metrics: readonly MetricPoints[];
  /** Metrics that carry no data of a type that is known here. */
  readonly withoutData: number;
}

const tag = (field: number, wireType: number): number => (field << 3) | wireType;

interface Context {
  readonly wire: Wire;
  readonly memo: SeriesMemo;
  readonly metrics: MetricPoints[];
  withoutData: number;
}

const RESOURCE_METRICS = tag(1, BYTES);

/** All of a protobuf ExportMetricsServiceRequest (or MetricsData, which has the same shape). Throws an Error of protobufjs when it is none. */
export const readMetricsRequest = (wire: Wire, memo: SeriesMemo): MetricsRequest => {
  memo.trim();
  const context: Context = { wire, memo, metrics: [], withoutData: 0 };
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === RESOURCE_METRICS) readResourceMetrics(context);
    else skip(wire, fieldTag);
  }
  return context;
};

/** Where a message stands that is read later, when what belongs to it is known; the length comes first. */
interface Place {
  readonly start: number;
  readonly end: number;
}

const place = (wire: Wire): Place => {
  keep(wire);
  const start = wire.pos;
  span(wire);
  return { start, end: wire.pos };
};

const at = (wire: Wire, { start, end }: Place): Wire => {
  const there = wireOf(wire.buf, wire.work);
  there.pos = start;
  there.len = end;
  return there;
};

const keyOf = (wire: Wire, where: Place | null): string =>
  where === null ? "" : wire.buf.toString("latin1", where.start, where.end);

const FIRST = tag(1, BYTES);
const SECOND = tag(2, BYTES);

/** Of ResourceMetrics as of ScopeMetrics: field 1 says whose it is, field 2 is what it holds. */
const readWhoseAndWhat = (wire: Wire): { whose: Place | null; what: Place[] } => {
  const outer = enter(wire);
  let whose: Place | null = null;
  const what: Place[] = [];
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === FIRST) whose = place(wire);
    else if (fieldTag === SECOND) what.push(place(wire));
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  return { whose, what };
};

const readResourceMetrics = (context: Context): void => {
  const { wire, memo } = context;
  const { whose, what } = readWhoseAndWhat(wire);
  const resource = memo.resource(keyOf(wire, whose), () =>
    whose === null ? NO_RESOURCE : readResource(at(wire, whose)),
  );
  for (const scopeMetrics of what) {
    const inner = readWhoseAndWhat(at(wire, scopeMetrics));
    const scopeAt = inner.whose;
    const scope = memo.scope(resource, keyOf(wire, scopeAt), () =>
      scopeAt === null ? NO_SCOPE : readScope(at(wire, scopeAt)),
    );
    for (const metric of inner.what) readMetric(context, at(wire, metric), scope);
  }
};

const NAME = tag(1, BYTES);
const UNIT = tag(3, BYTES);
const DATA: ReadonlyMap<number, { readonly type: MetricType; readonly fields: PointFields }> = new Map([
  [tag(5, BYTES), { type: "gauge", fields: NUMBER_POINT }],
  [tag(7, BYTES), { type: "sum", fields: NUMBER_POINT }],
  [tag(9, BYTES), { type: "histogram", fields: HISTOGRAM_POINT }],
  [tag(10, BYTES), { type: "exponential_histogram", fields: EXPONENTIAL_POINT }],
  [tag(11, BYTES), { type: "summary", fields: SUMMARY_POINT }],
] as const);

interface TypedPoints {
  readonly type: MetricType;
  readonly temporality: Temporality;
  readonly isMonotonic: boolean;
  readonly points: readonly DataPoint[];
}

const readMetric = (context: Context, wire: Wire, scope: ReturnType<SeriesMemo["scope"]>): void => {
  const outer = enter(wire);
  let name = "";
  let unit = "";
  let data: TypedPoints | null = null;
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    const known = DATA.get(fieldTag);
    if (known !== undefined) data = readData(wire, known.type, known.fields);
    else if (fieldTag === NAME) name = text(wire);
    else if (fieldTag === UNIT) unit = text(wire);
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  if (data === null) {
    context.withoutData++;
    return;
  }
  const { memo, metrics } = context;
  const { type, temporality, isMonotonic, points } = data;
  const node = memo.metric(scope, `${type} ${temporality} ${isMonotonic} ${unit}\n${name}`);
  const ofSeries = points.map((point) => {
    const { attributeRuns } = point;
    const key = attributesKey(wire, attributeRuns);
    const series = memo.series(node, key, () => ({ ...scope.labels, ...readAttributes(wire, attributeRuns) }));
    return { point, series };
  });
  metrics.push({ name, unit, type, temporality, isMonotonic, points: ofSeries });
};

const attributesKey = (wire: Wire, runs: readonly number[]): string => {
  if (runs.length === 2) return wire.buf.toString("latin1", runs[0], runs[1]);
  let key = "";
  for (let index = 0; index < runs.length; index += 2) key += wire.buf.toString("latin1", runs[index], runs[index + 1]);
  return key;
};

const readAttributes = (wire: Wire, runs: readonly number[]): Record<string, string> => {
  const attributes: Record<string, string> = {};
  for (let index = 0; index < runs.length; index += 2) {
    const run = at(wire, { start: runs[index] ?? 0, end: runs[index + 1] ?? 0 });
    while (run.pos < run.len) {
      run.tag();
      readAttribute(run, attributes);
    }
  }
  return attributes;
};

const DATA_POINTS = tag(1, BYTES);
const TEMPORALITY = tag(2, VARINT);
const IS_MONOTONIC = tag(3, VARINT);

const TEMPORALITIES: readonly Temporality[] = ["unspecified", "delta", "cumulative"];

/** Gauge, Sum, Histogram, ExponentialHistogram and Summary number their fields alike. */
const readData = (wire: Wire, type: MetricType, fields: PointFields): TypedPoints => {
  const outer = enter(wire);
  const points: DataPoint[] = [];
  let temporality: Temporality = "unspecified";
  let isMonotonic = false;
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === DATA_POINTS) points.push(readDataPoint(wire, fields));
    else if (fieldTag === TEMPORALITY) temporality = TEMPORALITIES[wire.int32()] ?? "unspecified";
    else if (fieldTag === IS_MONOTONIC) isMonotonic = wire.bool();
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  return { type, temporality, isMonotonic, points };
};
