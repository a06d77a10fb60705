import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { EnrolRequest } from "../../agent/src/channel/enrolment.ts";
import { serialOf } from "../../agent/src/channel/tls-identity.ts";
import { createAuthority } from "../../agent/src/control/identity/authority.ts";
import type { Exchange } from "../../agent/src/host/enrol.ts";
import type { StoredIdentity } from "../../agent/src/host/identity-files.ts";
import { createRenewal } from "../../agent/src/host/renewal.ts";
import { DAY_MS, HOUR_MS, IdentityControl, quiet, renewalOf, serialIn } from "./identity-control.ts";

let at: IdentityControl;
beforeEach(async () => {
  at = await IdentityControl.open();
});
afterEach(() => at.close());

describe("renewal in a session", () => {
  test("gives a certificate for the new key, beside the one in use", async () => {
    const host = await at.enrolHost("web-1");
    at.now += 16 * HOUR_MS;
    const renewed = await at.identities.renew("web-1", ...renewalOf("web-1"));
    if ("refused" in renewed) throw new Error(renewed.message);
    expect(at.identities.mayConnect("web-1", serialOf(new X509Certificate(renewed.pem)))).toBeNull();
    expect(at.connects(host)).toBe("accepted");
  });

  test("refuses a request that was signed for another host, with another key, or of another kind", async () => {
    await at.enrolHost("web-1");
    await at.enrolHost("web-2");
    expect(await at.identities.renew("web-1", ...renewalOf("web-2"))).toMatchObject({ refused: "wrong_signature" });
    const [spki] = renewalOf("web-1");
    expect(await at.identities.renew("web-1", spki, renewalOf("web-1")[1])).toMatchObject({
      refused: "wrong_signature",
    });
    const edwards = generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }).toString();
    expect(await at.identities.renew("web-1", edwards, "")).toMatchObject({ refused: "malformed" });
    expect(await at.identities.renew("web-3", ...renewalOf("web-3"))).toMatchObject({ refused: "not_enrolled" });
  });

  test("asked a hundred times with one key it is one certificate; with many keys the oldest give way", async () => {
    const host = await at.enrolHost("web-1");
    const [spki, signature] = renewalOf("web-1");
    const serials = new Set<string>();
    for (let time = 0; time < 20; time += 1) {
      const renewed = await at.identities.renew("web-1", spki, signature);
      if (!("refused" in renewed)) serials.add(serialOf(new X509Certificate(renewed.pem)));
    }
    expect(serials.size).toBe(1);
    expect(at.connects(host)).toBe("accepted");
    for (let time = 0; time < 8; time += 1) await at.identities.renew("web-1", ...renewalOf("web-1"));
    expect(at.identities.get("web-1")?.certificates).toHaveLength(8);
    expect(at.connects(host)).toMatch(/does not count/);
  });
});

describe("an agent's own renewal", () => {
  const renewing = (
    identity: StoredIdentity,
    over: { inSession?: boolean; session?: boolean; random?: number; exchange?: Exchange } = {},
  ) => {
    const due: { ms: number; run: () => void }[] = [];
    const renewed: StoredIdentity[] = [];
    const asked: { spki: string; signature: string }[] = [];
    const renewal = createRenewal({
      identity,
      files: at.filesOf(identity.host),
      askInSession:
        over.inSession === false
          ? null
          : (request) => {
              asked.push(request);
              return over.session ?? true;
            },
      exchange: over.exchange ?? at.straight,
      now: () => at.now,
      after: (ms, run) => {
        const timer = { ms, run };
        due.push(timer);
        return () => due.splice(due.indexOf(timer), 1);
      },
      random: () => over.random ?? 0,
      onRenewed: (to) => renewed.push(to),
      log: quiet,
    });
    const fire = () => due.shift()?.run();
    return { renewal, due, renewed, asked, fire };
  };

  /** Goes straight to control; `answered` resolves when the first answer has been taken in. */
  const answering = () => {
    const requests: EnrolRequest[] = [];
    const answered = Promise.withResolvers<void>();
    const exchange: Exchange = async (request) => {
      requests.push(request);
      try {
        return await at.straight(request);
      } finally {
        setImmediate(answered.resolve);
      }
    };
    return { requests, exchange, answered: answered.promise };
  };

  test("asks when two thirds of the life have passed, takes the answer, and waits for the next", async () => {
    const host = await at.enrolHost("web-1");
    const { renewal, due, renewed, asked, fire } = renewing(host);
    renewal.start();
    const waitMs = due[0]?.ms ?? 0;
    expect(waitMs / HOUR_MS).toBeCloseTo(16, 0);
    at.now += waitMs;
    fire();
    const answer = await at.identities.renew("web-1", asked[0]?.spki ?? "", asked[0]?.signature ?? "");
    renewal.certificate("pem" in answer ? answer.pem : "");
    expect(renewed).toHaveLength(1);
    expect(at.filesOf("web-1").read()).toEqual(renewal.identity);
    expect(renewal.identity.private_key).not.toBe(host.private_key);
    expect(at.connects(renewal.identity)).toBe("accepted");
    expect((due[0]?.ms ?? 0) / HOUR_MS).toBeCloseTo(16, 0);
    expect(existsSync(join(at.root, "hosts", "web-1", "next-key.pem"))).toBe(false);
  });

  test("asks again, with the same key, while there is no answer", async () => {
    const { renewal, due, asked, fire } = renewing(await at.enrolHost("web-1"));
    renewal.start();
    fire();
    expect((due[0]?.ms ?? 0) / HOUR_MS).toBeCloseTo(0.5, 1);
    fire();
    expect(asked).toHaveLength(2);
    expect(asked[0]?.spki).toBe(asked[1]?.spki);
    renewal.stop();
    expect(due).toEqual([]);
  });

  test.each([
    ["in 1970", 0],
    ["in 2100", Date.UTC(2100, 0, 1)],
  ])("with a clock %s it neither sleeps too long nor hurries", async (_, wrong) => {
    const host = await at.enrolHost("web-1");
    const right = at.now;
    const { renewal, due, asked, fire } = renewing(host);
    at.now = wrong;
    renewal.start();
    expect((due[0]?.ms ?? 0) / HOUR_MS).toBeLessThan(18);
    fire();
    at.now = right;
    const answer = await at.identities.renew("web-1", asked[0]?.spki ?? "", asked[0]?.signature ?? "");
    at.now = wrong;
    renewal.certificate("pem" in answer ? answer.pem : "");
    expect((due[0]?.ms ?? 0) / HOUR_MS).toBeGreaterThan(7);
  });

  test("takes no certificate but one of its authority, for itself and for the key that it asked for", async () => {
    const host = await at.enrolHost("web-1");
    const { renewal, asked, fire } = renewing(host);
    renewal.start();
    fire();
    const spki = asked[0]?.spki ?? "";
    const evil = await createAuthority({ dir: join(at.root, "evil"), now: () => at.now });
    const wrong = [
      await evil.issue({ kind: "agent", site: "eu-1", name: "web-1", spki }),
      await at.authority.issue({ kind: "agent", site: "eu-1", name: "web-2", spki }),
      await at.authority.issue({ kind: "agent", site: "us-1", name: "web-1", spki }),
      await at.authority.issue({ kind: "site", site: "eu-1", name: "web-1", spki }),
      await at.authority.issue({ kind: "agent", site: "eu-1", name: "web-1", spki: renewalOf("web-1")[0] }),
    ];
    for (const { pem } of wrong) renewal.certificate(pem);
    renewal.certificate("garbage");
    expect(renewal.stats()).toMatchObject({ renewed: 0, failed: 6 });
    expect(renewal.identity).toEqual(host);
  });

  test("a machine that was off for a week comes back by its old certificate, one that was off for two months does not", async () => {
    const host = await at.enrolHost("web-1");
    at.now += 7 * DAY_MS;
    expect(at.connects(host)).toMatch(/has expired/);
    const { renewal, renewed } = renewing(host);
    await renewal.refusedByServer();
    expect(renewed).toHaveLength(1);
    expect(at.connects(renewal.identity)).toBe("accepted");
    at.now += 60 * DAY_MS;
    await renewal.refusedByServer();
    expect(renewal.stats()).toMatchObject({ renewed: 1, failed: 1 });
    expect(renewal.stats().problem).toMatch(/enrol again/);
  });

  test("a machine whose certificate has expired asks within minutes, by its certificate, since it has no session", async () => {
    const host = await at.enrolHost("web-1");
    at.now += 7 * DAY_MS;
    const { exchange, answered } = answering();
    const { renewal, due, fire } = renewing(host, { session: false, random: 1, exchange });
    renewal.start();
    expect(due[0]?.ms).toBeLessThan(2 * 60_000);
    fire();
    await answered;
    expect(at.connects(renewal.identity)).toBe("accepted");
  });

  test("a site server renews by its certificate, and a stolen request gives nothing but that key's certificate", async () => {
    const site = await at.enrolHost("s1", { token: await at.tokenFor({ for: "site" }), kind: "site" });
    const { exchange, answered, requests } = answering();
    const { renewal, renewed, fire } = renewing(site, { inSession: false, exchange });
    at.now += 17 * HOUR_MS;
    renewal.start();
    fire();
    await answered;
    expect(renewed).toHaveLength(1);
    expect(serialIn(renewal.identity)).not.toBe(serialIn(site));
    expect(at.identities.mayServe("eu-1", "s1", serialIn(renewal.identity))).toBeNull();
    const request = requests[0];
    if (request === undefined) throw new Error("nothing was asked");
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const spki = publicKey.export({ type: "spki", format: "pem" }).toString();
    expect(await at.straight({ ...request, spki })).toMatchObject({ refused: "wrong_signature" });
  });

  test("nobody renews by the certificate of another, or by one that was withdrawn", async () => {
    const [one, other] = [await at.enrolHost("web-1"), await at.enrolHost("web-2")];
    const stolen = renewing({ ...one, private_key: other.private_key });
    await stolen.renewal.refusedByServer();
    expect(stolen.renewal.stats().problem).toMatch(/not signed by the key of its certificate/);
    await at.enrolHost("web-2", {
      token: await at.tokenFor({ host: "web-2", again: true }),
      files: at.filesOf("again"),
    });
    const old = renewing(other);
    await old.renewal.refusedByServer();
    expect(old.renewal.stats().problem).toMatch(/does not count/);
  });
});
