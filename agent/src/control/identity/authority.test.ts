import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sha256OfSpki } from "../../channel/enrolment.ts";
import { roleOf, serialOf } from "../../channel/tls-identity.ts";
import { createAuthority, readP256 } from "./authority.ts";

const NOW = Date.UTC(2026, 5, 1, 0, 0, 0, 789);
const HOUR_MS = 3_600_000;
const spkiOf = () =>
  generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "pem" }).toString();

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "authority-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const authorityAt = (now = NOW, lifeMs?: number) =>
  createAuthority({ dir, now: () => now, ...(lifeMs === undefined ? {} : { lifeMs }) });

test("the authority is made once, kept from others, and the same after a restart", async () => {
  const first = await authorityAt();
  expect(readdirSync(dir).toSorted()).toEqual(["authority-key.pem", "authority.pem"]);
  for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).mode & 0o777).toBe(0o600);
  const again = await authorityAt(NOW + 1_000 * HOUR_MS);
  expect(again.certificatePem).toBe(first.certificatePem);
  const certificate = new X509Certificate(first.certificatePem);
  expect([certificate.ca, certificate.verify(certificate.publicKey)]).toEqual([true, true]);
  expect(first.spkiSha256).toBe(sha256OfSpki(certificate.publicKey));
});

test("after a crash between key and certificate the key stays, so that tokens keep their force", async () => {
  const first = await authorityAt();
  rmSync(join(dir, "authority.pem"));
  expect((await authorityAt()).spkiSha256).toBe(first.spkiSha256);
});

test("a key that others could have read, or that is not the certificate's, is not used", async () => {
  await authorityAt();
  chmodSync(join(dir, "authority-key.pem"), 0o644);
  await expect(authorityAt()).rejects.toThrow(/want 600/);
  rmSync(join(dir, "authority-key.pem"));
  await expect(authorityAt()).rejects.toThrow(/not that of its key/);
});

test("a certificate says what was asked for, in dates of whole seconds that the record has too", async () => {
  const authority = await authorityAt();
  const issued = await authority.issue({ kind: "agent", site: "eu-1", name: "web-1", spki: spkiOf() });
  const certificate = new X509Certificate(issued.pem);
  expect(roleOf(certificate)).toEqual({ kind: "agent", site: "eu-1", name: "web-1" });
  expect(serialOf(certificate)).toBe(issued.serial);
  expect(certificate.validFromDate.getTime()).toBe(issued.not_before_unix_ms);
  expect(certificate.validToDate.getTime()).toBe(issued.not_after_unix_ms);
  expect(issued.not_before_unix_ms).toBeLessThan(NOW - 5 * 60_000);
  expect(issued.not_after_unix_ms).toBe(Math.floor(NOW / 1000) * 1000 + 24 * HOUR_MS);
  expect([certificate.ca, certificate.keyUsage]).toEqual([false, ["1.3.6.1.5.5.7.3.2"]]);
  expect(issued.pem.endsWith(authority.certificatePem)).toBe(true);
});

test("its life is as configured, and never longer than the authority's", async () => {
  const authority = await authorityAt(NOW, 2 * HOUR_MS);
  const { not_after_unix_ms } = await authority.issue({ kind: "agent", site: "a", name: "b", spki: spkiOf() });
  expect(not_after_unix_ms).toBe(Math.floor(NOW / 1000) * 1000 + 2 * HOUR_MS);
  const late = await authorityAt(NOW + 20 * 365 * 24 * HOUR_MS);
  await expect(late.issue({ kind: "agent", site: "a", name: "b", spki: spkiOf() })).rejects.toThrow(
    /itself is valid until/,
  );
});

test("no two certificates have the same number, unless the same one is made again", async () => {
  const authority = await authorityAt();
  const request = { kind: "agent", site: "eu-1", name: "web-1", spki: spkiOf() } as const;
  const [one, other] = [await authority.issue(request), await authority.issue(request)];
  expect(one.serial).not.toBe(other.serial);
  const again = await authority.issue({ ...request, again: one });
  expect({ ...again, pem: "" }).toEqual({ ...one, pem: "" });
});

test("only public P-256 keys are certified", async () => {
  const authority = await authorityAt();
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ type: "spki", format: "pem" });
  const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey.export({ type: "spki", format: "pem" });
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const secret = privateKey.export({ type: "pkcs8", format: "pem" });
  for (const spki of [rsa, p384, secret, "", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]) {
    expect(readP256(spki.toString())).toBeNull();
    await expect(authority.issue({ kind: "agent", site: "a", name: "b", spki: spki.toString() })).rejects.toThrow(
      /P-256/,
    );
  }
});

test("a name longer than a common name may be is whole in the URI", async () => {
  const authority = await authorityAt();
  const name = "h".repeat(255);
  const { pem } = await authority.issue({ kind: "agent", site: "s".repeat(64), name, spki: spkiOf() });
  expect(roleOf(new X509Certificate(pem))).toEqual({ kind: "agent", site: "s".repeat(64), name });
});
