import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Control } from "@homeostat/agent/control";
import {
  createSiteServer,
  dialTls,
  enrol,
  exchangeThrough,
  openIdentityFiles,
  openSiteIdentity,
} from "@homeostat/agent/site";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { connectTo } from "./client.ts";
import { type ControlApi, log, openControlApi } from "./control-api.fixture.ts";
import { EXIT } from "./exit-code.ts";
import { TOKEN } from "./fleet-api.fixture.ts";

const nothing = () => undefined;
const POLL = { interval: 20 };
const undo: (() => unknown)[] = [];
let dir: string;
let control: Control;
let url: string;
let enroll: ControlApi["run"];

beforeEach(async () => {
  const opened = await openControlApi({ config: { listen: { host: "127.0.0.1", port: 0 } } });
  undo.push(opened.close);
  ({ dir, control, url } = opened);
  enroll = (line) => opened.run(`enroll ${line}`);
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

/** The site server site-3 of paris, with key and certificate in this folder: how often it came to control, and whether control took it. */
const startSite = async (folder: string, token: string) => {
  const address = `127.0.0.1:${control.address?.port}`;
  const identity = await openSiteIdentity({
    dir: join(dir, folder),
    site: "paris",
    server: "site-3",
    names: ["localhost"],
    token,
    exchange: exchangeThrough(() => [address], Date.now),
    now: Date.now,
    random: () => 0,
    onRenewed: nothing,
    log,
  });
  const tried = { dials: 0 };
  const server = createSiteServer({
    site: "paris",
    server: "site-3",
    listen: { host: "127.0.0.1", port: 0 },
    advertise: [],
    tls: identity.tls,
    uplink: async () => {
      const expected = { kind: "control" as const, site: null };
      const { socket } = await dialTls({ server: address, identity: identity.tls, expected, now: Date.now });
      tried.dials += 1;
      return socket;
    },
    publish: async () => undefined,
    now: Date.now,
    log,
  });
  await server.start();
  const stop = async () => {
    identity.stop();
    await server.stop();
  };
  undo.push(stop);
  return { server, tried, stop };
};

const enrolHost = async (host: string): Promise<void> => {
  const token = (await enroll(`token --site paris --host ${host}`)).out;
  const exchange = async (request: unknown) => control.identities?.enrol(request);
  await enrol({ token, kind: "agent", host, files: openIdentityFiles(join(dir, host)), exchange });
};

const audited = async (what: string): Promise<readonly string[]> =>
  (await control.audit.read(1, 1_000)).filter((record) => record.what === what).map(({ subject }) => subject);

const TOKEN_FOR_SITE = "token --for site --site paris --host site-3";
const OF_PARIS = "site-3 --for site --site paris";

describe("a site server", () => {
  it("that is revoked loses its uplink at once, is not taken again, and is shown so", async () => {
    const { server, tried } = await startSite("site", (await enroll(TOKEN_FOR_SITE)).out);
    await expect.poll(() => server.stats().control, POLL).toBe(true);
    const before = tried.dials;
    expect(await enroll(`revoke ${OF_PARIS} --reason stolen`)).toEqual({
      code: 0,
      out: "site server site-3 of paris is revoked",
      err: "",
    });
    await expect.poll(() => control.health().servers, POLL).toBe(0);
    await expect.poll(() => tried.dials, POLL).toBeGreaterThan(before + 1);
    expect(server.stats().control).toBe(false);
    expect((await enroll("list")).out).toMatch(/^site-3 +site +paris +revoked +none .*stolen$/m);
    expect(await audited("site.revoked")).toEqual(["site-3"]);
  });

  it("that is readmitted needs a token, and serves with its new certificate only", async () => {
    const first = await startSite("site", (await enroll(TOKEN_FOR_SITE)).out);
    await expect.poll(() => first.server.stats().control, POLL).toBe(true);
    await enroll(`revoke ${OF_PARIS}`);
    const { code, out } = await enroll(`readmit ${OF_PARIS}`);
    expect([code, out]).toEqual([0, expect.stringContaining(`homeostat enroll ${TOKEN_FOR_SITE}`)]);
    expect(out).not.toContain("active");
    const { dials } = first.tried;
    // The second of them comes after the first was turned away.
    await expect.poll(() => first.tried.dials, POLL).toBeGreaterThan(dials + 1);
    expect(first.server.stats().control).toBe(false);
    await first.stop();
    const second = await startSite("site-again", (await enroll(TOKEN_FOR_SITE)).out);
    await expect.poll(() => second.server.stats().control, POLL).toBe(true);
    expect((await enroll("list")).out).toMatch(/^site-3 +site +paris +active/m);
  });

  it("is not a host of the same name, and whoever takes it for one is told", async () => {
    await startSite("site", (await enroll(TOKEN_FOR_SITE)).out);
    await expect(enroll("revoke site-3")).rejects.toThrow(/not enrolled as a host; it is a site server of paris/);
    await expect(enroll("revoke site-3 --for site")).rejects.toThrow("--site SITE");
    await expect(enroll("revoke site-3 --site paris")).rejects.toThrow("--for site");
    await expect(enroll("revoke site-3 --for server")).rejects.toThrow("want agent or site");
    await expect(enroll("revoke site-3 --for site --site berlin")).rejects.toThrow(
      '"site server berlin/site-3" is not enrolled',
    );
    await enrolHost("site-3");
    expect((await enroll("revoke site-3")).out).toBe("site-3 is revoked");
    const { out } = await enroll("list");
    expect([out.match(/^site-3 +site +paris +active/m), out.match(/^site-3 +agent +paris +revoked/m)]).not.toContain(
      null,
    );
  });

  it("is in the list also when a page ends between it and a host of the same name", async () => {
    await startSite("site", (await enroll(TOKEN_FOR_SITE)).out);
    await enrolHost("site-3");
    await enrolHost("zebra");
    const shape = z.object({
      identities: z.array(z.looseObject({ host: z.string(), kind: z.string() })),
      next: z.string().nullable(),
    });
    const api = connectTo({ api: url }, { HOMEOSTAT_TOKEN: TOKEN });
    const found: string[] = [];
    for (let after: string | null = ""; after !== null; ) {
      const page: z.infer<typeof shape> = await api.get(
        `/api/v1/identities?${new URLSearchParams({ limit: "1", after })}`,
        shape,
      );
      found.push(...page.identities.map(({ host, kind }) => `${kind} ${host}`));
      after = page.next;
    }
    expect(found).toEqual(["agent site-3", "site site-3", "agent zebra"]);
  });

  it("cannot be quarantined, and it is said why", async () => {
    await startSite("site", (await enroll(TOKEN_FOR_SITE)).out);
    expect(await enroll(`quarantine ${OF_PARIS}`)).toMatchObject({
      code: EXIT.calledWrongly,
      err: expect.stringContaining("a site server cannot be quarantined"),
    });
  });
});

describe("a host", () => {
  it("that is readmitted after a revocation has still to enrol, and that is said; after a quarantine it has not", async () => {
    await enrolHost("p1");
    await enroll("quarantine p1");
    expect((await enroll("readmit p1")).out).toBe("p1 is active");
    expect((await enroll("revoke p1")).out).toBe("p1 is revoked");
    const { out } = await enroll("readmit p1");
    expect(out).toMatch(/^p1 may enrol again; until then it is not let in/);
    expect(out).toContain("homeostat enroll token --site paris --host p1");
    await rm(join(dir, "p1"), { recursive: true });
    await enrolHost("p1");
    expect((await enroll("list")).out).toMatch(/^p1 +agent +paris +active/m);
  });
});
