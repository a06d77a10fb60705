import { hash, type KeyObject, X509Certificate } from "node:crypto";
import { type Role, readAuthority, roleOf, serialOf, whyNotIssued, whyNotNow } from "./tls-identity.ts";

/** What a certificate says that one of our authorities has issued. */
interface KnownCertificate {
  readonly role: Role | null;
  readonly serial: string;
  readonly publicKey: KeyObject;
  readonly fromUnixMs: number;
  readonly toUnixMs: number;
}

/** About 2 KB each; of more agents the one that was read first is read again. */
const KNOWN_MAX = 16_384;
const known = new Map<string, KnownCertificate>();
let knownUnder = "";

/**
 * Who issued a certificate never changes, and a fleet that comes back brings the same ones: those that one of the authorities (PEM) did
 * issue are kept by their digest. Their dates are judged each time. A text is why not.
 */
export const readCertificate = (
  der: Buffer,
  { authorities, nowUnixMs }: { readonly authorities: readonly string[]; readonly nowUnixMs: number },
): KnownCertificate | string => {
  const under = authorities.join();
  if (under !== knownUnder) known.clear();
  knownUnder = under;
  const digest = hash("sha256", der, "base64");
  const certificate = known.get(digest) ?? read(der, authorities);
  if (typeof certificate === "string") return certificate;
  if (!known.has(digest)) keep(digest, certificate);
  return whyNotNow(certificate, nowUnixMs) ?? certificate;
};

const read = (der: Buffer, authorities: readonly string[]): KnownCertificate | string => {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(der);
  } catch {
    return "the certificate cannot be read";
  }
  const fault = whyNotIssued(certificate, { authorities: authorities.map(readAuthority), nowUnixMs: null });
  if (fault !== null) return fault;
  return {
    role: roleOf(certificate),
    serial: serialOf(certificate),
    publicKey: certificate.publicKey,
    fromUnixMs: certificate.validFromDate.getTime(),
    toUnixMs: certificate.validToDate.getTime(),
  };
};

const keep = (digest: string, certificate: KnownCertificate): void => {
  known.set(digest, certificate);
  if (known.size <= KNOWN_MAX) return;
  const [oldest = ""] = known.keys();
  known.delete(oldest);
};
