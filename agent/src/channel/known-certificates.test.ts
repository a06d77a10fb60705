import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Authority, createAuthority } from "../control/identity/authority.ts";
import { readCertificate } from "./known-certificates.ts";

const DAY_MS = 86_400_000;
const now = Date.now();
const dir = mkdtempSync(join(tmpdir(), "homeostat-known-"));
let ours: Authority;
let other: Authority;
let der: Buffer;

beforeAll(async () => {
  ours = await createAuthority({ dir, now: () => now });
  const otherDir = mkdtempSync(join(dir, "other-"));
  other = await createAuthority({ dir: otherDir, now: () => now });
  const { certificatePem } = await ours.identityFor({ kind: "agent", site: "dc1", name: "web-1" });
  der = new X509Certificate(certificatePem).raw;
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

const under = (...authorities: readonly Authority[]) => authorities.map(({ certificatePem }) => certificatePem);

test("a certificate that is known says the same as when it was read first", () => {
  const first = readCertificate(der, { authorities: under(ours), nowUnixMs: now });
  expect(first).toMatchObject({ role: { kind: "agent", site: "dc1", name: "web-1" } });
  expect(readCertificate(der, { authorities: under(ours), nowUnixMs: now })).toBe(first);
});

test("a certificate that is known expires all the same", () => {
  expect(readCertificate(der, { authorities: under(ours), nowUnixMs: now })).toBeTypeOf("object");
  expect(readCertificate(der, { authorities: under(ours), nowUnixMs: now + 2 * DAY_MS })).toContain("has expired");
  expect(readCertificate(der, { authorities: under(ours), nowUnixMs: now - 2 * DAY_MS })).toContain("not valid before");
});

test("a certificate that is known under one authority is not believed under another", () => {
  expect(readCertificate(der, { authorities: under(ours), nowUnixMs: now })).toBeTypeOf("object");
  const refusal = "the certificate is not from our authority";
  expect(readCertificate(der, { authorities: under(other), nowUnixMs: now })).toBe(refusal);
  expect(readCertificate(der, { authorities: under(other, ours), nowUnixMs: now })).toBeTypeOf("object");
  expect(readCertificate(der, { authorities: [], nowUnixMs: now })).toBe(refusal);
});

test("what differs from a known certificate in one byte is not known", () => {
  expect(readCertificate(der, { authorities: under(ours), nowUnixMs: now })).toBeTypeOf("object");
  const altered = Buffer.from(der);
  altered[altered.length - 1] = (altered[altered.length - 1] ?? 0) ^ 1;
  expect(readCertificate(altered, { authorities: under(ours), nowUnixMs: now })).toBeTypeOf("string");
  expect(readCertificate(Buffer.from("nothing"), { authorities: under(ours), nowUnixMs: now })).toBeTypeOf("string");
});
