import { createPublicKey, type KeyObject, randomBytes, X509Certificate } from "node:crypto";
import { IdentityName } from "@homeostat/schemas";
import {
  type Enrolled,
  EnrolReply,
  type EnrolRequest,
  isSameMac,
  type ParsedToken,
  parseToken,
  REFUSALS,
  replyMac,
  requestMac,
  sha256OfSpki,
  signRequest,
} from "../channel/enrolment.ts";
import { readAuthority, roleOf, whyNotIssued } from "../channel/tls-identity.ts";
import type { IdentityFiles, StoredIdentity } from "./identity-files.ts";

/** Carries a request to control, by whatever way: it need not be trusted. Rejects when it could not. */
export type Exchange = (request: EnrolRequest) => Promise<unknown>;

export const ENROL_ERROR_CODES = [...REFUSALS, "bad_token", "bad_name", "bad_reply", "unreachable"] as const;
export type EnrolErrorCode = (typeof ENROL_ERROR_CODES)[number];

export class EnrolError extends Error {
  override readonly name = "EnrolError";
  readonly code: EnrolErrorCode;
  /** Whether the same request may be taken later. */
  readonly retryable: boolean;
  constructor(code: EnrolErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.retryable = code === "busy" || code === "unavailable" || code === "unreachable";
  }
}

export interface EnrolOptions {
  /** `<id>.<secret>.<sha256 of the authority's SPKI>` */
  readonly token: string;
  readonly kind: StoredIdentity["kind"];
  readonly host: string;
  /** Of a site server: DNS names and addresses. */
  readonly names?: readonly string[];
  readonly files: IdentityFiles;
  readonly exchange: Exchange;
}

const spkiOf = (key: KeyObject): string => createPublicKey(key).export({ type: "spki", format: "pem" }).toString();

/** @throws EnrolError unless it is a certificate of this authority, for this role and this key. */
export const checkCertificate = (
  pem: string,
  wanted: {
    readonly kind: StoredIdentity["kind"];
    readonly host: string;
    readonly site: string;
    readonly authority: string;
    readonly key: KeyObject;
  },
): void => {
  const bad = (message: string) => new EnrolError("bad_reply", message);
  let certificate: X509Certificate;
  let authority: X509Certificate;
  try {
    certificate = new X509Certificate(pem);
    authority = readAuthority(wanted.authority);
  } catch {
    throw bad("the certificate cannot be read");
  }
  const fault = whyNotIssued(certificate, { authorities: [authority], nowUnixMs: null });
  if (fault !== null) throw bad(fault);
  const role = roleOf(certificate);
  if (role?.kind !== wanted.kind || role.name !== wanted.host || role.site !== wanted.site)
    throw bad(`the certificate is not for ${wanted.kind} ${wanted.host} of ${wanted.site}`);
  if (!certificate.checkPrivateKey(wanted.key)) throw bad("the certificate is for another key");
};

const checkCommandKeys = (keys: readonly string[]): void => {
  for (const pem of keys) {
    if (!isEd25519(pem)) throw new EnrolError("bad_reply", "a command key is not an Ed25519 public key");
  }
};

const isEd25519 = (pem: string): boolean => {
  try {
    return pem.startsWith("-----BEGIN PUBLIC KEY-----") && createPublicKey(pem).asymmetricKeyType === "ed25519";
  } catch {
    return false;
  }
};

/** @throws EnrolError */
export const ask = async (exchange: Exchange, request: EnrolRequest): Promise<Enrolled> => {
  let answer: unknown;
  try {
    answer = await exchange(request);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new EnrolError("unreachable", `control could not be asked: ${why}`, thrown);
  }
  const parsed = EnrolReply.safeParse(answer);
  if (!parsed.success) throw new EnrolError("bad_reply", "the reply is malformed");
  if ("refused" in parsed.data) throw new EnrolError(parsed.data.refused, parsed.data.message);
  return parsed.data;
};

const signedRequest = (
  { host, names = [] }: EnrolOptions,
  token: ParsedToken,
  key: KeyObject,
): Extract<EnrolRequest, { type: "enrol" }> => {
  const request = {
    type: "enrol" as const,
    token_id: token.id,
    host,
    spki: spkiOf(key),
    names: [...names],
    nonce: randomBytes(16).toString("hex"),
  };
  const signed = { ...request, signature: signRequest(request, key) };
  return { ...signed, mac: requestMac(signed, token.secret) };
};

/** The reply is control's, for this request: nobody between knows the token's secret. @throws EnrolError */
const checkReply = (
  { mac, ...reply }: Enrolled,
  {
    token,
    requestMac: request,
    host,
  }: { readonly token: ParsedToken; readonly requestMac: string; readonly host: string },
): void => {
  const bad = (message: string) => new EnrolError("bad_reply", message);
  if (!isSameMac(mac, replyMac(reply, { secret: token.secret, request })))
    throw bad("the reply is not proved by the token's secret: somebody between has made or altered it");
  if (reply.host !== host) throw bad(`the reply is for ${reply.host}, not for ${host}`);
  let authority: X509Certificate;
  try {
    authority = readAuthority(reply.authority);
  } catch {
    throw bad("the authority's certificate cannot be read");
  }
  if (sha256OfSpki(authority.publicKey) !== token.authoritySha256)
    throw bad("the authority is not the one that the token names");
  checkCommandKeys(reply.command_keys);
};

/**
 * Makes a key, has it certified, and writes the identity down. After a failure the same call asks for the same key again, which control
 * answers with the same certificate, so that a lost reply does not use the token up. @throws EnrolError; Error for unusable files.
 */
export const enrol = async (options: EnrolOptions): Promise<StoredIdentity> => {
  const { kind, host, files, exchange } = options;
  const token = parseToken(options.token);
  if (token === null)
    throw new EnrolError("bad_token", "the token is not of the form <id>.<secret>.<sha256>: copy all of it");
  const name = IdentityName.safeParse(host);
  if (!name.success)
    throw new EnrolError("bad_name", `${JSON.stringify(host.slice(0, 255))}: ${name.error.issues[0]?.message ?? ""}`);
  const key = files.nextKey();
  const request = signedRequest(options, token, key);
  const reply = await ask(exchange, request);
  checkReply(reply, { token, requestMac: request.mac, host });
  const { site, certificate, authority } = reply;
  checkCertificate(certificate, { kind, host, site, authority, key });
  const identity: StoredIdentity = {
    version: 1,
    kind,
    host,
    site,
    private_key: key.export({ type: "pkcs8", format: "pem" }).toString(),
    certificate,
    authority,
    command_keys: reply.command_keys,
    servers: reply.servers,
  };
  files.write(identity);
  return identity;
};
