import { createHash, createHmac, type KeyObject, sign, timingSafeEqual, verify } from "node:crypto";
import { canonicalJson, IdentityName, SiteName } from "@homeostat/schemas";
import { z } from "zod";

/** What has a canonical form, and so a MAC and a signature: a lone surrogate has none. */
const Text = (charsMax: number) =>
  z
    .string()
    .max(charsMax)
    .refine((text) => text.isWellFormed(), { error: "not well-formed Unicode" });
const Spki = Text(1_024);
const Mac = z.string().regex(/^[0-9a-f]{64}$/, "want 64 hex digits");
const Signature = z.base64().max(256);

/** DNS names and addresses of a site server. */
const SubjectNames = z
  .array(
    z
      .string()
      .max(253)
      .regex(/^[A-Za-z0-9:](?:[A-Za-z0-9.:-]*[A-Za-z0-9])?$/, "a DNS name or an IP address"),
  )
  .max(16);

export const EnrolRequest = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("enrol"),
    token_id: z.string().regex(/^[0-9a-f]{16}$/),
    /** The host, or the site server's name. */
    host: IdentityName,
    spki: Spki,
    names: SubjectNames,
    nonce: z.string().regex(/^[0-9a-f]{32}$/),
    /** By the private half of `spki`. */
    signature: Signature,
    /** HMAC-SHA256 with the token's secret over everything else. */
    mac: Mac,
  }),
  /** Of a site server, or of an agent whose certificate expired while it was off (an agent that is connected asks through its session). */
  z.strictObject({
    type: z.literal("renew"),
    certificate: Text(16_384),
    spki: Spki,
    names: SubjectNames,
    /** By the private half of `spki`. */
    signature: Signature,
    /** By the key of the certificate. */
    certificate_signature: Signature,
  }),
]);
export type EnrolRequest = z.infer<typeof EnrolRequest>;

/** What a person hands to a machine that is to be enrolled. */
export interface ParsedToken {
  readonly id: string;
  readonly secret: Buffer;
  /** SHA-256 of the SPKI of the authority's certificate, in hex. */
  readonly authoritySha256: string;
}

export const sha256OfSpki = (key: KeyObject): string =>
  createHash("sha256")
    .update(key.export({ type: "spki", format: "der" }))
    .digest("hex");

const TOKEN = /^([0-9a-f]{16})\.([A-Za-z0-9_-]{43})\.([0-9a-f]{64})$/;

/** null for what is not `<id>.<secret>.<sha256 of the authority's SPKI>`. */
export const parseToken = (text: string): ParsedToken | null => {
  const [, id, secret, authoritySha256] = TOKEN.exec(text.trim()) ?? [];
  if (id === undefined || secret === undefined || authoritySha256 === undefined) return null;
  return { id, secret: Buffer.from(secret, "base64url"), authoritySha256 };
};

export const tokenText = ({ id, secret, authoritySha256 }: ParsedToken): string =>
  `${id}.${secret.toString("base64url")}.${authoritySha256}`;

/*
 * Enrolment goes through a site server that is not trusted. The token's secret never travels: the request proves it by an HMAC, so nobody
 * between can enrol another key; the reply proves it too, over the request's own HMAC, so nobody between can put in an authority, command
 * keys or servers of their own, nor bring up an older reply. Each use has a label, lest one be taken for another.
 */
const macOf = (secret: Buffer, label: string, value: unknown): string =>
  createHmac("sha256", secret).update(`homeostat ${label} v1\0`).update(canonicalJson(value)).digest("hex");

export const isSameMac = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));

/** Everything of a request but its proofs. */
type Unproved<T extends EnrolRequest["type"]> = Omit<
  Extract<EnrolRequest, { type: T }>,
  "mac" | "signature" | "certificate_signature"
>;

const bytesOf = (request: Unproved<"enrol"> | Unproved<"renew">): Buffer =>
  Buffer.from(`homeostat ${request.type} request v1\0${canonicalJson(request)}`);

export const signRequest = (request: Unproved<"enrol"> | Unproved<"renew">, privateKey: KeyObject): string =>
  sign("sha256", bytesOf(request), privateKey).toString("base64");

export const isRequestSigned = (
  request: Unproved<"enrol"> | Unproved<"renew">,
  { key, signature }: { readonly key: KeyObject; readonly signature: string },
): boolean => verify("sha256", bytesOf(request), key, Buffer.from(signature, "base64"));

export const requestMac = (request: Unproved<"enrol"> & { readonly signature: string }, secret: Buffer): string =>
  macOf(secret, "enrol request", request);

export const replyMac = (
  reply: Omit<Enrolled, "mac">,
  { secret, request }: { readonly secret: Buffer; readonly request: string },
): string => macOf(secret, "enrol reply", { reply, request });

/** What the private half of the new key signs when a certificate is renewed within a session. */
export const renewalBytes = (host: string, spki: string): Buffer => Buffer.from(`homeostat renew\n${host}\n${spki}`);

export const REFUSALS = [
  "malformed",
  "unknown_token",
  "wrong_secret",
  "token_expired",
  "token_spent",
  "wrong_host",
  "wrong_site",
  "host_taken",
  "not_enrolled",
  "revoked",
  "quarantined",
  "wrong_signature",
  "wrong_certificate",
  "wrong_state",
  "too_many",
  "busy",
  "unavailable",
] as const;

/** Not authenticated: whoever carries it could say it as well, and delay an enrolment by it, no more. */
export const EnrolRefused = z.strictObject({ refused: z.enum(REFUSALS), message: z.string().max(1_000) });
export type EnrolRefused = z.infer<typeof EnrolRefused>;

export const Enrolled = z.strictObject({
  type: z.literal("enrolled"),
  host: IdentityName,
  site: SiteName,
  /** With the authority's behind it. */
  certificate: Text(32_768),
  authority: Text(16_384),
  /** Public halves (SPKI, PEM) of the keys that control signs with. */
  command_keys: z.array(Text(1_024)).min(1).max(16),
  /** `host:port` of the site's servers. */
  servers: z.array(Text(512)).max(64),
  /** HMAC-SHA256 with the token's secret over everything else and the request's mac; empty for a renewal. */
  mac: z.union([Mac, z.literal("")]),
});
export type Enrolled = z.infer<typeof Enrolled>;

export const EnrolReply = z.union([Enrolled, EnrolRefused]);
export type EnrolReply = z.infer<typeof EnrolReply>;
