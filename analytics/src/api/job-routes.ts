import { HostName, InvocationState, Job, JobRequest, JobState } from "@homeostat/schemas";
import { z } from "zod";
import type { Access } from "./access.ts";
import { ApiError, ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import { type FleetPort, InvocationRow, JobPreview } from "./fleet-ports.ts";
import { jobStream } from "./job-stream.ts";
import { commaList } from "./query-strings.ts";
import { orRefuse } from "./refusal.ts";

const JOBS_MAX = 1_000;
const INVOCATIONS_MAX = 1_000;
/** Open at once; each holds a buffer. */
const STREAMS_MAX = 128;
/** A request may name 20,000 hosts by their names. */
const REQUEST_BYTES_MAX = 8 * 1_048_576;

const errors = { "4xx": ErrorBody, "5xx": ErrorBody };
const JobPath = z.strictObject({ job_id: z.string().min(1).max(100) });
const Note = z.strictObject({ note: z.string().max(1_000).default("") });

const JobAndInvocations = z.strictObject({
  job: Job,
  invocations: z.array(InvocationRow).readonly(),
  total: z.int().describe("on all pages, of those that were asked for"),
  next: z.string().nullable(),
});

/** Between two leaders nobody knows a job, which does not mean that it is not there. */
const notFound = (fleet: FleetPort, jobId: string): ApiError =>
  fleet.leads()
    ? new ApiError("not_found", `no job ${JSON.stringify(jobId)}`)
    : new ApiError("not_leading", "another control plane leads, or none does yet: ask again", [], "not_leader");

const listRoute = (api: ApiInstance, fleet: FleetPort): void => {
  api.get(
    "/jobs",
    {
      schema: {
        summary: "Jobs, newest first",
        querystring: z.strictObject({
          state: z
            .string()
            .max(300)
            .optional()
            .describe(`one or more, with commas, of: ${JobState.options.join(", ")}`),
          requested_by: z.string().max(255).optional(),
          executor: z.string().max(64).optional(),
          host: HostName.optional().describe("jobs that name this host"),
          limit: z.coerce.number().int().min(1).max(JOBS_MAX).default(100),
        }),
        response: { 200: z.strictObject({ jobs: z.array(Job).readonly() }), ...errors },
      },
    },
    async ({ query: { state, requested_by, executor, host, limit } }) => ({
      jobs: fleet.jobs({
        limit,
        ...(state !== undefined && { states: z.array(JobState).parse(commaList(state)) }),
        ...(requested_by !== undefined && { requested_by }),
        ...(executor !== undefined && { executor }),
        ...(host !== undefined && { host }),
      }),
    }),
  );
};

const oneRoute = (api: ApiInstance, fleet: FleetPort): void => {
  api.get(
    "/jobs/:job_id",
    {
      schema: {
        summary: "A job with what became of it on each host, by host",
        params: JobPath,
        querystring: z.strictObject({
          state: z
            .string()
            .max(300)
            .optional()
            .describe(`one or more, with commas, of: ${InvocationState.options.join(", ")}`),
          after: HostName.optional().describe("the host at which the page before ended"),
          limit: z.coerce.number().int().min(0).max(INVOCATIONS_MAX).default(200),
        }),
        response: { 200: JobAndInvocations, ...errors },
      },
    },
    async ({ params: { job_id }, query: { state, after, limit } }) => {
      const found = fleet.job(job_id);
      if (found === null) throw notFound(fleet, job_id);
      const states = commaList(state ?? "");
      const all = found.invocations
        .filter((invocation) => states.length === 0 || states.includes(invocation.state))
        .toSorted((a, b) => (a.host < b.host ? -1 : 1));
      const rest = after === undefined ? all : all.filter(({ host }) => host > after);
      const invocations = rest.slice(0, limit);
      const next = rest.length > limit ? (invocations.at(-1)?.host ?? null) : null;
      return { job: found.job, invocations, total: all.length, next };
    },
  );
};

/** @throws ApiError when too many follow this job already */
const streamOf = (...asked: Parameters<typeof jobStream>): ReturnType<typeof jobStream> => {
  try {
    return jobStream(...asked);
  } catch (error) {
    if (error instanceof RangeError) throw new ApiError("refused", `${error.message}; ask for the job itself`);
    throw error;
  }
};

const eventsRoute = (api: ApiInstance, fleet: FleetPort, now: () => number): void => {
  let open = 0;
  api.get(
    "/jobs/:job_id/events",
    {
      schema: {
        summary:
          "What happens to a job, a line of JSON each (application/x-ndjson), until it has ended; a heartbeat every few seconds",
        params: JobPath,
      },
    },
    async ({ params: { job_id } }, reply) => {
      if (open >= STREAMS_MAX)
        throw new ApiError("refused", `${STREAMS_MAX} jobs are being followed already; ask for the job itself`);
      const stream = streamOf(job_id, { follow: fleet.follow, job: fleet.job, now });
      if (stream === null) throw notFound(fleet, job_id);
      open += 1;
      stream.once("close", () => {
        open -= 1;
      });
      return reply.type("application/x-ndjson").header("x-accel-buffering", "no").send(stream);
    },
  );
};

/** Under a scope that checks who reads. */
export const jobReadRoutes = (api: ApiInstance, fleet: FleetPort, now: () => number): void => {
  listRoute(api, fleet);
  oneRoute(api, fleet);
  eventsRoute(api, fleet, now);
};

const submitRoute = (api: ApiInstance, fleet: FleetPort, access: Access): void => {
  const operates = access.want("operator");
  api.post(
    "/jobs",
    {
      bodyLimit: REQUEST_BYTES_MAX,
      onRequest: async (request) => operates(request),
      schema: {
        summary:
          "Has a command done on hosts; with dry_run, says on which, and whether a second person has to allow it",
        security: [{ token: [] }],
        body: JobRequest.extend({ dry_run: z.boolean().default(false) }),
        response: {
          200: z.strictObject({ preview: JobPreview }),
          201: z.strictObject({ job: Job }),
          ...errors,
        },
      },
    },
    async (request, reply) => {
      const { dry_run, ...asked } = request.body;
      const by = access.known(request);
      if (dry_run) return { preview: orRefuse(fleet.preview(asked, by)) };
      return reply.code(201).send({ job: orRefuse(await fleet.submit(asked, by)) });
    },
  );
};

/** Each of them wants a role of its own. */
export const jobWriteRoutes = (api: ApiInstance, fleet: FleetPort, access: Access): void => {
  submitRoute(api, fleet, access);
  const decisions = [
    {
      name: "cancel",
      summary: "Ends a job: what has not begun never begins, what runs is ended",
      roles: ["operator", "approver", "admin"],
      decide: fleet.cancel,
    },
    {
      name: "approve",
      summary: "Allows a job that awaits a second person; not by who asked for it",
      roles: ["approver"],
      decide: fleet.approve,
    },
    { name: "reject", summary: "Refuses a job that awaits a second person", roles: ["approver"], decide: fleet.reject },
  ] as const;
  for (const { name, summary, roles, decide } of decisions) {
    const check = access.want(...roles);
    api.post(
      `/jobs/:job_id/${name}`,
      {
        onRequest: async (request) => check(request),
        schema: {
          summary,
          security: [{ token: [] }],
          params: JobPath,
          body: Note,
          response: { 200: z.strictObject({ job: Job }), ...errors },
        },
      },
      async (request) => ({
        job: orRefuse(await decide(request.params.job_id, access.known(request), request.body.note)),
      }),
    );
  }
};
