import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { commandKeysOf, openIdentityFiles, type StoredIdentity, tlsIdentityOf } from "./identity-files.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "identity-files-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const { publicKey } = generateKeyPairSync("ed25519");
const identityWith = (private_key: string): StoredIdentity => ({
  version: 1,
  kind: "agent",
  host: "web-1",
  site: "eu-1",
  private_key,
  certificate: "certificate",
  authority: "authority",
  command_keys: [publicKey.export({ type: "spki", format: "pem" }).toString()],
  servers: ["s1.example:7443"],
});
const pemOf = (files: ReturnType<typeof openIdentityFiles>): string =>
  files.nextKey().export({ type: "pkcs8", format: "pem" }).toString();

test("before the enrolment there is no identity, and the key that is asked for is the same each time", () => {
  const files = openIdentityFiles(dir);
  expect(files.read()).toBeNull();
  expect(pemOf(files)).toBe(pemOf(openIdentityFiles(dir)));
  expect(createPublicKey(files.nextKey()).asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
});

test("what is written is read again, and the next key is another", () => {
  const files = openIdentityFiles(dir);
  const key = pemOf(files);
  files.write(identityWith(key));
  expect(openIdentityFiles(dir).read()).toEqual(identityWith(key));
  expect(readdirSync(dir)).toEqual(["identity.json"]);
  expect(pemOf(files)).not.toBe(key);
  expect(tlsIdentityOf(identityWith(key))).toEqual({
    certificatePem: "certificate",
    privateKeyPem: key,
    authorityPem: "authority",
  });
  expect(commandKeysOf(identityWith(key))[0]?.equals(publicKey)).toBe(true);
});

test("after a crash that left the key of the certificate as the next one, a new one is made", () => {
  const files = openIdentityFiles(dir);
  const key = pemOf(files);
  files.write(identityWith(key));
  writeFileSync(join(dir, "next-key.pem"), key, { mode: 0o600 });
  const next = pemOf(files);
  expect(next).not.toBe(key);
  expect(pemOf(files)).toBe(next);
});

test("an identity that others could read or change is refused", () => {
  const files = openIdentityFiles(dir);
  files.write(identityWith(pemOf(files)));
  chmodSync(join(dir, "identity.json"), 0o660);
  expect(() => files.read()).toThrow(/identity\.json can be read or written by others \(mode 660\)/);
});

test.each(["", "{", "null", '{"version":2,"private_key":"SECRET"}', '"SECRET"'])(
  "a damaged file is named, and nothing of it is told: %j",
  (text) => {
    writeFileSync(join(dir, "identity.json"), text, { mode: 0o600 });
    const read = () => openIdentityFiles(dir).read();
    expect(read).toThrow(/identity\.json does not hold an identity/);
    expect(read).not.toThrow(/SECRET/);
  },
);
