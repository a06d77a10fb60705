import { z } from "zod";
import { logHistogram } from "../queries/log-histogram.ts";
import { LOG_ROWS_MAX, logSearch } from "../queries/log-search.ts";
import { abandoned } from "./abandoned.ts";
import { ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import type { ApiPorts } from "./api-ports.ts";
import { TimeRange, timeRange } from "./query-strings.ts";

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
  host_name: z.string().max(255).optional(),
  service_name: z.string().max(255).optional(),
  trace_id: z.string().max(64).optional(),
};

export const logRoutes = (api: ApiInstance, { run, now }: ApiPorts): void => {
  api.get(
    "/logs",
    {
      schema: {
        summary: "Log records, newest first",
        querystring: z.strictObject({ ...Filter, limit: z.coerce.number().int().min(1).max(LOG_ROWS_MAX).optional() }),
        response: { 200: z.strictObject({ logs: z.array(logSearch.row) }), "4xx": ErrorBody, "5xx": ErrorBody },
      },
    },
    async ({ query }, reply) => {
      const params = { ...query, ...timeRange(query, { nowUnixMs: now() }) };
      return { logs: [...(await run(logSearch, params, { signal: abandoned(reply) }))] };
    },
  );

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
      const params = { ...query, ...timeRange(query, { nowUnixMs: now() }) };
      return { histogram: [...(await run(logHistogram, params, { signal: abandoned(reply) }))] };
    },
  );
};
