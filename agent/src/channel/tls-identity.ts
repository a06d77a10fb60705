import { X509Certificate } from "node:crypto";
import type { SecureContextOptions, TLSSocket } from "node:tls";
import { IdentityName, SiteName } from "@homeostat/schemas";

/** What one end shows and whom it believes. PEM; the certificate with the authority's behind it. */
export interface TlsIdentity {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  readonly authorityPem: string;
}

/** Who a certificate is for: `homeostat://agent/<site>/<host>`, `homeostat://site/<site>/<server>`, `homeostat://control/<name>`. */
export interface Role {
  readonly kind: "agent" | "site" | "control";
  /** Empty for control. */
  readonly site: string;
  /** The host, the site server's or the control plane's name. */
  readonly name: string;
}

/**
 * Whom one end expects at the other. `site: null` takes any site. As a rule a site server expects agents of its own site, and an agent
 * a server of its own: a certificate that was stolen in one site opens nothing in another. Control expects servers of any site.
 */
export interface Expected {
  readonly kind: Role["kind"];
  readonly site: string | null;
}

export interface Peer extends Role {
  /** In hex, lower case. */
  readonly serial: string;
}

export const CERTIFICATE_BYTES_MAX = 6_144;
/** What a certificate may lie in the future or past of its judge's clock. */
const CLOCK_SLACK_MS = 5 * 60_000;
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const USES: Readonly<Record<Role["kind"], readonly string[]>> = {
  agent: [CLIENT_AUTH],
  site: [CLIENT_AUTH, SERVER_AUTH],
  control: [SERVER_AUTH],
};

const TLS = {
  minVersion: "TLSv1.3",
  maxVersion: "TLSv1.3",
  // Named, lest a hybrid of it be chosen that takes 2 KB more in each handshake of a fleet that comes back at once.
  ecdhCurve: "X25519",
} as const satisfies SecureContextOptions;

/**
 * For `tls.createServer`. Whoever comes gets through the handshake, with a bad certificate or none: `checkPeer` decides, and says why to
 * the log. Without a certificate a client may do nothing but enrol.
 */
export const serverTls = (identity: TlsIdentity) => ({
  ...TLS,
  cert: identity.certificatePem,
  key: identity.privateKeyPem,
  ca: identity.authorityPem,
  requestCert: true as const,
  rejectUnauthorized: false as const,
});

/**
 * For `tls.connect`; null is for enrolling: nothing shown and nobody believed, since the request proves a secret without telling it and
 * the reply is proved by the same. Names of servers do not count: `checkPeer` goes by the URI, so that addresses can change.
 */
export const clientTls = (identity: TlsIdentity | null) => ({
  ...TLS,
  ...(identity === null
    ? {}
    : { cert: identity.certificatePem, key: identity.privateKeyPem, ca: identity.authorityPem }),
  rejectUnauthorized: false as const,
  checkServerIdentity: () => undefined,
});

/** In hex, lower case. */
export const serialOf = (certificate: X509Certificate): string => certificate.serialNumber.toLowerCase();

export const uriOf = ({ kind, site, name }: Role): string =>
  kind === "control" ? `homeostat://control/${name}` : `homeostat://${kind}/${site}/${name}`;

const roleOfUri = (uri: string): Role | null => {
  const [scheme, empty, kind, ...path] = uri.split("/");
  if (scheme !== "homeostat:" || empty !== "") return null;
  const [site, name] = kind === "control" ? ["", path[0]] : [path[0], path[1]];
  if (kind !== "agent" && kind !== "site" && kind !== "control") return null;
  if (path.length !== (kind === "control" ? 1 : 2)) return null;
  if (kind !== "control" && !SiteName.safeParse(site).success) return null;
  const known = IdentityName.safeParse(name);
  return known.success ? { kind, site: site ?? "", name: known.data } : null;
};

/** Reads the one URI among the subject's alternative names; null for whatever is not exactly ours. */
export const roleOf = (certificate: X509Certificate): Role | null => {
  const names = certificate.subjectAltName;
  // A name that had to be quoted may hold what looks like another one (CVE-2021-44532); ours never have to be.
  if (names === undefined || names.includes('"')) return null;
  const uris = names.split(", ").filter((name) => name.startsWith("URI:"));
  const role = uris.length === 1 ? roleOfUri((uris[0] ?? "").slice("URI:".length)) : null;
  if (role === null) return null;
  // Node calls the extended key usage so.
  const uses: readonly string[] = certificate.keyUsage ?? [];
  return USES[role.kind].every((use) => uses.includes(use)) ? role : null;
};

/** Authorities are read again and again, and few. */
const AUTHORITIES_MAX = 16;
const authorities = new Map<string, X509Certificate>();

/** @throws Error for what is not a certificate in PEM. */
export const readAuthority = (pem: string): X509Certificate => {
  const known = authorities.get(pem);
  if (known !== undefined) return known;
  const read = new X509Certificate(pem);
  if (authorities.size >= AUTHORITIES_MAX) authorities.clear();
  authorities.set(pem, read);
  return read;
};

export interface IssuedBy {
  readonly authorities: readonly X509Certificate[];
  /** null: its dates do not matter here. */
  readonly nowUnixMs: number | null;
}

/** Why this is not a certificate that one of the authorities issued to somebody, or null. */
export const whyNotIssued = (certificate: X509Certificate, { authorities, nowUnixMs }: IssuedBy): string | null => {
  if (certificate.ca) return "an authority's certificate speaks for nobody";
  const issuer = authorities.find(
    (authority) => authority.ca && certificate.checkIssued(authority) && certificate.verify(authority.publicKey),
  );
  if (issuer === undefined) return "the certificate is not from our authority";
  if (nowUnixMs === null) return null;
  const [fromUnixMs, toUnixMs] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
  return whyNotNow({ fromUnixMs, toUnixMs }, nowUnixMs);
};

/** Why a certificate of this life does not count at this time, or null. */
export const whyNotNow = (
  { fromUnixMs, toUnixMs }: { readonly fromUnixMs: number; readonly toUnixMs: number },
  nowUnixMs: number,
): string | null => {
  if (nowUnixMs + CLOCK_SLACK_MS < fromUnixMs)
    return `the certificate is not valid before ${new Date(fromUnixMs).toISOString()}`;
  if (nowUnixMs - CLOCK_SLACK_MS > toUnixMs)
    return `the certificate has expired at ${new Date(toUnixMs).toISOString()}`;
  return null;
};

const ownCertificates = new WeakMap<TlsIdentity, X509Certificate>();
const ownCertificate = (identity: TlsIdentity): X509Certificate => {
  const known = ownCertificates.get(identity);
  if (known !== undefined) return known;
  const read = new X509Certificate(identity.certificatePem);
  ownCertificates.set(identity, read);
  return read;
};

/**
 * The time by which an end judges the other's dates. Clocks of hosts are wrong, and a host with a wrong clock has to be reached all the
 * same; what an agent knows for certain is that it is no earlier than when its own certificate was issued. So it refuses what had
 * expired by then, and nothing else: an old certificate of a site server is of use for no longer than until the agent's next renewal.
 * Servers go by their clock as long as their own certificate is valid by it; in a site that was cut off for longer than that, nobody's
 * certificate can be renewed, and it goes on working by the agents' rule. Control renews its own, and so always goes by its clock.
 */
const judgedBy = (own: X509Certificate, certificate: X509Certificate, nowUnixMs: number): number => {
  const [from, to] = [own.validFromDate.getTime(), own.validToDate.getTime()];
  if (roleOf(own)?.kind !== "agent" && from <= nowUnixMs && nowUnixMs <= to) return nowUnixMs;
  return Math.max(from, certificate.validFromDate.getTime());
};

/**
 * "none": it showed no certificate. To be called once the socket is secure, before a byte is believed. Revocation is the caller's to
 * check. A client sees none either in a session that was resumed, since no ticket holds a server's certificate: it has to remember whom
 * it believed when the ticket came.
 */
export const checkPeer = (
  socket: TLSSocket,
  expected: Expected,
  own: { readonly identity: TlsIdentity; readonly nowUnixMs: number },
): Peer | "none" | { readonly refused: string } => {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return "none";
  return judgePeer(certificate, expected, own);
};

/** As `checkPeer`, of a certificate whose key the peer has proved to hold. */
export const judgePeer = (
  certificate: X509Certificate,
  expected: Expected,
  { identity, nowUnixMs }: { readonly identity: TlsIdentity; readonly nowUnixMs: number },
): Peer | { readonly refused: string } => {
  const fault = whyNotIssued(certificate, {
    authorities: [readAuthority(identity.authorityPem)],
    nowUnixMs: judgedBy(ownCertificate(identity), certificate, nowUnixMs),
  });
  if (fault !== null) return { refused: fault };
  const role = roleOf(certificate);
  if (role === null) return { refused: "the certificate names no role that we know" };
  if (role.kind !== expected.kind)
    return { refused: `want the certificate of ${nameOf(expected.kind)}, this is that of ${nameOf(role.kind)}` };
  if (expected.site !== null && role.site !== expected.site)
    return { refused: `want the site ${expected.site}, this certificate is of ${role.site}` };
  return { ...role, serial: serialOf(certificate) };
};

const nameOf = (kind: Role["kind"]): string => ({ agent: "an agent", site: "a site server", control: "control" })[kind];
