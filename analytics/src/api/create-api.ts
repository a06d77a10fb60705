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
import { bearerCheck, bearerTest, checkLoopbackHost } from "./access.ts";
import { ApiError, answerError } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import type { ApiPorts } from "./api-ports.ts";
import { type DeadLetterPort, dlqReplayRoute, dlqRoutes } from "./dlq-routes.ts";
import { decisionRoutes, incidentRoutes, reportRoute, runRoute } from "./incident-routes.ts";
import { ledgerRoutes, type WaitingPort } from "./ledger-routes.ts";
import { logRoutes } from "./log-routes.ts";
import { metricRoutes } from "./metric-routes.ts";
import { healthRoute, platformRoutes, reloadRoute } from "./platform-routes.ts";
import { timeRange } from "./query-strings.ts";
import { renderStartPage, type StartPage } from "./start-page.ts";

export interface ApiOptions extends ApiPorts {
  readonly version: string;
  /** What POST wants as `Authorization: Bearer …`. */
  readonly token: string;
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

const apiRoutes = (api: ApiInstance, options: ApiOptions): void => {
  const wantToken = bearerCheck(options.token);
  const bearsToken = bearerTest(options.token);
  healthRoute(api, options, {
    version: options.version,
    maySeeParts: (request) => options.isLoopback || bearsToken(request),
  });
  api.register(async (reading) => {
    if (!options.isLoopback) reading.addHook("onRequest", async (request) => wantToken(request));
    metricRoutes(reading, options);
    logRoutes(reading, options);
    incidentRoutes(reading, options);
    reportRoute(reading, options);
    runRoute(reading, options);
    platformRoutes(reading, options);
    retentionRoute(reading, options);
    ledgerRoutes(reading, options);
    if (options.deadLetters !== undefined) dlqRoutes(reading, options.deadLetters);
    reading.get("/openapi.json", { schema: { hide: true } }, async () => reading.swagger());
  });
  api.register(async (deciding) => {
    deciding.addHook("onRequest", async (request) => wantToken(request));
    decisionRoutes(deciding, options);
    reloadRoute(deciding, options);
    if (options.deadLetters !== undefined) dlqReplayRoute(deciding, options.deadLetters);
  });
};

/** The read API, the two decisions that a person may take, and a start page. The caller listens, and may add routes of its own. */
export const createApi = (options: ApiOptions): FastifyInstance => {
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
    await scope.register(async (api) => apiRoutes(api.withTypeProvider<ZodTypeProvider>(), options), {
      prefix: "/api/v1",
    });
    scope.get("/", { schema: { hide: true } }, async (request, reply) => {
      if (!options.isLoopback) bearerCheck(options.token)(request);
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
