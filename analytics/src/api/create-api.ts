import swagger from "@fastify/swagger";
import Fastify, { type FastifyInstance } from "fastify";
import {
  jsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from "fastify-type-provider-zod";
import { heartbeats } from "../queries/heartbeats.ts";
import { incidentsList } from "../queries/incidents.ts";
import { retentionRoute } from "../space/retention-route.ts";
import { type Access, checkLoopbackHost, createAccess } from "./access.ts";
import { agentRoutes } from "./agent-routes.ts";
import { ApiError, answerError } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import type { ApiPorts } from "./api-ports.ts";
import { auditRoutes } from "./audit-routes.ts";
import { type DeadLetterPort, dlqReplayRoute, dlqRoutes } from "./dlq-routes.ts";
import { enrolmentRoutes } from "./enrolment-routes.ts";
import type { AgentPlatform } from "./fleet-ports.ts";
import { decisionRoutes, incidentRoutes, reportRoute, runRoute } from "./incident-routes.ts";
import { jobReadRoutes, jobWriteRoutes } from "./job-routes.ts";
import { ledgerRoutes, type WaitingPort } from "./ledger-routes.ts";
import { logRoutes } from "./log-routes.ts";
import { metricRoutes } from "./metric-routes.ts";
import { healthRoute, platformRoutes, reloadRoute } from "./platform-routes.ts";
import { pluginReadRoutes, pluginWriteRoutes } from "./plugin-routes.ts";
import type { ApiUser, Role } from "./principal.ts";
import { timeRange } from "./query-strings.ts";
import { shellRoutes, transcriptRoutes } from "./shell-routes.ts";
import { renderStartPage, type StartPage } from "./start-page.ts";

export interface ApiOptions extends ApiPorts {
  readonly version: string;
  /** Of the data directory: who has it may do everything. POST wants it, or a user's, as `Authorization: Bearer …`. */
  readonly token: string;
  readonly users?: readonly ApiUser[];
  /** Absent where control does not run in this process. */
  readonly agentPlatform?: AgentPlatform;
  /** Absent where this process has no bus. */
  readonly deadLetters?: DeadLetterPort;
  /** What waits on the bus; absent where this process has none. */
  readonly waiting?: WaitingPort;
  /** True where only this machine can connect: reading needs no token then, and only loopback names are answered. */
  readonly isLoopback: boolean;
}

const BODY_BYTES_MAX = 65_536;
const REQUEST_MS_MAX = 30_000;
const CONNECTIONS_MAX = 512;
const START_PAGE_DAYS = 7;
const DAY_MS = 86_400_000;

const API_DESCRIPTION = {
  openapi: {
    openapi: "3.1.0",
    components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
  },
} as const;

const startPage = async (options: ApiOptions): Promise<StartPage> => {
  const { run, now, health, version } = options;
  const nowUnixMs = now();
  const range = timeRange({}, { nowUnixMs, lengthMs: START_PAGE_DAYS * DAY_MS });
  const [components, incidents, agents] = await Promise.all([
    health(),
    run(incidentsList, range).then(
      (rows) => rows.map(({ record }) => record.incident),
      () => null,
    ),
    run(heartbeats, { limit: 100 }).then(
      (rows) => rows.map(({ record }) => record),
      () => null,
    ),
  ]);
  return { version, nowUnixMs, components, incidents, agents };
};

/** Routes that want one of these roles. */
const under = (api: ApiInstance, check: ReturnType<Access["want"]>, routes: (scope: ApiInstance) => void): void => {
  api.register(async (scope) => {
    scope.addHook("onRequest", async (request) => check(request));
    routes(scope);
  });
};

const platformScopes = (api: ApiInstance, options: ApiOptions, access: Access): void => {
  const want = (...roles: readonly Role[]) => access.want(...roles);
  const readAll = options.isLoopback ? () => undefined : want();
  under(api, readAll, (reading) => {
    metricRoutes(reading, options);
    logRoutes(reading, options);
    incidentRoutes(reading, options);
    reportRoute(reading, options);
    runRoute(reading, options);
    if (options.agentPlatform === undefined) platformRoutes(reading, options);
    retentionRoute(reading, options);
    ledgerRoutes(reading, options);
    if (options.deadLetters !== undefined) dlqRoutes(reading, options.deadLetters);
    reading.get("/openapi.json", { schema: { hide: true } }, async () => reading.swagger());
  });
  decisionRoutes(api, options, access);
  under(api, want("admin"), (admin) => {
    reloadRoute(admin, options);
    if (options.deadLetters !== undefined) dlqReplayRoute(admin, options.deadLetters, access);
  });
};

const agentScopes = (
  api: ApiInstance,
  { fleet, plugins, enrolment, audit, shell }: AgentPlatform,
  { access, now }: { readonly access: Access; readonly now: () => number },
): void => {
  under(api, access.readFleet, (reading) => {
    agentRoutes(reading, fleet);
    jobReadRoutes(reading, fleet, now);
    pluginReadRoutes(reading, plugins);
  });
  jobWriteRoutes(api, fleet, access);
  under(api, access.want("admin"), (admin) => {
    pluginWriteRoutes(admin, plugins, access);
    enrolmentRoutes(admin, enrolment, access);
  });
  under(api, access.want("approver", "admin"), (reviewing) => {
    auditRoutes(reviewing, audit);
    transcriptRoutes(reviewing, shell);
  });
  under(api, access.want("shell"), (opening) => shellRoutes(opening, shell, access));
};

const apiRoutes = (api: ApiInstance, options: ApiOptions, access: Access): void => {
  healthRoute(api, options, {
    version: options.version,
    maySeeParts: (request) => options.isLoopback || access.of(request) !== null,
  });
  platformScopes(api, options, access);
  if (options.agentPlatform !== undefined) agentScopes(api, options.agentPlatform, { access, now: options.now });
};

/** The read API, what people and programs may decide and ask for, and a start page. The caller listens, and may add routes of its own. */
export const createApi = (options: ApiOptions): FastifyInstance => {
  const { token, users = [], isLoopback } = options;
  const access = createAccess({ token, users, isLoopback });
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_MS_MAX,
    connectionTimeout: REQUEST_MS_MAX,
    routerOptions: { maxParamLength: 500 },
    forceCloseConnections: true,
  });
  app.server.maxConnections = CONNECTIONS_MAX;
  app.setErrorHandler(answerError(options.log));
  app.setNotFoundHandler(({ method, url }) => {
    throw new ApiError("not_found", `no route ${method} ${url.split("?")[0]}`);
  });
  app.addHook("onRequest", async (request, reply) => {
    if (options.isLoopback) checkLoopbackHost(request);
    reply
      .header("x-content-type-options", "nosniff")
      .header("cache-control", "no-store")
      .header("referrer-policy", "no-referrer");
  });

  app.register(async (scope) => {
    // JSON only: what a form of another site can send without asking (text/plain) is refused.
    scope.removeContentTypeParser("text/plain");
    scope.setValidatorCompiler(validatorCompiler);
    scope.setSerializerCompiler(serializerCompiler);
    await scope.register(swagger, {
      openapi: { ...API_DESCRIPTION.openapi, info: { title: "Homeostat", version: options.version } },
      transform: jsonSchemaTransform,
    });
    await scope.register(async (api) => apiRoutes(api.withTypeProvider<ZodTypeProvider>(), options, access), {
      prefix: "/api/v1",
    });
    scope.get("/", { schema: { hide: true } }, async (request, reply) => {
      if (!options.isLoopback) access.known(request);
      const html = renderStartPage(await startPage(options));
      return reply
        .type("text/html; charset=utf-8")
        .header(
          "content-security-policy",
          "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
        )
        .send(html);
    });
  });
  return app;
};
