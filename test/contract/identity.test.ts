import { generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type EnrolRequest, parseToken } from "../../agent/src/channel/enrolment.ts";
import { createAuthority } from "../../agent/src/control/identity/authority.ts";
import type { TokenWish } from "../../agent/src/control/identity/tokens.ts";
import type { Exchange } from "../../agent/src/host/enrol.ts";
import { command, DAY_MS, HOUR_MS, IdentityControl, outcome, serialIn } from "./identity-control.ts";

const stranger = generateKeyPairSync("ed25519");

let at: IdentityControl;
beforeEach(async () => {
  at = await IdentityControl.open();
});
afterEach(() => at.close());

describe("enrolment", () => {
  test("makes a token into an identity that is let in, and is told whom to believe", async () => {
    const host = await at.enrolHost("web-1");
    expect(at.connects(host)).toBe("accepted");
    expect(host.servers).toEqual(["eu-1.example:7443"]);
    expect(host.command_keys).toEqual([command.publicKey.export({ type: "spki", format: "pem" })]);
    expect(at.filesOf("web-1").read()).toEqual(host);
    expect(at.identities.get("web-1")).toMatchObject({
      state: "active",
      site: "eu-1",
      certificates: [{ serial: serialIn(host) }],
    });
    expect(at.audited.map(({ who, what }) => [who, what])).toEqual([
      ["ada", "token.created"],
      [`token ${at.identities.get("web-1")?.token_id}`, "agent.enrolled"],
    ]);
  });

  test("enrols a site server by the same way, with its names, and it is no agent", async () => {
    const token = await at.tokenFor({ for: "site" });
    const site = await at.enrolHost("s1", { token, kind: "site", names: ["s1.example", "10.0.0.7"] });
    expect(new X509Certificate(site.certificate).subjectAltName).toBe(
      "URI:homeostat://site/eu-1/s1, DNS:s1.example, IP Address:10.0.0.7",
    );
    expect(at.identities.mayServe("eu-1", "s1", serialIn(site))).toBeNull();
    expect([at.identities.get("s1"), at.identities.siteServers().length]).toEqual([null, 1]);
    expect(at.connects(site)).toMatch(/not an agent's/);
  });

  test("uses a token once: nobody else gets in with it, also not after a restart", async () => {
    const token = await at.tokenFor();
    await at.enrolHost("web-1", { token });
    expect(await outcome(at.enrolHost("web-2", { token }))).toBe("token_spent");
    at.identities = await at.control();
    expect(await outcome(at.enrolHost("web-3", { token }))).toBe("token_spent");
  });

  test("lets in exactly as many as a token of an image says, however many come at once", async () => {
    const token = await at.tokenFor({ uses: 3 });
    const outcomes = await Promise.all([1, 2, 3, 4, 5].map((n) => outcome(at.enrolHost(`web-${n}`, { token }))));
    expect(outcomes.toSorted()).toEqual(["enrolled", "enrolled", "enrolled", "token_spent", "token_spent"]);
  });

  test("answers the same to a host that lost the reply, without using the token up", async () => {
    const token = await at.tokenFor();
    const lost: Exchange = async (request) => {
      await at.straight(request);
      throw new Error("the connection broke");
    };
    expect(await outcome(at.enrolHost("web-1", { token, exchange: lost }))).toBe("unreachable");
    const serial = at.identities.get("web-1")?.certificates[0]?.serial;
    const host = await at.enrolHost("web-1", { token });
    expect(serialIn(host)).toBe(serial);
    expect(at.connects(host)).toBe("accepted");
    expect(at.identities.get("web-1")?.certificates).toHaveLength(1);
  });

  test("refuses a token that has expired, was withdrawn, or that nobody made", async () => {
    const [expired, withdrawn, made] = [
      await at.tokenFor(),
      await at.tokenFor({ ttl_ms: DAY_MS }),
      await at.tokenFor({ ttl_ms: DAY_MS }),
    ];
    at.now += HOUR_MS;
    await at.identities.withdrawToken(withdrawn.slice(0, 16), "ada");
    expect(await outcome(at.enrolHost("web-1", { token: expired }))).toBe("token_expired");
    expect(await outcome(at.enrolHost("web-1", { token: withdrawn }))).toBe("unknown_token");
    expect(await outcome(at.enrolHost("web-1", { token: `0123456789abcdef${made.slice(16)}` }))).toBe("unknown_token");
    expect(await outcome(at.enrolHost("web-1", { token: `${made.slice(0, -1)}` }))).toBe("bad_token");
  });

  test("refuses whoever knows a token's id and not its secret", async () => {
    const [token, other] = [await at.tokenFor(), await at.tokenFor()];
    const forged = [token.split(".")[0], ...other.split(".").slice(1)].join(".");
    expect(await outcome(at.enrolHost("web-1", { token: forged }))).toBe("wrong_secret");
    expect(at.identities.status().refused).toEqual({ wrong_secret: 1 });
  });

  test("refuses another host than the token's, and a name that is taken", async () => {
    const bound = await at.tokenFor({ host: "db-1" });
    expect(await outcome(at.enrolHost("web-1", { token: bound }))).toBe("wrong_host");
    expect(await outcome(at.enrolHost("db-1", { token: bound }))).toBe("enrolled");
    const files = at.filesOf("thief");
    expect(await outcome(at.enrolHost("db-1", { files }))).toBe("host_taken");
  });

  test("replaces a machine only with a token that says so, and the old certificate counts no more", async () => {
    const old = await at.enrolHost("web-1");
    const token = await at.tokenFor({ host: "web-1", again: true });
    const fresh = await at.enrolHost("web-1", { token, files: at.filesOf("web-1 again") });
    expect(at.connects(old)).toMatch(/does not count/);
    expect(at.connects(fresh)).toBe("accepted");
    expect(at.identities.revokedList()).toEqual({ hosts: [], serials: [serialIn(old)] });
  });

  test("makes no token that could take over any host, or that never ends", async () => {
    const refused = async (wish: Partial<TokenWish>) =>
      at.identities.createToken({ for: "agent", site: "eu-1", ...wish }, "ada");
    expect(await refused({ again: true })).toMatchObject({ refused: "malformed" });
    expect(await refused({ host: "web-1", uses: 2 })).toMatchObject({ refused: "malformed" });
    expect(await refused({ ttl_ms: 31 * DAY_MS })).toMatchObject({ refused: "malformed" });
    expect(await refused({ uses: 10_001 })).toMatchObject({ refused: "malformed" });
    expect(await refused({ site: "../eu" })).toMatchObject({ refused: "malformed" });
  });

  test("leaves nothing secret on the bus, and another control without the key knows no secret", async () => {
    const token = await at.tokenFor({ ttl_ms: DAY_MS });
    const secret = parseToken(token)?.secret ?? Buffer.alloc(0);
    const files = readdirSync(join(at.root, "bus")).map((name) => readFileSync(join(at.root, "bus", name)));
    for (const bytes of files) {
      expect(bytes.includes(secret)).toBe(false);
      expect(bytes.includes(secret.toString("base64url"))).toBe(false);
    }
    const other = await at.control({ dir: join(at.root, "other-secrets") });
    // Neither the token nor the key that its record is proved with: to that control there is no such token.
    expect(other.tokens()).toEqual([]);
    at.identities = other;
    expect(await outcome(at.enrolHost("web-1", { token }))).toBe("unknown_token");
  });
});

describe("a site server that lies about an enrolment", () => {
  const altering =
    (alter: (reply: Record<string, unknown>) => void): Exchange =>
    async (request) => {
      const reply = { ...((await at.straight(request)) as Record<string, unknown>) };
      alter(reply);
      return reply;
    };

  test.each([
    [
      "command keys of its own",
      (reply: Record<string, unknown>) => {
        reply.command_keys = [stranger.publicKey.export({ type: "spki", format: "pem" })];
      },
    ],
    [
      "one more command key",
      (reply: Record<string, unknown>) => {
        reply.command_keys = [
          ...(reply.command_keys as string[]),
          stranger.publicKey.export({ type: "spki", format: "pem" }),
        ];
      },
    ],
    [
      "servers of its own",
      (reply: Record<string, unknown>) => {
        reply.servers = ["evil.example:1"];
      },
    ],
    [
      "another site",
      (reply: Record<string, unknown>) => {
        reply.site = "us-1";
      },
    ],
    [
      "no proof",
      (reply: Record<string, unknown>) => {
        reply.mac = "";
      },
    ],
    [
      "a proof of zeros",
      (reply: Record<string, unknown>) => {
        reply.mac = "0".repeat(64);
      },
    ],
  ])("is found out: %s", async (_, alter) => {
    expect(await outcome(at.enrolHost("web-1", { exchange: altering(alter) }))).toBe("bad_reply");
    expect(at.filesOf("web-1").read()).toBeNull();
  });

  test("is found out with an authority and a certificate of its own", async () => {
    const own = await createAuthority({ dir: join(at.root, "evil"), now: () => at.now });
    const exchange: Exchange = async (request) => {
      const reply = (await at.straight(request)) as Record<string, unknown>;
      const { pem } = await own.issue({ kind: "agent", site: "eu-1", name: "web-1", spki: request.spki });
      return { ...reply, certificate: pem, authority: own.certificatePem };
    };
    expect(await outcome(at.enrolHost("web-1", { exchange }))).toBe("bad_reply");
  });

  test("and a control whose authority is not the token's is not believed, though it knows the secret", async () => {
    const token = await at.tokenFor();
    const authority = await createAuthority({ dir: join(at.root, "other-authority"), now: () => at.now });
    at.identities = await at.control({ authority });
    expect(await outcome(at.enrolHost("web-1", { token }))).toBe("bad_reply");
  });

  test("cannot enrol a key of its own in the host's place", async () => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const exchange: Exchange = async (request) =>
      at.straight({ ...request, spki: publicKey.export({ type: "spki", format: "pem" }).toString() });
    expect(await outcome(at.enrolHost("web-1", { exchange }))).toBe("wrong_secret");
  });

  test("cannot bring up a reply that it recorded", async () => {
    const token = await at.tokenFor({ uses: 2 });
    let recorded: unknown;
    const recording: Exchange = async (request) => {
      recorded = await at.straight(request);
      return recorded;
    };
    await at.enrolHost("web-1", { token, exchange: recording });
    const replaying: Exchange = async () => recorded;
    expect(await outcome(at.enrolHost("web-1", { token, files: at.filesOf("again"), exchange: replaying }))).toBe(
      "bad_reply",
    );
    // Nor for the very key that it was for.
    const files = at.filesOf("web-2");
    const lost: Exchange = async (request) => {
      recorded = await at.straight(request);
      throw new Error("the connection broke");
    };
    expect(await outcome(at.enrolHost("web-2", { token, files, exchange: lost }))).toBe("unreachable");
    expect(await outcome(at.enrolHost("web-2", { token, files, exchange: replaying }))).toBe("bad_reply");
  });

  test("gets nothing from a request that it recorded but the certificate of that host's key", async () => {
    const token = await at.tokenFor({ uses: 5 });
    const requests: EnrolRequest[] = [];
    const recording: Exchange = async (request) => {
      requests.push(request);
      return at.straight(request);
    };
    const host = await at.enrolHost("web-1", { token, exchange: recording });
    for (const request of requests) await at.straight(request);
    expect(at.identities.get("web-1")?.certificates.map(({ serial }) => serial)).toEqual([serialIn(host)]);
    expect(at.identities.tokens()[0]?.uses).toBe(1);
  });

  test.each([
    ["nothing", null],
    ["text", "ENROLLED"],
    ["a refusal that is none of ours", { refused: "x", message: "" }],
  ])("is found out when it answers with %s", async (_, answer) => {
    expect(await outcome(at.enrolHost("web-1", { exchange: async () => answer }))).toBe("bad_reply");
  });
});

describe("names and sizes", () => {
  test.each([
    "web\r\n1",
    "web 1",
    "",
    "../web",
    "-web",
    "web\u0000",
    "wéb",
    "a".repeat(256),
    "/site/eu-1/s1",
    "a,URI:homeostat://control/x",
  ])("no host is called %j", async (host) => {
    expect(await outcome(at.enrolHost(host, { files: at.filesOf("x") }))).toBe("bad_name");
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const spki = publicKey.export({ type: "spki", format: "pem" }).toString();
    const request = {
      type: "enrol",
      token_id: "0".repeat(16),
      host,
      spki,
      names: [],
      nonce: "0".repeat(32),
      mac: "0".repeat(64),
    };
    const signature = sign("sha256", Buffer.from("x"), privateKey).toString("base64");
    expect(await at.identities.enrol({ ...request, signature })).toMatchObject({ refused: "malformed" });
  });

  test.each([
    ["a large key", { spki: "x".repeat(100_000) }],
    ["many names", { names: Array.from({ length: 17 }, () => "a.b") }],
    ["a name with a line break", { names: ["a.b\nURI:homeostat://control/x"] }],
    ["a field too many", { admin: true }],
  ])("a request with %s is malformed", async (_, over) => {
    const exchange: Exchange = async (request) => at.straight({ ...request, ...over } as EnrolRequest);
    expect(await outcome(at.enrolHost("web-1", { exchange }))).toBe("malformed");
  });

  test("who, and why, are one line of text", async () => {
    await at.enrolHost("web-1");
    expect(await at.identities.revoke("web-1", "ada", "a\r\nb")).toMatchObject({ refused: "malformed" });
    expect(await at.identities.revoke("web-1", "", "x")).toMatchObject({ refused: "malformed" });
    expect(await at.identities.revoke("web-1", "ada", "x".repeat(1_001))).toMatchObject({ refused: "malformed" });
    expect(await at.identities.revoke("no-such", "ada", "x")).toMatchObject({ refused: "not_enrolled" });
  });
});
