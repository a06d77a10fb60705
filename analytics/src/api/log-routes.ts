import { z } from "zod";
import { logHistogram } from "../queries/log-histogram.ts";
import { logResources, RESOURCES_MAX } from "../queries/log-resources.ts";
import { LogRow } from "../queries/log-row.ts";
import { LOG_ROWS_MAX, logSearch } from "../queries/log-search.ts";
import { TRACE_LOGS_MAX, traceLogs } from "../queries/trace-logs.ts";
import { abandoned } from "./abandoned.ts";
import { ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import type { ApiPorts } from "./api-ports.ts";
import { LabelFilters, labelFilters, TimeRange, timeRange } from "./query-strings.ts";

const Filter = {
  ...TimeRange,
  text: z.string().max(1000).optional().describe("words that must all be in the body, upper and lower case alike"),
  severity_min: z.coerce
    .number()
    .int()
    .min(0)
    .max(24)
    .optional()
    .describe("OpenTelemetry's SeverityNumber: 9 info, 13 warn, 17 error"),
  severity_text: z.string().max(64).optional().describe("as the sender has it, upper and lower case alike"),
  host_name: z.string().max(255).optional(),
  service_name: z.string().max(255).optional(),
  trace_id: z.string().max(64).optional(),
  resource: LabelFilters.describe("an attribute of the record's resource, name=value; repeat for more"),
};

/** Records, and beside them what they are about: resources by the records' `resource_id`. */
const Logs = z.strictObject({
  logs: z.array(LogRow),
  resources: z.record(z.string(), logResources.row.omit({ resource_id: true })),
});

type LogPorts = Pick<ApiPorts, "run" | "now">;

const NO_RESOURCE = "0".repeat(16);
const NS_PER_MS = 1_000_000n;
const DAY_MS = 86_400_000;

const resourcesOf = async (
  run: ApiPorts["run"],
  logs: readonly z.infer<typeof LogRow>[],
  signal: AbortSignal,
): Promise<z.infer<typeof Logs>["resources"]> => {
  const ids = [...new Set(logs.map(({ resource_id }) => resource_id))].filter((id) => id !== NO_RESOURCE);
  if (ids.length === 0) return {};
  const times = logs.map(({ time_unix_nano }) => Number(BigInt(time_unix_nano) / NS_PER_MS));
  const [first, last] = times.reduce(([low, high], at) => [Math.min(low, at), Math.max(high, at)], [Infinity, 0]);
  const told = await run(
    logResources,
    { from_unix_ms: first, to_unix_ms: last + DAY_MS, resource_ids: ids, limit: RESOURCES_MAX },
    { signal },
  );
  return Object.fromEntries(told.map(({ resource_id, ...resource }) => [resource_id, resource]));
};

const logsRoute = (api: ApiInstance, { run, now }: LogPorts): void => {
  api.get(
    "/logs",
    {
      schema: {
        summary: "Log records, newest first",
        querystring: z.strictObject({ ...Filter, limit: z.coerce.number().int().min(1).max(LOG_ROWS_MAX).optional() }),
        response: { 200: Logs, "4xx": ErrorBody, "5xx": ErrorBody },
      },
    },
    async ({ query }, reply) => {
      const signal = abandoned(reply);
      const params = { ...query, resource: labelFilters(query.resource), ...timeRange(query, { nowUnixMs: now() }) };
      const logs = [...(await run(logSearch, params, { signal }))];
      return { logs, resources: await resourcesOf(run, logs, signal) };
    },
  );
};

const histogramRoute = (api: ApiInstance, { run, now }: LogPorts): void => {
  api.get(
    "/logs/histogram",
    {
      schema: {
        summary: "How many log records, by step of time and severity",
        querystring: z.strictObject({
          ...Filter,
          step_ms: z.coerce.number().int().optional().describe("default: 60000"),
        }),
        response: { 200: z.strictObject({ histogram: z.array(logHistogram.row) }), "4xx": ErrorBody, "5xx": ErrorBody },
      },
    },
    async ({ query }, reply) => {
      const params = { ...query, resource: labelFilters(query.resource), ...timeRange(query, { nowUnixMs: now() }) };
      return { histogram: [...(await run(logHistogram, params, { signal: abandoned(reply) }))] };
    },
  );
};

const traceRoute = (api: ApiInstance, { run }: LogPorts): void => {
  api.get(
    "/traces/:trace_id/logs",
    {
      schema: {
        summary: "Everything that was logged within a trace, in the order of its time",
        params: z.strictObject({ trace_id: traceLogs.params.shape.trace_id }),
        querystring: z.strictObject({ limit: z.coerce.number().int().min(1).max(TRACE_LOGS_MAX).optional() }),
        response: { 200: Logs, "4xx": ErrorBody, "5xx": ErrorBody },
      },
    },
    async ({ params, query }, reply) => {
      const signal = abandoned(reply);
      const logs = [...(await run(traceLogs, { ...params, ...query }, { signal }))];
      return { logs, resources: await resourcesOf(run, logs, signal) };
    },
  );
};

export const logRoutes = (api: ApiInstance, ports: LogPorts): void => {
  logsRoute(api, ports);
  histogramRoute(api, ports);
  traceRoute(api, ports);
};
