import { z } from "zod";
import { metricNames } from "../queries/metric-names.ts";
import { metricQuantile } from "../queries/metric-quantile.ts";
import { MetricAggregate, metricRange, Resolution } from "../queries/metric-range.ts";
import { metricSeries } from "../queries/metric-series.ts";
import { abandoned } from "./abandoned.ts";
import { ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import type { ApiPorts } from "./api-ports.ts";
import { commaList, LabelFilters, labelFilters, TimeRange, timeRange } from "./query-strings.ts";

const Series = z.strictObject({
  labels: z.record(z.string(), z.string()),
  unit: z.string(),
  /** [unix ms, value], oldest first. */
  points: z.array(z.tuple([z.int(), z.number().nullable()])),
});

const Matcher = {
  metric_name: z.string().min(1).max(255),
  host_name: z.string().max(255).optional(),
  service_name: z.string().max(255).optional(),
  fingerprint: z.string().max(16).optional().describe("16 hexadecimal digits"),
  label: LabelFilters,
};

const Quantiles = z.strictObject({
  labels: z.record(z.string(), z.string()),
  unit: z.string(),
  quantile: z.number(),
  points: z.array(z.tuple([z.int(), z.number().nullable()])),
});

type Point = { readonly at_unix_ms: number; readonly value: number | null };

/** Rows as series: rows of which `seriesOf` says the same are the points of one, in their order. */
const bySeries = <Row extends Point, Series extends object>(
  rows: readonly Row[],
  seriesOf: (row: Row) => Series,
): (Series & { points: [number, number | null][] })[] => {
  const known = new Map<string, Series & { points: [number, number | null][] }>();
  for (const row of rows) {
    const series = seriesOf(row);
    const key = JSON.stringify(series);
    const one = known.get(key) ?? { ...series, points: [] };
    one.points.push([row.at_unix_ms, row.value]);
    known.set(key, one);
  }
  return [...known.values()];
};

/** The coarsest that some step was read from. */
const coarsest = (rows: readonly { readonly resolution: Resolution }[]): Resolution => {
  const used = new Set(rows.map(({ resolution }) => resolution));
  return Resolution.options.findLast((resolution) => used.has(resolution)) ?? "raw";
};

const matcher = ({ label, ...query }: { readonly label?: z.infer<typeof LabelFilters> }) => ({
  ...query,
  labels: labelFilters(label),
});

export const metricRoutes = (api: ApiInstance, { run, now }: ApiPorts): void => {
  api.get(
    "/metrics",
    {
      schema: {
        summary: "The names of metrics that were told in the range",
        querystring: z.strictObject(TimeRange),
        response: { 200: z.strictObject({ metrics: z.array(metricNames.row) }), "4xx": ErrorBody, "5xx": ErrorBody },
      },
    },
    async ({ query }, reply) => ({
      metrics: [...(await run(metricNames, timeRange(query, { nowUnixMs: now() }), { signal: abandoned(reply) }))],
    }),
  );

  api.get(
    "/metrics/series",
    {
      schema: {
        summary: "The series of a metric",
        querystring: z.strictObject({ ...Matcher, ...TimeRange }),
        response: { 200: z.strictObject({ series: z.array(metricSeries.row) }), "4xx": ErrorBody, "5xx": ErrorBody },
      },
    },
    async ({ query }, reply) => {
      const params = { ...matcher(query), ...timeRange(query, { nowUnixMs: now() }), metric_name: query.metric_name };
      return { series: [...(await run(metricSeries, params, { signal: abandoned(reply) }))] };
    },
  );

  rangeRoute(api, { run, now });
  quantileRoute(api, { run, now });
};

type RangePorts = Pick<ApiPorts, "run" | "now">;

const Steps = {
  step_ms: z.coerce.number().int().optional().describe("default: 60000"),
  group_by: z.string().max(1000).optional().describe("names of labels, with commas; default: each series for itself"),
};

const rangeRoute = (api: ApiInstance, { run, now }: RangePorts): void => {
  api.get(
    "/metrics/query",
    {
      schema: {
        summary: "A metric by steps of time; counters and deltas as their rate per second",
        querystring: z.strictObject({
          ...Matcher,
          ...TimeRange,
          ...Steps,
          aggregate: MetricAggregate.optional().describe("within a series and across those of a group; default: avg"),
          resolution: z.enum(["auto", "raw"]).optional().describe("raw reads samples only; default: auto"),
        }),
        response: {
          200: z.strictObject({
            series: z.array(Series),
            resolution: Resolution.describe("the coarsest that a step was read from: samples, minutes or hours"),
          }),
          "4xx": ErrorBody,
          "5xx": ErrorBody,
        },
      },
    },
    async ({ query }, reply) => {
      const { group_by, ...rest } = matcher(query) as ReturnType<typeof matcher> & { group_by?: string };
      const params = {
        ...rest,
        ...timeRange(query, { nowUnixMs: now() }),
        metric_name: query.metric_name,
        group_by: commaList(group_by ?? ""),
      };
      const rows = await run(metricRange, params, { signal: abandoned(reply) });
      return { series: bySeries(rows, ({ labels, unit }) => ({ labels, unit })), resolution: coarsest(rows) };
    },
  );
};

const quantileRoute = (api: ApiInstance, { run, now }: RangePorts): void => {
  api.get(
    "/metrics/quantiles",
    {
      schema: {
        summary: "Quantiles of a histogram by steps of time",
        querystring: z.strictObject({
          ...Matcher,
          ...TimeRange,
          ...Steps,
          quantile: z.string().max(200).optional().describe("from 0 to 1, with commas; default: 0.5,0.9,0.99"),
        }),
        response: { 200: z.strictObject({ series: z.array(Quantiles) }), "4xx": ErrorBody, "5xx": ErrorBody },
      },
    },
    async ({ query }, reply) => {
      const { group_by, quantile, ...rest } = matcher(query) as ReturnType<typeof matcher> & {
        group_by?: string;
        quantile?: string;
      };
      const params = {
        ...rest,
        ...timeRange(query, { nowUnixMs: now() }),
        metric_name: query.metric_name,
        group_by: commaList(group_by ?? ""),
        ...(quantile !== undefined && { quantiles: commaList(quantile).map(Number) }),
      };
      const rows = await run(metricQuantile, params, { signal: abandoned(reply) });
      return { series: bySeries(rows, ({ labels, unit, quantile: of }) => ({ labels, unit, quantile: of })) };
    },
  );
};
