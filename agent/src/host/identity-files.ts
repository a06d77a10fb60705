import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { IdentityName, SiteName } from "@homeostat/schemas";
import { z } from "zod";
import { readOrMakeSecret, readSecret, writeSecret } from "../channel/secret-file.ts";
import type { TlsIdentity } from "../channel/tls-identity.ts";

/** All that a machine knows of who it is and whom it believes: one file, so that key and certificate are never of two minds. */
export const StoredIdentity = z.strictObject({
  version: z.literal(1),
  kind: z.enum(["agent", "site"]),
  /** The host, or the site server's name. */
  host: IdentityName,
  site: SiteName,
  /** PKCS#8, PEM. */
  private_key: z.string().max(4_096),
  /** With the authority's behind it. */
  certificate: z.string().max(32_768),
  authority: z.string().max(16_384),
  /** SPKI, PEM: whose commands count. */
  command_keys: z.array(z.string().max(1_024)).min(1).max(16),
  /** `host:port` */
  servers: z.array(z.string().max(512)).max(64),
});
export type StoredIdentity = z.infer<typeof StoredIdentity>;

export interface IdentityFiles {
  /** null before the enrolment. @throws Error, naming the file, for what others could have read or written, or what is damaged. */
  read(): StoredIdentity | null;
  write(identity: StoredIdentity): void;
  /** The key of the certificate that is being asked for: the same until `write`, also after a crash, so that asking again is asking the same. */
  nextKey(): KeyObject;
}

export const tlsIdentityOf = (identity: StoredIdentity): TlsIdentity => ({
  certificatePem: identity.certificate,
  privateKeyPem: identity.private_key,
  authorityPem: identity.authority,
});

export const commandKeysOf = (identity: StoredIdentity): readonly KeyObject[] =>
  identity.command_keys.map((pem) => createPublicKey(pem));

const newKey = (): string =>
  generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();

const parse = (path: string, text: string): StoredIdentity => {
  try {
    return StoredIdentity.parse(JSON.parse(text));
  } catch {
    // Whatever was wrong with it, it may be quoted in the error, and half of it is a private key.
    throw new Error(`${path} does not hold an identity: restore it, or remove it and enrol again`);
  }
};

/** In a directory of its own, readable by nobody else. */
export const openIdentityFiles = (dir: string): IdentityFiles => {
  const path = join(dir, "identity.json");
  const nextPath = join(dir, "next-key.pem");
  const read = (): StoredIdentity | null => {
    const text = readSecret(path);
    return text === null ? null : parse(path, text);
  };
  return {
    read,
    write: (identity) => {
      writeSecret(path, JSON.stringify(identity));
      rmSync(nextPath, { force: true });
    },
    nextKey: () => {
      const next = readOrMakeSecret(nextPath, newKey);
      // Of a crash between the two steps of `write`: this key has its certificate already.
      if (next === read()?.private_key) {
        rmSync(nextPath, { force: true });
        return createPrivateKey(readOrMakeSecret(nextPath, newKey));
      }
      return createPrivateKey(next);
    },
  };
};
