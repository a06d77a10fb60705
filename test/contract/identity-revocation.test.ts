import { randomUUID } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, rmSync, watch } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Exchange } from "../../agent/src/host/enrol.ts";
import type { BusMessage } from "../../schemas/src/index.ts";
import { DAY_MS, HOUR_MS, IdentityControl, outcome, renewalOf, serialIn } from "./identity-control.ts";

let at: IdentityControl;
beforeEach(async () => {
  at = await IdentityControl.open();
});
afterEach(() => at.close());

describe("revocation and quarantine", () => {
  test("a revoked host is not let in, not renewed, not enrolled, and the sites are told", async () => {
    const host = await at.enrolHost("web-1");
    const changes: string[] = [];
    at.identities.onChange(({ host: name, state }) => changes.push(`${name} ${state}`));
    await at.identities.revoke("web-1", "ada", "stolen");
    expect(at.connects(host)).toBe("web-1 is revoked");
    expect(at.identities.mayCommand("web-1")).toBe(false);
    expect(at.identities.revokedList()).toEqual({ hosts: ["web-1"], serials: [serialIn(host)] });
    expect(await at.identities.renew("web-1", ...renewalOf("web-1"))).toMatchObject({ refused: "revoked" });
    expect(await outcome(at.enrolHost("web-1", { token: await at.tokenFor({ host: "web-1", again: true }) }))).toBe(
      "revoked",
    );
    expect(changes).toEqual(["web-1 revoked"]);
  });

  test("a revocation outlives a restart, and another control that runs hears of it", async () => {
    const host = await at.enrolHost("web-1");
    const other = await at.control();
    expect(at.connects(host, other)).toBe("accepted");
    const heard = Promise.withResolvers<void>();
    other.onChange(({ state }) => (state === "revoked" ? heard.resolve() : undefined));
    await at.identities.revoke("web-1", "ada", "stolen");
    await heard.promise;
    expect(at.connects(host, other)).toBe("web-1 is revoked");
    expect(at.connects(host, await at.control())).toBe("web-1 is revoked");
  });

  test("a revocation outlives a restart also when control's clock was ahead at the change before it", async () => {
    const host = await at.enrolHost("web-1");
    at.now += HOUR_MS;
    await at.identities.quarantine("web-1", "ada", "odd");
    await at.identities.readmit("web-1", "ada", "fine");
    at.now -= HOUR_MS;
    await at.identities.revoke("web-1", "ada", "stolen");
    const next = await at.control();
    expect(at.connects(host, next)).toBe("web-1 is revoked");
    expect(next.revokedList().hosts).toEqual(["web-1"]);
  });

  test("a host that was readmitted and enrols again stays so, also when control's clock was ahead at its revocation", async () => {
    await at.enrolHost("web-1");
    at.now += HOUR_MS;
    await at.identities.revoke("web-1", "ada", "stolen");
    at.now -= HOUR_MS;
    await at.identities.readmit("web-1", "ada", "found again");
    const host = await at.enrolHost("web-1");
    expect(at.connects(host, await at.control())).toBe("accepted");
  });

  test("a revocation counts while the disk does not take it, and is in the file once it does", async () => {
    const host = await at.enrolHost("web-1");
    const path = join(at.root, "secrets", "barred.json");
    // In the way of whatever is put there.
    mkdirSync(join(path, "in-the-way"), { recursive: true });
    expect(await at.identities.revoke("web-1", "ada", "stolen")).toMatchObject({ state: "revoked" });
    expect(at.connects(host)).toBe("web-1 is revoked");
    expect(at.identities.revokedList().hosts).toEqual(["web-1"]);
    rmSync(path, { recursive: true });
    await at.enrolHost("web-2");
    expect(readFileSync(path, "utf8")).toContain('"web-1"');
  });

  test("a control that takes over writes down who is shut out a few times, and not once for each of them", async () => {
    const token = await at.tokenFor({ uses: 60 });
    const hosts = Array.from({ length: 60 }, (_, index) => `web-${index}`);
    for (const host of hosts) await at.enrolHost(host, { token });
    for (const host of hosts) await at.identities.revoke(host, "ada", "gone");
    const dir = join(at.root, "other");
    cpSync(join(at.root, "secrets"), dir, { recursive: true });
    rmSync(join(dir, "barred.json"));
    const written = new Set<string>();
    const watching = watch(dir, (_, name) => {
      if (name?.endsWith(".new")) written.add(name);
    });
    onTestFinished(() => watching.close());
    const other = await at.control({ dir });
    expect(other.revokedList().hosts).toHaveLength(60);
    await expect.poll(() => written.size).toBeGreaterThan(0);
    expect(written.size).toBeLessThan(10);
    expect(JSON.parse(readFileSync(join(dir, "barred.json"), "utf8"))).toHaveLength(60);
  });

  test("a readmitted host needs a token, and its old certificate stays without force", async () => {
    const host = await at.enrolHost("web-1");
    await at.identities.revoke("web-1", "ada", "stolen");
    await at.identities.readmit("web-1", "bob", "found again");
    expect(at.connects(host)).toMatch(/does not count/);
    expect(at.connects(await at.enrolHost("web-1"))).toBe("accepted");
    expect(at.audited.map(({ what }) => what).filter((what) => what !== "token.created")).toEqual([
      "agent.enrolled",
      "agent.revoked",
      "agent.readmitted",
      "agent.enrolled",
    ]);
  });

  test("a quarantined host is let in and sent no commands, until it is readmitted", async () => {
    const host = await at.enrolHost("web-1");
    await at.identities.quarantine("web-1", "ada", "odd");
    expect([at.connects(host), at.identities.mayCommand("web-1")]).toEqual(["accepted", false]);
    const token = await at.tokenFor({ host: "web-1", again: true });
    await at.enrolHost("web-1", { token, files: at.filesOf("again") });
    expect(at.identities.mayCommand("web-1")).toBe(false);
    await at.identities.readmit("web-1", "ada", "fine");
    expect(at.identities.mayCommand("web-1")).toBe(true);
    expect(await at.identities.readmit("web-1", "ada", "again")).toMatchObject({ refused: "wrong_state" });
  });

  test("a site server is revoked by itself", async () => {
    const site = await at.enrolHost("s1", { token: await at.tokenFor({ for: "site" }), kind: "site" });
    await at.identities.revokeSiteServer({ site: "eu-1", name: "s1" }, "ada", "stolen");
    expect(at.identities.mayServe("eu-1", "s1", serialIn(site))).toBe("s1 is revoked");
    expect(at.identities.revokedList().serials).toEqual([serialIn(site)]);
  });

  test("a certificate of our authority that control has no record of does not count", async () => {
    const host = await at.enrolHost("web-1");
    const made = await at.authority.identityFor({ kind: "agent", site: "eu-1", name: "web-1" });
    const forged = { ...host, certificate: made.certificatePem, private_key: made.privateKeyPem };
    expect(at.connects(forged)).toMatch(/does not count/);
    expect(at.connects({ ...forged, host: "web-2" })).toMatch(/its certificate for web-1/);
  });

  describe("whoever may write to the bus", () => {
    /** What stands on the topic, in order, as it stands there. */
    const onTopic = async (): Promise<BusMessage[]> => {
      const found: BusMessage[] = [];
      const done = Promise.withResolvers<void>();
      const consumer = await at.bus.consume({
        group: `look-${randomUUID()}`,
        topics: ["agent.identities"],
        open: async ({ earliestOffset, endOffset }) => {
          if (earliestOffset >= endOffset) done.resolve();
          return {
            startOffset: earliestOffset,
            receive: async (messages) => {
              found.push(...messages);
              if ((found.at(-1)?.offset ?? -1) + 1 >= endOffset) done.resolve();
            },
          };
        },
      });
      await done.promise;
      await consumer.stop();
      return found;
    };

    const again = ({ key, value, headers }: BusMessage) => ({
      topic: "agent.identities" as const,
      key: key ?? "",
      value,
      headers,
    });

    test("makes no identity, changes none and takes none away: such a record does not count", async () => {
      const host = await at.enrolHost("web-1");
      const identity = at.identities.get("web-1");
      const forged = (key: string, value: object | null) => ({
        topic: "agent.identities" as const,
        key,
        value: value === null ? null : Buffer.from(JSON.stringify(value)),
      });
      await at.bus.publish([
        forged("web-1", { ...identity, state: "revoked" }),
        forged("web-1", null),
        forged("evil", { ...identity, host: "evil" }),
        forged("web-1", { kind: "agent" }),
      ]);
      const other = await at.control();
      // The topic is compacted one day: what a genuine record was replaced by shuts the host out, rather than letting somebody in.
      expect(["accepted", "web-1 is not enrolled"]).toContain(at.connects(host, other));
      expect(other.get("evil")).toBeNull();
      expect(other.status().unreadable).toBeGreaterThan(0);
      expect(at.connects(host)).toBe("accepted");
    });

    test.each([
      ["a revocation", "revoke", /revoked/],
      ["a quarantine", "quarantine", /^accepted$/],
    ] as const)("does not undo %s with the record from before it, nor with a tombstone", async (_, what, says) => {
      const host = await at.enrolHost("web-1");
      await at.identities[what]("web-1", "ada", "stolen");
      const state = at.identities.get("web-1")?.state;
      const [before] = (await onTopic()).filter(({ key }) => key === "web-1");
      if (before === undefined) throw new Error("no record of web-1");
      await at.bus.publish([again(before), { topic: "agent.identities", key: "web-1", value: null }]);
      for (const control of [at.identities, await at.control()]) {
        await expect.poll(() => control.get("web-1")?.state).toBe(state);
        expect(at.connects(host, control)).toMatch(says);
        expect(control.mayCommand("web-1")).toBe(false);
      }
      await at.identities.readmit("web-1", "ada", "found");
      expect((await at.control()).get("web-1")?.state).toBe("active");
    });
  });
});

test("the list of what is revoked is made anew when it changes, and loses what has expired", async () => {
  await at.enrolHost("web-1");
  const before = at.identities.revokedList();
  const host = await at.enrolHost("web-2");
  expect(at.identities.revokedList()).toBe(before);
  await at.identities.revoke("web-2", "ada", "stolen");
  expect(at.identities.revokedList()).toEqual({ hosts: ["web-2"], serials: [serialIn(host)] });
  at.now += 25 * HOUR_MS;
  expect(at.identities.revokedList()).toEqual({ hosts: ["web-2"], serials: [] });
  await at.identities.readmit("web-2", "ada", "found");
  expect(at.identities.revokedList()).toEqual({ hosts: [], serials: [] });
});

test("a host that is readmitted leaves the list at once, also when it had no certificate left to be withdrawn", async () => {
  await at.enrolHost("web-1");
  await at.identities.revoke("web-1", "ada", "stolen");
  at.now += 3 * DAY_MS;
  await at.identities.readmit("web-1", "ada", "found");
  await at.identities.revoke("web-1", "ada", "stolen again");
  expect(at.identities.revokedList().hosts).toEqual(["web-1"]);
  await at.identities.readmit("web-1", "ada", "found again");
  expect(at.identities.revokedList().hosts).toEqual([]);
});

test("what is past all use is swept, and what is not stays", async () => {
  await at.enrolHost("web-1");
  await at.tokenFor({ ttl_ms: 3 * DAY_MS });
  at.now += 2 * DAY_MS;
  expect(await at.identities.sweep()).toBe(1);
  expect([at.identities.tokens().length, at.identities.agents().length]).toEqual([1, 1]);
  at.now += 40 * DAY_MS;
  expect(await at.identities.sweep()).toBe(2);
  const other = await at.control();
  expect([other.tokens().length, other.agents().length]).toEqual([0, 0]);
});

test("when the bus takes nothing, nothing is granted, and it is said that it may be tried again", async () => {
  const token = await at.tokenFor();
  await at.bus.stop();
  const attempt = at.enrolHost("web-1", { token });
  expect(await outcome(attempt)).toBe("unavailable");
  expect(at.identities.get("web-1")).toBeNull();
});

test("what was written although the bus said that it was not, counts as soon as it is read", async () => {
  const token = await at.tokenFor();
  const [bus, { publish }] = [at.bus, at.bus];
  const doubtful = await at.control({
    bus: {
      ...bus,
      consume: (options) => bus.consume(options),
      publish: async (messages) => {
        await publish.call(bus, messages);
        throw new Error("the answer was lost");
      },
    },
  });
  const read = Promise.withResolvers<void>();
  doubtful.onChange(() => read.resolve());
  const exchange: Exchange = (request) => doubtful.enrol(request);
  expect(await outcome(at.enrolHost("web-1", { token, exchange }))).toBe("unavailable");
  await read.promise;
  expect(doubtful.get("web-1")?.certificates).toHaveLength(1);
  expect(doubtful.tokens()[0]?.uses).toBe(1);
  at.identities = await at.control();
  expect(at.connects(await at.enrolHost("web-1", { token }))).toBe("accepted");
});
