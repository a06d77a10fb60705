import { z } from "zod";
import { UnixMs } from "./unix-ms.ts";

/** What may stand in a certificate's URI as it is (RFC 3986 pchar), and in a log line, a file name or a table without harm. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@:-]*$/;
const WANTED = "letters, digits and . _ @ : - only, a letter or a digit first";

/** A host, or a site server, that has a certificate. */
export const IdentityName = z.string().min(1).max(255).regex(NAME, WANTED);
export const SiteName = z.string().min(1).max(64).regex(NAME, WANTED);
const Sha256Hex = z.string().regex(/^[0-9a-f]{64}$/, "want 64 hex digits");
const Serial = z.string().regex(/^[0-9a-f]{1,40}$/, "want a serial number in hex");

export const IssuedCertificate = z.strictObject({
  serial: Serial,
  not_before_unix_ms: UnixMs,
  not_after_unix_ms: UnixMs,
  /** Of the public key that it is for: a request that comes twice gets the same certificate again. */
  spki_sha256: Sha256Hex,
});
export type IssuedCertificate = z.infer<typeof IssuedCertificate>;

/** How many certificates of one host count at a time; the oldest gives way. */
export const CERTIFICATES_MAX = 8;

/** On `agent.identities` (compacted), keyed by `identityKey`: who may speak as this host or site server. */
export const AgentIdentity = z.strictObject({
  kind: z.enum(["agent", "site"]),
  /** Of a site server: its name. */
  host: IdentityName,
  site: SiteName,
  /** quarantined: it may connect and report, and is sent no commands. revoked: it may not connect. */
  state: z.enum(["active", "quarantined", "revoked"]),
  /** Newest first. Others do not count, whoever signed them. */
  certificates: z.array(IssuedCertificate).max(CERTIFICATES_MAX),
  /** Taken back before their time, newest first: told to the sites until they have expired. */
  withdrawn: z.array(IssuedCertificate).max(2 * CERTIFICATES_MAX),
  /** The id of the token that it was enrolled with. */
  token_id: z.string().max(32),
  enrolled_at_unix_ms: UnixMs,
  changed_at_unix_ms: UnixMs,
  changed_by: z.string().max(255),
  reason: z.string().max(1_000),
});
export type AgentIdentity = z.infer<typeof AgentIdentity>;

export const TOKEN_USES_MAX = 10_000;

/** On `agent.identities`, keyed by `tokenKey`. The token's secret is never on the bus: control derives it from a key of its own. */
export const EnrolmentToken = z.strictObject({
  kind: z.literal("token"),
  id: z.string().regex(/^[0-9a-f]{16}$/),
  /** What is enrolled with it. */
  for: z.enum(["agent", "site"]),
  site: SiteName,
  /** Only this host; null: any that is not taken. */
  host: IdentityName.nullable(),
  /** The host may be enrolled already: its certificates are withdrawn then. Only for a token that names its host. */
  again: z.boolean(),
  uses_max: z.int().min(1).max(TOKEN_USES_MAX),
  uses: z.int().min(0).max(TOKEN_USES_MAX),
  created_at_unix_ms: UnixMs,
  created_by: z.string().max(255),
  expires_at_unix_ms: UnixMs,
});
export type EnrolmentToken = z.infer<typeof EnrolmentToken>;

/** The value on `agent.identities`. */
export const IdentityRecord = z.discriminatedUnion("kind", [AgentIdentity, EnrolmentToken]);
export type IdentityRecord = z.infer<typeof IdentityRecord>;

/** No host's name begins with a slash, so that the three kinds of key cannot meet. */
export const identityKey = ({ kind, site, host }: Pick<AgentIdentity, "kind" | "site" | "host">): string =>
  kind === "agent" ? host : `/site/${site}/${host}`;
export const tokenKey = (id: string): string => `/token/${id}`;
