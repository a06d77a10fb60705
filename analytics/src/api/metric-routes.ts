import { z } from "zod";
import { metricNames } from "../queries/metric-names.ts";
import { MetricAggregate, metricRange } from "../queries/metric-range.ts";
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

/** Rows come by labels, then time. */
const bySeries = (rows: readonly z.output<typeof metricRange.row>[]): z.infer<typeof Series>[] => {
  const series = new Map<string, z.infer<typeof Series>>();
  for (const { labels, unit, at_unix_ms, value } of rows) {
    const key = JSON.stringify(labels);
    const known = series.get(key) ?? { labels, unit, points: [] };
    known.points.push([at_unix_ms, value]);
    series.set(key, known);
  }
  return [...series.values()];
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

  api.get(
    "/metrics/query",
    {
      schema: {
        summary: "A metric by steps of time; counters as their rate per second",
        querystring: z.strictObject({
          ...Matcher,
          ...TimeRange,
          step_ms: z.coerce.number().int().optional().describe("default: 60000"),
          aggregate: MetricAggregate.optional().describe("within a series and across those of a group; default: avg"),
          group_by: z
            .string()
            .max(1000)
            .optional()
            .describe("names of labels, with commas; default: each series for itself"),
        }),
        response: { 200: z.strictObject({ series: z.array(Series) }), "4xx": ErrorBody, "5xx": ErrorBody },
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
      return { series: bySeries(await run(metricRange, params, { signal: abandoned(reply) })) };
    },
  );
};
