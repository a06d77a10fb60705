import {
  createHash,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  sign,
  verify,
  X509Certificate,
} from "node:crypto";
import { HostName, keyId, UnixMs } from "@homeostat/schemas";
import { z } from "zod";
import { readCertificate } from "./known-certificates.ts";
import { SealError, type SealedSession, type SessionKeys, sealedSession } from "./sealed-session.ts";
import { CERTIFICATE_BYTES_MAX } from "./tls-identity.ts";

export { SealError, type SealedSession } from "./sealed-session.ts";

/*
 * One message each way, then sealed ones:
 *
 *   hello    u16be length | JSON {version, host, certificate, ephemeral, at_unix_ms} | signature by the certificate's key
 *   welcome  u16be length | JSON {version, key_id, ephemeral, at_unix_ms}            | Ed25519 by control over both messages
 *   keys     HKDF-SHA256 (RFC 5869) of X25519 (RFC 7748) of the two ephemeral keys, salted with the digest of both messages
 *
 * What guards against what:
 * - a stranger speaks as a host: the hello is signed by the key of a certificate that control's authority issued, for that host, and
 *   that control still counts as this host's;
 * - a site server speaks as control: the welcome is signed by a key that the agent trusts for commands, and covers the digest of this
 *   very hello, so that neither a welcome for another host nor an old one fits;
 * - an old hello is sent again: whoever does so lacks the ephemeral private key, opens nothing and seals nothing. Such a session never
 *   becomes `confirmed`. The hello's time is no proof of anything (clocks of hosts are wrong), it is there to measure the skew;
 * - keys that leak later: both ephemeral keys are forgotten, so recorded sessions stay closed;
 * - anything in either message is altered: the signatures fail, and if they did not, the salt would differ and nothing would open.
 */
const VERSION = 1;
const HELLO_LABEL = Buffer.from("homeostat hello v1\0");
const WELCOME_LABEL = Buffer.from("homeostat welcome v1\0");
/** 32 bytes for each direction come of it: to the agent, then from the agent. */
const KEYS_LABEL = Buffer.from("homeostat sealed v1");
const KEY_BYTES = 32;
/** A hello carries one certificate of about 700 bytes. */
const MESSAGE_BYTES_MAX = 16_384;

/** 32 bytes in base64url, as RFC 8037 writes the public key of X25519. */
const Ephemeral = z.base64url().length(43);
const Hello = z.strictObject({
  version: z.literal(VERSION),
  host: HostName,
  /** DER. */
  certificate: z.base64().max(Math.ceil(CERTIFICATE_BYTES_MAX / 3) * 4),
  ephemeral: Ephemeral,
  at_unix_ms: UnixMs,
});
const Welcome = z.strictObject({
  version: z.literal(VERSION),
  key_id: z.string().max(64),
  ephemeral: Ephemeral,
  /** Control's clock, for the agent's measure of its own. */
  at_unix_ms: UnixMs,
});

export interface AgentHandshake {
  readonly hello: Buffer;
  /** Once. @throws SealError */
  finish(welcome: Buffer, trustedKeys: readonly KeyObject[]): SealedSession;
}

export interface AcceptedHandshake {
  readonly host: string;
  /** In hex, lower case. */
  readonly serial: string;
  readonly site: string;
  /** What the host's clock said when it made its hello. */
  readonly helloUnixMs: number;
  readonly welcome: Buffer;
  readonly session: SealedSession;
}

const frame = (part: Buffer, signature: Buffer): Buffer => {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(part.byteLength);
  return Buffer.concat([length, part, signature]);
};

/** @throws SealError */
const unframe = <T>(
  message: Buffer,
  { name, schema }: { readonly name: string; readonly schema: z.ZodType<T> },
): { readonly part: Buffer; readonly fields: T; readonly signature: Buffer } => {
  if (message.byteLength < 2 || message.byteLength > MESSAGE_BYTES_MAX)
    throw new SealError(`a ${name} has 2 to ${MESSAGE_BYTES_MAX} bytes, not ${message.byteLength}`);
  const end = 2 + message.readUInt16BE(0);
  if (end > message.byteLength) throw new SealError(`the ${name} is cut short`);
  const part = message.subarray(2, end);
  const parsed = schema.safeParse(jsonOf(part));
  if (!parsed.success) throw new SealError(`malformed ${name}`);
  return { part, fields: parsed.data, signature: message.subarray(end) };
};

const jsonOf = (bytes: Buffer): unknown => {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
};

const digest = (...parts: readonly Buffer[]): Buffer => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

const ephemeralPair = (): { readonly privateKey: KeyObject; readonly text: string } => {
  const { privateKey, publicKey } = generateKeyPairSync("x25519");
  return { privateKey, text: publicKey.export({ format: "jwk" }).x ?? "" };
};

/** @throws SealError for a public key that gives no secret (RFC 7748, 6.1: of low order). */
const agree = (privateKey: KeyObject, x: string): Buffer => {
  try {
    const publicKey = createPublicKey({ key: { kty: "OKP", crv: "X25519", x }, format: "jwk" });
    return diffieHellman({ privateKey, publicKey });
  } catch {
    throw new SealError("the ephemeral key is not a usable X25519 key");
  }
};

const deriveKeys = (
  secret: Buffer,
  transcript: Buffer,
): { readonly toAgent: KeyObject; readonly fromAgent: KeyObject } => {
  const bytes = Buffer.from(hkdfSync("sha256", secret, transcript, KEYS_LABEL, 2 * KEY_BYTES));
  const keys = {
    toAgent: createSecretKey(bytes.subarray(0, KEY_BYTES)),
    fromAgent: createSecretKey(bytes.subarray(KEY_BYTES)),
  };
  bytes.fill(0);
  secret.fill(0);
  return keys;
};

/** A key's name costs more than to look it up. */
const names = new WeakMap<KeyObject, string>();
const nameOf = (key: KeyObject): string => {
  const known = names.get(key) ?? keyId(key);
  names.set(key, known);
  return known;
};

/** The agent's side. */
export const beginHandshake = (
  agent: { readonly host: string; readonly certificatePem: string; readonly privateKey: KeyObject },
  nowUnixMs: number,
): AgentHandshake => {
  const ephemeral = ephemeralPair();
  const fields: z.infer<typeof Hello> = {
    version: VERSION,
    host: agent.host,
    certificate: new X509Certificate(agent.certificatePem).raw.toString("base64"),
    ephemeral: ephemeral.text,
    at_unix_ms: nowUnixMs,
  };
  const part = Buffer.from(JSON.stringify(fields));
  const hello = frame(part, sign("sha256", Buffer.concat([HELLO_LABEL, part]), agent.privateKey));
  let privateKey: KeyObject | null = ephemeral.privateKey;
  return {
    hello,
    finish: (welcome, trustedKeys) => {
      if (privateKey === null) throw new SealError("this handshake has been finished already");
      const own = privateKey;
      privateKey = null;
      return finishHandshake({ hello, own, welcome, trustedKeys });
    },
  };
};

const finishHandshake = (handshake: {
  readonly hello: Buffer;
  readonly own: KeyObject;
  readonly welcome: Buffer;
  readonly trustedKeys: readonly KeyObject[];
}): SealedSession => {
  const { hello, own, welcome, trustedKeys } = handshake;
  const { part, fields, signature } = unframe(welcome, { name: "welcome", schema: Welcome });
  const key = trustedKeys.find((trusted) => nameOf(trusted) === fields.key_id);
  if (key === undefined)
    throw new SealError(`the welcome is signed by an unknown key ${JSON.stringify(fields.key_id)}`);
  if (!verify(null, Buffer.concat([WELCOME_LABEL, digest(hello), part]), key, signature))
    throw new SealError("the welcome's signature does not match it, or it answers another hello");
  const keys = deriveKeys(agree(own, fields.ephemeral), digest(hello, welcome));
  return sealedSession({ send: keys.fromAgent, receive: keys.toAgent });
};

export interface HandshakeControl {
  readonly signingKey: KeyObject;
  /** PEM. */
  readonly authorities: readonly string[];
  /** Unix milliseconds: control judges certificates by its own clock. */
  readonly now: number;
  /** Why this host may not connect with this certificate, or null. */
  mayConnect(host: string, serial: string): string | null;
}

/** Control's side. Never throws for what a peer can send. */
export const acceptHandshake = (
  hello: Buffer,
  control: HandshakeControl,
): AcceptedHandshake | { readonly refused: string } => {
  try {
    const read = unframe(hello, { name: "hello", schema: Hello });
    const peer = judgeHello(read, control);
    if ("refused" in peer) return peer;
    return { ...peer, helloUnixMs: read.fields.at_unix_ms, ...answer(hello, read.fields.ephemeral, control) };
  } catch (thrown) {
    if (thrown instanceof SealError) return { refused: thrown.message };
    throw thrown;
  }
};

const judgeHello = (
  {
    part,
    fields,
    signature,
  }: { readonly part: Buffer; readonly fields: z.infer<typeof Hello>; readonly signature: Buffer },
  control: HandshakeControl,
): { readonly host: string; readonly serial: string; readonly site: string } | { readonly refused: string } => {
  const certificate = readCertificate(Buffer.from(fields.certificate, "base64"), {
    authorities: control.authorities,
    nowUnixMs: control.now,
  });
  if (typeof certificate === "string") return { refused: certificate };
  const { role, serial } = certificate;
  if (role?.kind !== "agent") return { refused: "the hello's certificate is not an agent's" };
  if (role.name !== fields.host)
    return { refused: `the hello is for ${JSON.stringify(fields.host)}, its certificate for ${role.name}` };
  if (!verify("sha256", Buffer.concat([HELLO_LABEL, part]), certificate.publicKey, signature))
    return { refused: "the hello's signature does not match it" };
  const why = control.mayConnect(role.name, serial);
  return why === null ? { host: role.name, serial, site: role.site } : { refused: why };
};

const answer = (
  hello: Buffer,
  theirs: string,
  { signingKey, now }: HandshakeControl,
): { readonly welcome: Buffer; readonly session: SealedSession } => {
  const ephemeral = ephemeralPair();
  const secret = agree(ephemeral.privateKey, theirs);
  const fields: z.infer<typeof Welcome> = {
    version: VERSION,
    key_id: nameOf(signingKey),
    ephemeral: ephemeral.text,
    at_unix_ms: now,
  };
  const part = Buffer.from(JSON.stringify(fields));
  const welcome = frame(part, sign(null, Buffer.concat([WELCOME_LABEL, digest(hello), part]), signingKey));
  const keys = deriveKeys(secret, digest(hello, welcome));
  const sessionKeys: SessionKeys = { send: keys.toAgent, receive: keys.fromAgent };
  return { welcome, session: sealedSession(sessionKeys) };
};
