import { createHash, timingSafeEqual } from "node:crypto";

/** The sender whose token a request carries, or null. `authorization` is the header's value. */
export type Authenticate = (authorization: string | undefined) => string | null;

/** A token is at most 512 characters, a name 64; in base64 and with the scheme. */
const HEADER_LENGTH_MAX = 1024;

/** What fits every scheme: Bearer and ApiKey end at a space. */
export const TOKEN_FORM = /^[\x21-\x7e]{16,512}$/;

interface Credentials {
  /** null: the scheme tells the token alone. */
  readonly name: string | null;
  readonly token: string;
}

/**
 * Bearer (RFC 6750), Basic (RFC 7617: the user is the sender's name, the password its token), and Elasticsearch's ApiKey (base64 of `name:token`, or
 * the token itself). Digests are compared, in constant time, all of them, whether one is found or not.
 */
export const authenticator = (senders: readonly { readonly name: string; readonly token: string }[]): Authenticate => {
  const malformed = senders.find(({ token }) => !TOKEN_FORM.test(token));
  if (malformed !== undefined)
    throw new Error(`the token of the sender ${malformed.name}: want 16 to 512 visible ASCII characters`);
  const known = senders.map(({ name, token }) => ({ name, digest: sha256(token) }));
  const hasTwice = known.some(({ digest }, at) => known.findIndex((other) => other.digest.equals(digest)) < at);
  if (hasTwice) throw new Error("two senders have the same token: each wants its own");
  return (authorization) => {
    const given = credentialsOf(authorization ?? "");
    if (given === null) return null;
    const digest = sha256(given.token);
    let found: string | null = null;
    for (const sender of known) if (timingSafeEqual(digest, sender.digest)) found = sender.name;
    return given.name === null || given.name === found ? found : null;
  };
};

const credentialsOf = (authorization: string): Credentials | null => {
  if (authorization.length > HEADER_LENGTH_MAX) return null;
  const [, scheme = "", value = ""] = /^(\S+) +(\S+)$/.exec(authorization) ?? [];
  switch (scheme.toLowerCase()) {
    case "bearer":
      return { name: null, token: value };
    case "basic":
      return pairOf(value);
    case "apikey":
      return pairOf(value) ?? { name: null, token: value };
    default:
      return null;
  }
};

const pairOf = (base64: string): Credentials | null => {
  const text = Buffer.from(base64, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon < 0 ? null : { name: text.slice(0, colon), token: text.slice(colon + 1) };
};

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();
