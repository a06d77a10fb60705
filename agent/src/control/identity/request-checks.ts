import { type KeyObject, verify, X509Certificate } from "node:crypto";
import type { AgentIdentity, EnrolmentToken } from "@homeostat/schemas";
import {
  type EnrolRefused,
  type EnrolRequest,
  isRequestSigned,
  isSameMac,
  renewalBytes,
  requestMac,
} from "../../channel/enrolment.ts";
import { type Role, readAuthority, roleOf, serialOf, whyNotIssued } from "../../channel/tls-identity.ts";
import { readP256 } from "./authority.ts";
import { RENEWAL_GRACE_MS } from "./identity-change.ts";

type Of<T extends EnrolRequest["type"]> = Extract<EnrolRequest, { type: T }>;

const REASON_MAX = 1_000;
const NAME_MAX = 255;
const CONTROL_CHARACTER = /\p{Cc}/u;

export const refuse = (refused: EnrolRefused["refused"], message: string): EnrolRefused => ({ refused, message });

export const isRefused = (value: object): value is EnrolRefused => "refused" in value;

/** Whether the token lets this request in, as far as that can be said without looking who is enrolled: the key to issue for, or why not. */
export const checkEnrolment = (
  { mac, signature, ...request }: Of<"enrol">,
  { token, secret, nowUnixMs }: { readonly token: EnrolmentToken; readonly secret: Buffer; readonly nowUnixMs: number },
): KeyObject | EnrolRefused => {
  if (!isSameMac(mac, requestMac({ ...request, signature }, secret)))
    return refuse("wrong_secret", `the request is not proved by the secret of token ${token.id}`);
  if (nowUnixMs >= token.expires_at_unix_ms)
    return refuse("token_expired", `token ${token.id} expired at ${new Date(token.expires_at_unix_ms).toISOString()}`);
  if (token.host !== null && token.host !== request.host)
    return refuse("wrong_host", `token ${token.id} is for ${token.host}, not for ${request.host}`);
  if (token.for === "agent" && request.names.length > 0)
    return refuse("malformed", "an agent's certificate holds no names but its own");
  return keyProved(request, signature);
};

const keyProved = (
  request: Omit<Of<"enrol">, "mac" | "signature"> | Omit<Of<"renew">, "signature" | "certificate_signature">,
  signature: string,
): KeyObject | EnrolRefused => {
  const key = readP256(request.spki);
  if (key === null) return refuse("malformed", "spki: want a P-256 public key in PEM");
  if (!isRequestSigned(request, { key, signature }))
    return refuse("wrong_signature", "the request is not signed by the key that it brings");
  return key;
};

export interface CheckedRenewal {
  readonly key: KeyObject;
  readonly role: Role;
  readonly serial: string;
}

const readCertificate = (pem: string): X509Certificate | null => {
  try {
    return new X509Certificate(pem);
  } catch {
    return null;
  }
};

/** Whether a certificate of ours asks for its successor, by both keys. It may have expired: for how long ago is control's to allow. */
export const checkRenewal = (
  { signature, certificate_signature, ...request }: Of<"renew">,
  authorityPem: string,
): CheckedRenewal | EnrolRefused => {
  const certificate = readCertificate(request.certificate);
  if (certificate === null) return refuse("malformed", "certificate: want one in PEM");
  const fault = whyNotIssued(certificate, { authorities: [readAuthority(authorityPem)], nowUnixMs: null });
  if (fault !== null) return refuse("wrong_certificate", fault);
  const role = roleOf(certificate);
  if (role === null || role.kind === "control")
    return refuse("wrong_certificate", "want the certificate of an agent or of a site server");
  if (!isRequestSigned(request, { key: certificate.publicKey, signature: certificate_signature }))
    return refuse("wrong_signature", "the request is not signed by the key of its certificate");
  if (role.kind === "agent" && request.names.length > 0)
    return refuse("malformed", "an agent's certificate holds no names but its own");
  const key = keyProved(request, signature);
  return isRefused(key) ? key : { key, role, serial: serialOf(certificate) };
};

/** As asked for within a session, whose host is known already. */
export const checkSessionRenewal = (host: string, spki: string, signature: string): KeyObject | EnrolRefused => {
  const key = readP256(spki);
  if (key === null) return refuse("malformed", "spki: want a P-256 public key in PEM");
  if (!verify("sha256", renewalBytes(host, spki), key, Buffer.from(signature, "base64")))
    return refuse("wrong_signature", `the request is not signed by the key that it brings, for ${host}`);
  return key;
};

/** Why the host may not have another certificate, given the one that it shows (null: its session has been let in with one). */
export const whyNotRenewed = (
  identity: AgentIdentity | undefined,
  { name, serial, nowUnixMs }: { readonly name: string; readonly serial: string | null; readonly nowUnixMs: number },
): EnrolRefused | null => {
  if (identity === undefined) return refuse("not_enrolled", `${name} is not enrolled`);
  if (identity.state === "revoked") return refuse("revoked", `${name} is revoked`);
  if (serial === null) return null;
  const shown = identity.certificates.find((certificate) => certificate.serial === serial);
  if (shown === undefined) return refuse("wrong_certificate", `certificate ${serial} does not count for ${name}`);
  if (shown.not_after_unix_ms + RENEWAL_GRACE_MS < nowUnixMs)
    return refuse("wrong_certificate", `certificate ${serial} expired too long ago: enrol again`);
  return null;
};

/** Why it may not connect with this certificate, or null. */
export const whyNotConnected = (identity: AgentIdentity | undefined, name: string, serial: string): string | null => {
  if (identity === undefined) return `${name} is not enrolled`;
  if (identity.state === "revoked") return `${name} is revoked`;
  return identity.certificates.some((certificate) => certificate.serial === serial)
    ? null
    : `certificate ${serial} does not count for ${name}`;
};

/** Who and why go into records, logs and tables: one line of text each. */
export const whyNoChange = ({ by, reason }: { readonly by: string; readonly reason: string }): EnrolRefused | null => {
  if (by === "" || by.length > NAME_MAX || CONTROL_CHARACTER.test(by))
    return refuse("malformed", `by: want 1 to ${NAME_MAX} characters of text`);
  return reason.length > REASON_MAX || CONTROL_CHARACTER.test(reason)
    ? refuse("malformed", `reason: want at most ${REASON_MAX} characters in one line`)
    : null;
};

export const malformed = (
  issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[],
): EnrolRefused => {
  const first = issues[0];
  return refuse(
    "malformed",
    `${first?.path.map(String).join(".") || "the request"}: ${first?.message ?? "unreadable"}`.slice(0, 500),
  );
};
