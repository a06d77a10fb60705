import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
  X509Certificate,
} from "node:crypto";
import { isIP } from "node:net";
import { join } from "node:path";
import { sha256OfSpki } from "../../channel/enrolment.ts";
import { readOrMakeSecret, readSecret, writeSecret } from "../../channel/secret-file.ts";
import { type Role, serialOf, type TlsIdentity, uriOf } from "../../channel/tls-identity.ts";
import { provideReflectMetadata } from "./reflect-metadata.ts";

export interface IssueRequest {
  readonly kind: Role["kind"];
  /** Empty for control. */
  readonly site: string;
  readonly name: string;
  /** PEM; ECDSA P-256. */
  readonly spki: string;
  /** DNS names and IP addresses, beside the URI. */
  readonly names?: readonly string[];
  /** To make the same certificate again. */
  readonly again?: { readonly serial: string; readonly not_before_unix_ms: number; readonly not_after_unix_ms: number };
}

export interface Issued {
  /** In hex, lower case. */
  readonly serial: string;
  readonly not_before_unix_ms: number;
  readonly not_after_unix_ms: number;
  /** The certificate with the authority's behind it. */
  readonly pem: string;
}

export interface Authority {
  readonly certificatePem: string;
  /** SHA-256 of the certificate's SPKI, in hex: what a token pins. */
  readonly spkiSha256: string;
  readonly lifeMs: number;
  /** @throws Error for a key that is not P-256, or a life that the authority's own would not cover. */
  issue(request: IssueRequest): Promise<Issued>;
  /** A fresh key with a certificate for it: for control, and for site servers in the same process. */
  identityFor(request: Omit<IssueRequest, "spki" | "again">): Promise<TlsIdentity>;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const LIFE_MS = DAY_MS;
/** An authority outlives the fleet's hardware; what a thief of its key could do ends with a new data directory, not with a date. */
const AUTHORITY_LIFE_MS = 20 * 365 * DAY_MS;
/** Clocks that are behind ours find a fresh certificate valid all the same. */
const CLOCK_SLACK_MS = 10 * 60_000;
/** RFC 5280 (4.1.2.2): positive, at most 20 bytes. */
const SERIAL_BYTES = 16;
/** RFC 5280 (ub-common-name). */
const COMMON_NAME_MAX = 64;
const SIGNING = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** Loaded when the first certificate is made: 40 ms and 15 MB that a restart with nothing to issue need not pay. */
const loadX509 = async () => {
  provideReflectMetadata();
  return import("@peculiar/x509");
};
type X509 = Awaited<ReturnType<typeof loadX509>>;

/** null for what is not a public P-256 key in PEM: a few hundred bytes that a stranger sent must not choose the work of who checks them. */
export const readP256 = (spki: string): KeyObject | null => {
  if (!spki.startsWith("-----BEGIN PUBLIC KEY-----")) return null;
  try {
    const key = createPublicKey(spki);
    return key.asymmetricKeyDetails?.namedCurve === "prime256v1" ? key : null;
  } catch {
    return null;
  }
};

/** The top bit is never set, the next always is: positive, and no byte is left out in hex. */
const newSerial = (): string => {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
};

const wholeSecond = (unixMs: number): number => Math.floor(unixMs / 1000) * 1000;

const importKeys = async (key: KeyObject): Promise<webcrypto.CryptoKeyPair> => {
  const pkcs8 = key.export({ type: "pkcs8", format: "der" });
  const spki = createPublicKey(key).export({ type: "spki", format: "der" });
  return {
    privateKey: await webcrypto.subtle.importKey("pkcs8", pkcs8, SIGNING, false, ["sign"]),
    publicKey: await webcrypto.subtle.importKey("spki", spki, SIGNING, true, ["verify"]),
  };
};

const makeAuthorityCertificate = async (key: KeyObject, nowUnixMs: number): Promise<string> => {
  const x509 = await loadX509();
  const keys = await importKeys(key);
  const id = sha256OfSpki(createPublicKey(key)).slice(0, 16);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ CN: [`homeostat authority ${id}`] }],
    notBefore: new Date(wholeSecond(nowUnixMs - DAY_MS)),
    notAfter: new Date(wholeSecond(nowUnixMs + AUTHORITY_LIFE_MS)),
    signingAlgorithm: SIGNING,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return `${certificate.toString("pem")}\n`;
};

const extensionsOf = (x509: X509, { kind, site, name, names = [] }: IssueRequest) => {
  const { clientAuth, serverAuth } = x509.ExtendedKeyUsage;
  const uses = { agent: [clientAuth], site: [clientAuth, serverAuth], control: [serverAuth] }[kind];
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension(uses, true),
    new x509.SubjectAlternativeNameExtension([
      { type: "url", value: uriOf({ kind, site, name }) },
      ...names.map((value) => ({ type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const), value })),
    ]),
  ];
};

class FileAuthority implements Authority {
  readonly certificatePem: string;
  readonly spkiSha256: string;
  readonly lifeMs: number;
  readonly #key: KeyObject;
  readonly #certificate: X509Certificate;
  readonly #now: () => number;
  #signingKey: Promise<webcrypto.CryptoKey> | null = null;
  #name: InstanceType<X509["Name"]> | null = null;

  constructor(key: KeyObject, options: { certificatePem: string; now: () => number; lifeMs: number }) {
    this.certificatePem = options.certificatePem;
    this.lifeMs = options.lifeMs;
    this.#now = options.now;
    this.#key = key;
    this.#certificate = new X509Certificate(options.certificatePem);
    if (!this.#certificate.checkPrivateKey(key)) throw new Error("the authority's certificate is not that of its key");
    this.spkiSha256 = sha256OfSpki(this.#certificate.publicKey);
  }

  async issue(request: IssueRequest): Promise<Issued> {
    const publicKey = readP256(request.spki);
    if (publicKey === null) throw new Error("a certificate is issued for a P-256 key, as SPKI in PEM");
    const now = this.#now();
    const dates = request.again ?? {
      serial: newSerial(),
      not_before_unix_ms: wholeSecond(now - CLOCK_SLACK_MS),
      not_after_unix_ms: wholeSecond(now + this.lifeMs),
    };
    if (dates.not_after_unix_ms > this.#certificate.validToDate.getTime())
      throw new Error(`the authority itself is valid until ${this.#certificate.validTo} only`);
    const x509 = await loadX509();
    this.#signingKey ??= importKeys(this.#key).then(({ privateKey }) => privateKey);
    this.#name ??= new x509.X509Certificate(this.#certificate.raw).subjectName;
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: dates.serial,
      subject: [{ CN: [request.name.slice(0, COMMON_NAME_MAX)] }],
      issuer: this.#name,
      notBefore: new Date(dates.not_before_unix_ms),
      notAfter: new Date(dates.not_after_unix_ms),
      signingAlgorithm: SIGNING,
      publicKey: publicKey.export({ type: "spki", format: "der" }),
      signingKey: await this.#signingKey,
      extensions: extensionsOf(x509, request),
    });
    const pem = `${certificate.toString("pem")}\n`;
    return { ...dates, serial: serialOf(new X509Certificate(pem)), pem: `${pem}${this.certificatePem}` };
  }

  async identityFor(request: Omit<IssueRequest, "spki" | "again">): Promise<TlsIdentity> {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const spki = publicKey.export({ type: "spki", format: "pem" }).toString();
    const { pem } = await this.issue({ ...request, spki });
    const privateKeyPem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    return { certificatePem: pem, privateKeyPem, authorityPem: this.certificatePem };
  }
}

/** The key is made at the first start, and then the certificate of it; both are readable by their owner only. */
export const createAuthority = async (options: {
  readonly dir: string;
  readonly now: () => number;
  readonly lifeMs?: number;
}): Promise<Authority> => {
  const { dir, now, lifeMs = LIFE_MS } = options;
  const makeKey = () =>
    generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const key = createPrivateKey(readOrMakeSecret(join(dir, "authority-key.pem"), makeKey));
  const path = join(dir, "authority.pem");
  const there = readSecret(path);
  if (there !== null) return new FileAuthority(key, { certificatePem: there, now, lifeMs });
  const made = await makeAuthorityCertificate(key, now());
  writeSecret(path, made);
  return new FileAuthority(key, { certificatePem: made, now, lifeMs });
};
