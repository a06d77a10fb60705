import fc from "fast-check";
import { expect, test } from "vitest";
import { EnrolReply, EnrolRequest, parseToken, requestMac, tokenText } from "./enrolment.ts";

const token = fc.record({
  id: fc.stringMatching(/^[0-9a-f]{16}$/),
  secret: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
  authoritySha256: fc.stringMatching(/^[0-9a-f]{64}$/),
});

test("a token is read as it was written, be there blanks around it from copying", () => {
  fc.assert(
    fc.property(token, (parsed) => {
      expect(parseToken(`  ${tokenText(parsed)}\n`)).toEqual(parsed);
    }),
  );
});

test("whatever lacks a part, or has one too many, is not a token", () => {
  fc.assert(
    fc.property(token, fc.nat(), (parsed, seed) => {
      const text = tokenText(parsed);
      expect(parseToken(text.slice(0, seed % text.length))).toBeNull();
      expect(parseToken(`${text}.x`)).toBeNull();
      expect(parseToken(`x${text}`)).toBeNull();
    }),
  );
  fc.assert(fc.property(fc.string(), (text) => parseToken(text) === null));
});

const request = {
  type: "enrol" as const,
  token_id: "0123456789abcdef",
  host: "web-1",
  spki: "key",
  names: [],
  nonce: "0".repeat(32),
  signature: "c2ln",
};

test("no part of a request can be altered without its proof failing", () => {
  const secret = Buffer.alloc(32, 1);
  const mac = requestMac(request, secret);
  const altered = [
    { ...request, host: "web-2" },
    { ...request, spki: "other" },
    { ...request, names: ["a.b"] },
    { ...request, nonce: "1".repeat(32) },
    { ...request, token_id: "1123456789abcdef" },
    { ...request, signature: "c2lo" },
  ];
  for (const each of altered) expect(requestMac(each, secret)).not.toBe(mac);
  expect(requestMac(request, Buffer.alloc(32, 2))).not.toBe(mac);
  expect(EnrolRequest.safeParse({ ...request, mac }).success).toBe(true);
});

test("text without a canonical form, which nothing can be proved of, is malformed in a request and in a reply", () => {
  const proved = { ...request, mac: "0".repeat(64) };
  const reply = {
    type: "enrolled",
    host: "web-1",
    site: "a",
    certificate: "c",
    authority: "a",
    command_keys: ["k"],
    servers: ["s"],
    mac: "",
  };
  const broken = "\ud800";
  expect(EnrolRequest.safeParse(proved).success).toBe(true);
  expect(EnrolReply.safeParse(reply).success).toBe(true);
  expect(EnrolRequest.safeParse({ ...proved, spki: broken }).success).toBe(false);
  for (const change of [
    { certificate: broken },
    { authority: broken },
    { command_keys: [broken] },
    { servers: [broken] },
  ])
    expect(EnrolReply.safeParse({ ...reply, ...change }).success).toBe(false);
});
