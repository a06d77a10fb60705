import { generateKeyPairSync, webcrypto, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer, type TLSSocket } from "node:tls";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Authority, createAuthority, type IssueRequest } from "../control/identity/authority.ts";
import {
  checkPeer,
  clientTls,
  type Expected,
  judgePeer,
  roleOf,
  serverTls,
  type TlsIdentity,
  uriOf,
} from "./tls-identity.ts";

const NOW = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;

let dir: string;
let authority: Authority;
let now = NOW;
const closes: (() => void)[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "tls-identity-"));
  authority = await createAuthority({ dir: join(dir, "ours"), now: () => now });
});
afterAll(() => {
  for (const close of closes) close();
  rmSync(dir, { recursive: true, force: true });
});

const issued = async (request: Omit<IssueRequest, "spki">, atUnixMs = NOW): Promise<TlsIdentity> => {
  now = atUnixMs;
  return authority.identityFor(request);
};
const agentOf = (site: string, atUnixMs = NOW) => issued({ kind: "agent", site, name: "web-1" }, atUnixMs);
const siteOf = (site: string, atUnixMs = NOW) => issued({ kind: "site", site, name: "s1" }, atUnixMs);
const controlIdentity = () => issued({ kind: "control", site: "", name: "c1" });

const certificateIn = (identity: TlsIdentity) => new X509Certificate(identity.certificatePem);

const judged = (peer: TlsIdentity, expected: Expected, own: TlsIdentity, nowUnixMs = NOW): string => {
  const outcome = judgePeer(certificateIn(peer), expected, { identity: own, nowUnixMs });
  return "refused" in outcome ? outcome.refused : `${outcome.kind} ${outcome.site}/${outcome.name}`;
};

const readable = (der: Buffer): X509Certificate | null => {
  try {
    return new X509Certificate(der);
  } catch {
    return null;
  }
};

const AGENT = { kind: "agent", site: "eu-1" } as const;
const SITE = { kind: "site", site: "eu-1" } as const;

describe("a certificate's role", () => {
  test("is read from its URI, whatever the names are that we allow", () => {
    const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._@:-]{0,63}$/);
    fc.assert(
      fc.property(fc.constantFrom("agent" as const, "site" as const), name, name, (kind, site, host) => {
        const subjectAltName = `DNS:a.b, URI:${uriOf({ kind, site, name: host })}, IP Address:10.0.0.1`;
        const keyUsage = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
        expect(roleOf({ subjectAltName, keyUsage } as X509Certificate)).toEqual({ kind, site, name: host });
      }),
    );
  });

  const withNames = async (
    names: { type: "url" | "dns"; value: string }[],
    usages = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"],
  ) => {
    const x509 = await import("@peculiar/x509");
    const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
    const keys = await webcrypto.subtle.generateKey(algorithm, false, ["sign", "verify"]);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: [{ CN: ["x"] }],
      keys,
      signingAlgorithm: algorithm,
      extensions: [new x509.SubjectAlternativeNameExtension(names), new x509.ExtendedKeyUsageExtension(usages)],
    });
    return roleOf(new X509Certificate(certificate.toString("pem")));
  };
  const url = (value: string) => ({ type: "url" as const, value });

  test.each([
    ["two URIs", [url("homeostat://agent/eu-1/a"), url("homeostat://control/c")]],
    ["no URI", [{ type: "dns" as const, value: "web-1" }]],
    ["a URI within a DNS name", [{ type: "dns" as const, value: "a, URI:homeostat://control/c, b" }]],
    ["another scheme", [url("spiffe://agent/eu-1/a")]],
    ["another kind", [url("homeostat://admin/eu-1/a")]],
    ["a segment too many", [url("homeostat://agent/eu-1/a/b")]],
    ["a segment too few", [url("homeostat://agent/a")]],
    ["a site for control", [url("homeostat://control/eu-1/a")]],
    ["an empty site", [url("homeostat://agent//a")]],
    ["an authority part", [url("homeostat://x@agent/eu-1/a")]],
    ["a query", [url("homeostat://agent/eu-1/a?b")]],
    ["an escape", [url("homeostat://agent/eu-1/%61")]],
    ["a line break", [url("homeostat://agent/eu-1/a\r\nb")]],
    ["a NUL", [url("homeostat://agent/eu-1/a\u0000b")]],
    ["a comma", [url("homeostat://agent/eu-1/a, URI:homeostat://control/c")]],
  ])("is none with %s", async (_, names) => {
    expect(await withNames(names)).toBeNull();
  });

  test("is none when its key is not meant to be used so", async () => {
    const [server, client] = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
    expect(await withNames([url("homeostat://agent/eu-1/a")], [client])).toMatchObject({ kind: "agent" });
    expect(await withNames([url("homeostat://agent/eu-1/a")], [server])).toBeNull();
    expect(await withNames([url("homeostat://site/eu-1/s")], [client])).toBeNull();
    expect(await withNames([url("homeostat://control/c")], [client])).toBeNull();
  });
});

describe("a peer is judged", () => {
  test("by its role: nobody passes for another", async () => {
    const [agent, site, control] = [await agentOf("eu-1"), await siteOf("eu-1"), await controlIdentity()];
    expect(judged(agent, AGENT, site)).toBe("agent eu-1/web-1");
    expect(judged(site, SITE, agent)).toBe("site eu-1/s1");
    expect(judged(control, { kind: "control", site: null }, site)).toBe("control /c1");
    expect(judged(site, AGENT, site)).toBe("want the certificate of an agent, this is that of a site server");
    expect(judged(agent, SITE, agent)).toBe("want the certificate of a site server, this is that of an agent");
    expect(judged(site, { kind: "control", site: null }, site)).toMatch(/want the certificate of control/);
    expect(judged(agent, { kind: "control", site: null }, site)).toMatch(/want the certificate of control/);
  });

  test("by its site, unless any will do", async () => {
    const [here, there] = [await siteOf("eu-1"), await agentOf("us-1")];
    expect(judged(there, AGENT, here)).toBe("want the site eu-1, this certificate is of us-1");
    expect(judged(there, { kind: "agent", site: null }, here)).toBe("agent us-1/web-1");
  });

  test("by our authority alone, be the other of the same name", async () => {
    const foreign = await createAuthority({ dir: join(dir, "foreign"), now: () => NOW });
    const stranger = await foreign.identityFor({ kind: "agent", site: "eu-1", name: "web-1" });
    expect(judged(stranger, AGENT, await siteOf("eu-1"))).toBe("the certificate is not from our authority");
    const under = { ...stranger, certificatePem: authority.certificatePem };
    expect(judged(under, AGENT, await siteOf("eu-1"))).toMatch(/speaks for nobody/);
  });

  test("altered in any bit it is not a certificate of ours any more", async () => {
    const [site, agent] = [await siteOf("eu-1"), await agentOf("eu-1")];
    const { raw } = certificateIn(agent);
    const own = { identity: site, nowUnixMs: NOW };
    const believed: number[] = [];
    for (let bit = 0; bit < raw.byteLength * 8; bit += 1) {
      const altered = Buffer.from(raw);
      altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const certificate = readable(altered);
      if (certificate !== null && !("refused" in judgePeer(certificate, AGENT, own))) believed.push(bit);
    }
    expect(believed).toEqual([]);
  });
});

describe("dates", () => {
  test("a server goes by its clock, give or take a few minutes", async () => {
    const [agent, site] = [await agentOf("eu-1", NOW - 2 * DAY_MS), await siteOf("eu-1")];
    expect(judged(agent, AGENT, site)).toMatch(/has expired/);
    expect(judged(agent, AGENT, site, NOW)).toMatch(/has expired/);
    const late = await siteOf("eu-1", NOW - DAY_MS / 2);
    const fresh = await agentOf("eu-1", NOW + DAY_MS / 4);
    expect(judged(fresh, AGENT, late, NOW)).toMatch(/not valid before/);
    expect(judged(fresh, AGENT, late, NOW + DAY_MS / 4)).toBe("agent eu-1/web-1");
  });

  test.each([
    ["in 1970", 0],
    ["a day behind", NOW - DAY_MS],
    ["an hour behind", NOW - DAY_MS / 24],
    ["ten hours ahead", NOW + (DAY_MS * 10) / 24],
    ["where its own certificate is valid and the other's has expired", NOW + (DAY_MS * 14) / 24],
    ["in 2100", Date.UTC(2100, 0, 1)],
  ])("an agent whose clock stands %s believes a server all the same", async (_, clock) => {
    expect(judged(await siteOf("eu-1", NOW - DAY_MS / 2), SITE, await agentOf("eu-1"), clock)).toBe("site eu-1/s1");
  });

  test.each([
    ["right", NOW],
    ["in 1970", 0],
    ["when the other was valid", NOW - 3 * DAY_MS],
  ])("an agent does not believe what had expired when its own was issued, its clock being %s", async (_, clock) => {
    const stolen = await siteOf("eu-1", NOW - 3 * DAY_MS);
    expect(judged(stolen, SITE, await agentOf("eu-1"), clock)).toMatch(/has expired/);
  });

  test("in a site that is cut off for days everybody's certificate has expired, and it goes on working", async () => {
    const [agent, site] = [await agentOf("eu-1"), await siteOf("eu-1", NOW + DAY_MS / 2)];
    expect(judged(agent, AGENT, site, NOW + 5 * DAY_MS)).toBe("agent eu-1/web-1");
    expect(judged(site, SITE, agent, NOW + 5 * DAY_MS)).toBe("site eu-1/s1");
  });
});

describe("over TLS", () => {
  const serve = async (server: TlsIdentity) => {
    const accepted: TLSSocket[] = [];
    const listener = createServer(serverTls(server), (socket) => {
      socket.on("error", () => undefined);
      accepted.push(socket);
      socket.write("x");
    });
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    closes.push(() => listener.close());
    const { port } = listener.address() as AddressInfo;
    /** Resolves when the server has spoken and, at first, sent what resumes the session. */
    const dial = async (client: TlsIdentity | null, session?: Buffer) => {
      const resumes = session === undefined ? {} : { session };
      const socket = connect({ ...clientTls(client), ...resumes, host: "127.0.0.1", port });
      closes.push(() => socket.destroy());
      const failed = new Promise<never>((_, reject) => socket.once("error", reject));
      const spoken = new Promise((resolve) => socket.once("data", resolve));
      const ticketed = new Promise<Buffer>((resolve) => socket.once("session", resolve));
      await Promise.race([spoken, failed]);
      const ticket = session ?? (await Promise.race([ticketed, failed]));
      const atServer = accepted.at(-1);
      if (atServer === undefined) throw new Error("the server saw nobody");
      return { atServer, atClient: socket, ticket };
    };
    return dial;
  };

  const meet = async (client: TlsIdentity | null) => {
    const server = await siteOf("eu-1");
    const { atServer, atClient } = await (await serve(server))(client);
    return { bothEnds: [atServer, atClient] as const, protocol: atClient.getProtocol(), server };
  };

  test("both ends know each other, without a name in the certificate that is that of the address", async () => {
    const agent = await agentOf("eu-1");
    const { bothEnds, protocol, server } = await meet(agent);
    expect(protocol).toBe("TLSv1.3");
    expect(checkPeer(bothEnds[0], AGENT, { identity: server, nowUnixMs: NOW })).toMatchObject({ name: "web-1" });
    expect(checkPeer(bothEnds[1], SITE, { identity: agent, nowUnixMs: NOW })).toMatchObject({ name: "s1" });
  });

  test("a client without a certificate comes in as nobody", async () => {
    const { bothEnds, server } = await meet(null);
    expect(checkPeer(bothEnds[0], AGENT, { identity: server, nowUnixMs: NOW })).toBe("none");
  });

  test("a certificate that is not ours comes in and is refused", async () => {
    const foreign = await createAuthority({ dir: join(dir, "foreign tls"), now: () => NOW });
    const stranger = await foreign.identityFor({ kind: "agent", site: "eu-1", name: "web-1" });
    const { bothEnds, server } = await meet(stranger);
    expect(checkPeer(bothEnds[0], AGENT, { identity: server, nowUnixMs: NOW })).toHaveProperty("refused");
    expect(checkPeer(bothEnds[1], SITE, { identity: stranger, nowUnixMs: NOW })).toHaveProperty("refused");
  });

  test("a certificate without its key gets nobody in", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const privateKeyPem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    await expect(meet({ ...(await agentOf("eu-1")), privateKeyPem })).rejects.toThrow();
  });

  test("at a server a session that is resumed is judged like the first, by who it was and by the time that it is", async () => {
    const [server, agent] = [await siteOf("eu-1"), await agentOf("eu-1", NOW - DAY_MS / 2)];
    const dial = await serve(server);
    const { ticket } = await dial(agent);
    const { atServer, atClient } = await dial(agent, ticket);
    expect(atClient.isSessionReused()).toBe(true);
    expect(checkPeer(atServer, AGENT, { identity: server, nowUnixMs: NOW })).toMatchObject({ name: "web-1" });
    expect(checkPeer(atClient, SITE, { identity: agent, nowUnixMs: NOW })).toBe("none");
    const later = { identity: server, nowUnixMs: NOW + (DAY_MS * 2) / 3 };
    expect(checkPeer(atServer, AGENT, later)).toMatchObject({ refused: expect.stringMatching(/has expired/) });
  });

  test("older protocols are not spoken", async () => {
    const listener = createServer(serverTls(await siteOf("eu-1")));
    listener.on("tlsClientError", () => undefined);
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    closes.push(() => listener.close());
    const { port } = listener.address() as AddressInfo;
    const socket = connect({ host: "127.0.0.1", port, maxVersion: "TLSv1.2", rejectUnauthorized: false });
    const outcome = await new Promise<string>((resolve) => {
      socket.once("secureConnect", () => resolve("connected")).once("error", () => resolve("refused"));
    });
    expect(outcome).toBe("refused");
  });
});
