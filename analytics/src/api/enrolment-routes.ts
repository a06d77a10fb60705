import { AgentIdentity, EnrolmentToken, HostName } from "@homeostat/schemas";
import { z } from "zod";
import type { Access } from "./access.ts";
import { ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import type { EnrolmentPort, IdentitySubject } from "./fleet-ports.ts";
import { orRefuse } from "./refusal.ts";

const TOKEN_LIFE_MS_MAX = 7 * 86_400_000;
const TOKEN_LIFE_MS = 3_600_000;
/** A whole fleet may be enrolled with one token. */
const USES_MAX = 10_000;
const IDENTITIES_MAX = 1_000;
/** Names of 255 and of 64 characters, and a word. */
const PLACE_CHARS_MAX = 400;
const errors = { "4xx": ErrorBody, "5xx": ErrorBody };

const Site = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "want a letter or digit, then letters, digits, dots, dashes or _");

/** In the list: a host and site servers may have one name. A space comes before all that names are made of. */
const placeOf = ({ host, kind, site }: AgentIdentity): string => `${host} ${kind} ${site}`;

const ChangeBody = z
  .strictObject({
    reason: z.string().max(1_000).default(""),
    kind: z.enum(["agent", "site"]).default("agent").describe("agent: of a host. site: of a site server"),
    site: Site.optional().describe("of a site server: its site"),
  })
  .refine(({ kind, site }) => (kind === "site") === (site !== undefined), {
    path: ["site"],
    message: "a site server is named with its site (kind: site), a host without",
  });

const subjectOf = (host: string, site: string | undefined): IdentitySubject =>
  site === undefined ? { kind: "agent", host } : { kind: "site", site, host };

const listRoutes = (api: ApiInstance, enrolment: EnrolmentPort): void => {
  api.get(
    "/identities",
    {
      schema: {
        summary: "Who may speak as which host, by host",
        security: [{ token: [] }],
        querystring: z.strictObject({
          state: AgentIdentity.shape.state.optional(),
          after: z.string().max(PLACE_CHARS_MAX).optional().describe("the `next` of the page before"),
          limit: z.coerce.number().int().min(1).max(IDENTITIES_MAX).default(IDENTITIES_MAX),
        }),
        response: {
          200: z.strictObject({ identities: z.array(AgentIdentity).readonly(), next: z.string().nullable() }),
          ...errors,
        },
      },
    },
    async ({ query: { state, after, limit } }) => {
      const rest = enrolment
        .identities()
        .filter((one) => (state === undefined || one.state === state) && (after === undefined || placeOf(one) > after))
        .toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
      const identities = rest.slice(0, limit);
      const last = identities.at(-1);
      return { identities, next: rest.length > limit && last !== undefined ? placeOf(last) : null };
    },
  );
  api.get(
    "/enrolment-tokens",
    {
      schema: {
        summary: "Tokens that were given out and not used yet; never their secrets",
        security: [{ token: [] }],
        response: { 200: z.strictObject({ tokens: z.array(EnrolmentToken).readonly() }), ...errors },
      },
    },
    async () => ({ tokens: enrolment.tokens() }),
  );
};

/** Under a scope that wants an admin. */
export const enrolmentRoutes = (api: ApiInstance, enrolment: EnrolmentPort, access: Access): void => {
  listRoutes(api, enrolment);
  api.post(
    "/enrolment-tokens",
    {
      schema: {
        summary: "A token with which agents enrol; its text is told here and never again",
        security: [{ token: [] }],
        body: z.strictObject({
          for: z.enum(["agent", "site"]).default("agent").describe("agent: of a host. site: of a site server"),
          site: Site,
          host: HostName.optional().describe("only this host may use it"),
          again: z
            .boolean()
            .default(false)
            .describe("the host that it names may be enrolled already: its certificates are withdrawn then"),
          uses: z.int().min(1).max(USES_MAX).default(1),
          expires_ms: z.int().min(1_000).max(TOKEN_LIFE_MS_MAX).default(TOKEN_LIFE_MS),
        }),
        response: { 201: z.strictObject({ text: z.string(), token: EnrolmentToken }), ...errors },
      },
    },
    async (request, reply) => {
      const { host, expires_ms, ...rest } = request.body;
      const asked = { ...rest, host: host ?? null, ttl_ms: expires_ms };
      return reply.code(201).send(orRefuse(await enrolment.createToken(asked, access.known(request))));
    },
  );
  api.post(
    "/enrolment-tokens/:token_id/withdraw",
    {
      schema: {
        summary: "Takes a token back",
        security: [{ token: [] }],
        params: z.strictObject({ token_id: z.string().min(1).max(64) }),
        body: z.strictObject({}),
        response: { 200: z.strictObject({ token: EnrolmentToken }), ...errors },
      },
    },
    async (request) => ({
      token: orRefuse(await enrolment.withdrawToken(request.params.token_id, access.known(request))),
    }),
  );
  const changes = [
    { name: "revoke", summary: "Ends the identity of a host or a site server: it may not connect any more" },
    { name: "quarantine", summary: "The host may connect and report, and is sent no commands" },
    { name: "readmit", summary: "Ends a quarantine; after a revocation: it may enrol again" },
  ] as const;
  for (const { name, summary } of changes)
    api.post(
      `/identities/:host/${name}`,
      {
        schema: {
          summary,
          security: [{ token: [] }],
          params: z.strictObject({ host: HostName }),
          body: ChangeBody,
          response: { 200: z.strictObject({ identity: AgentIdentity }), ...errors },
        },
      },
      async (request) => {
        const { reason, site } = request.body;
        const whose = subjectOf(request.params.host, site);
        return { identity: orRefuse(await enrolment.change(whose, name, access.known(request), reason)) };
      },
    );
};
