import { CommandResult, Incident, IncidentState, RemediationRun } from "@homeostat/schemas";
import { z } from "zod";
import { incidentById, incidentsList } from "../queries/incidents.ts";
import { resultsByCommand } from "../queries/results.ts";
import { runById, runsByIncident } from "../queries/runs.ts";
import { abandoned } from "./abandoned.ts";
import type { Access } from "./access.ts";
import { ApiError, ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import { type ApiPorts, ReportFormat } from "./api-ports.ts";
import { deciderOf } from "./principal.ts";
import { commaList, TimeRange, timeRange } from "./query-strings.ts";
import { orRefuse } from "./refusal.ts";

const DAY_MS = 86_400_000;
const RECENT_DAYS = 30;
const COMMANDS_MAX = 2000;

const IncidentPath = z.strictObject({ incident_id: z.string().min(1).max(64) });
const RunPath = z.strictObject({ run_id: z.string().min(1).max(64) });
const Name = z.string().min(1).max(255);
const errors = { "4xx": ErrorBody, "5xx": ErrorBody };

const notFound = (what: string, id: string): ApiError => new ApiError("not_found", `no ${what} ${JSON.stringify(id)}`);

const MEDIA_TYPES: Readonly<Record<ReportFormat, string>> = {
  json: "application/json; charset=utf-8",
  markdown: "text/markdown; charset=utf-8",
  html: "text/html; charset=utf-8",
};

/** What `Accept` asks for first; Markdown where it does not say. */
const acceptedFormat = (accept: string): ReportFormat => {
  const asked = accept.split(",").map((part) => part.split(";")[0]?.trim());
  const formats: readonly (readonly [string, ReportFormat])[] = [
    ["text/html", "html"],
    ["application/json", "json"],
    ["text/markdown", "markdown"],
  ];
  const found = formats
    .filter(([type]) => asked.includes(type))
    .sort(([a], [b]) => asked.indexOf(a) - asked.indexOf(b));
  return found[0]?.[1] ?? "markdown";
};

const results = async (
  ports: ApiPorts,
  runs: readonly RemediationRun[],
  signal: AbortSignal,
): Promise<CommandResult[]> => {
  const command_ids = runs
    .flatMap((run) => run.plan?.steps.map((step) => step.idempotency_key) ?? [])
    .slice(0, COMMANDS_MAX);
  if (command_ids.length === 0) return [];
  return (await ports.run(resultsByCommand, { command_ids }, { signal })).map(({ record }) => record);
};

export const incidentRoutes = (api: ApiInstance, ports: ApiPorts): void => {
  api.get(
    "/incidents",
    {
      schema: {
        summary: "Incidents opened in the range (default: 30 days), newest first",
        querystring: z.strictObject({
          ...TimeRange,
          state: z
            .string()
            .max(300)
            .optional()
            .describe(`one or more, with commas, of: ${IncidentState.options.join(", ")}`),
          host_name: z.string().max(255).optional(),
          limit: z.coerce.number().int().min(1).max(1000).optional(),
        }),
        response: { 200: z.strictObject({ incidents: z.array(Incident) }), ...errors },
      },
    },
    async ({ query: { state, ...query } }, reply) => {
      const range = timeRange(query, { nowUnixMs: ports.now(), lengthMs: RECENT_DAYS * DAY_MS });
      const params = { ...query, ...range, states: commaList(state ?? "") };
      const rows = await ports.run(incidentsList, params, { signal: abandoned(reply) });
      return { incidents: rows.map(({ record }) => record.incident) };
    },
  );

  api.get(
    "/incidents/:incident_id",
    {
      schema: {
        summary: "An incident with its runs and what the agents answered",
        params: IncidentPath,
        response: {
          200: z.strictObject({ incident: Incident, runs: z.array(RemediationRun), results: z.array(CommandResult) }),
          ...errors,
        },
      },
    },
    async ({ params }, reply) => {
      const signal = abandoned(reply);
      const [[found], runRows] = await Promise.all([
        ports.run(incidentById, params, { signal }),
        ports.run(runsByIncident, params, { signal }),
      ]);
      if (found === undefined) throw notFound("incident", params.incident_id);
      const runs = runRows.map(({ record }) => record.run);
      return { incident: found.record.incident, runs, results: await results(ports, runs, signal) };
    },
  );
};

export const reportRoute = (api: ApiInstance, ports: ApiPorts): void => {
  api.get(
    "/incidents/:incident_id/report",
    {
      schema: {
        summary: "The root-cause report, as `format` or the Accept header asks; Markdown otherwise",
        params: IncidentPath,
        querystring: z.strictObject({ format: ReportFormat.optional() }),
      },
    },
    async ({ params, query, headers }, reply) => {
      const format = query.format ?? acceptedFormat(headers.accept ?? "");
      const report = await ports.reports(params.incident_id, format);
      if (report === null) throw notFound("incident", params.incident_id);
      return reply.type(MEDIA_TYPES[format]).header("content-security-policy", REPORT_POLICY).send(report);
    },
  );
};

export const runRoute = (api: ApiInstance, ports: ApiPorts): void => {
  api.get(
    "/runs/:run_id",
    {
      schema: {
        summary: "A remediation run with what the agents answered",
        params: RunPath,
        response: { 200: z.strictObject({ run: RemediationRun, results: z.array(CommandResult) }), ...errors },
      },
    },
    async ({ params }, reply) => {
      const signal = abandoned(reply);
      const [found] = await ports.run(runById, params, { signal });
      if (found === undefined) throw notFound("run", params.run_id);
      return { run: found.record.run, results: await results(ports, [found.record.run], signal) };
    },
  );
};

/** A report quotes log lines: whatever they say, no script runs and nothing is fetched. */
const REPORT_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/** Each of them wants a role of its own. */
export const decisionRoutes = (api: ApiInstance, ports: ApiPorts, access: Access): void => {
  const approves = access.want("approver");
  api.post(
    "/runs/:run_id/decision",
    {
      onRequest: async (request) => approves(request),
      schema: {
        summary: "Approves or refuses a run that awaits approval",
        security: [{ token: [] }],
        params: RunPath,
        body: z.strictObject({ approved: z.boolean(), by: Name, note: z.string().max(500).default("") }),
        response: { 200: z.strictObject({ run: RemediationRun }), ...errors },
      },
    },
    async (request) => {
      const { params, body } = request;
      const by = deciderOf(access.known(request), body.by);
      return { run: orRefuse(await ports.decide(params.run_id, { ...body, by })) };
    },
  );

  const acknowledges = access.want("operator", "approver", "admin");
  api.post(
    "/incidents/:incident_id/acknowledge",
    {
      onRequest: async (request) => acknowledges(request),
      schema: {
        summary: "Says that a person has seen the incident",
        security: [{ token: [] }],
        params: IncidentPath,
        body: z.strictObject({ by: Name }),
        response: { 200: z.strictObject({ incident: Incident }), ...errors },
      },
    },
    async (request) => {
      const by = deciderOf(access.known(request), request.body.by);
      return { incident: orRefuse(await ports.acknowledge(request.params.incident_id, by)) };
    },
  );
};
