import { generateKeyPairSync, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { Connection } from "../../agent/src/channel/connection.ts";
import { FRAME, jsonBody } from "../../agent/src/channel/frame.ts";
import { type Control, ControlConfig, createControl } from "../../agent/src/control.ts";
import { enrol } from "../../agent/src/host/enrol.ts";
import { exchangeThrough } from "../../agent/src/host/enrol-exchange.ts";
import { openIdentityFiles } from "../../agent/src/host/identity-files.ts";
import { createSiteServer, dialTls, openSiteIdentity } from "../../agent/src/site.ts";
import { createEmbeddedBus } from "../../app/src/embedded/bus/index.ts";
import { type Log, topics } from "../../schemas/src/index.ts";

/* A site server in a process of its own comes to control's own listener: once to be enrolled, then with its certificate. */

const nothing = () => undefined;
const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const LOOK_MS = 20;
const undo: (() => Promise<void> | void)[] = [];
let dir: string;
let control: Control;
let address: string;

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

const open = async (): Promise<void> => {
  dir = await mkdtemp(join(tmpdir(), "homeostat-site-apart-"));
  const bus = await createEmbeddedBus({ dir: join(dir, "bus"), topics: topics(), now: Date.now, log });
  control = createControl({
    bus,
    config: ControlConfig.parse({ listen: { host: "127.0.0.1", port: 0 } }),
    dataDir: join(dir, "control"),
    signingKey: generateKeyPairSync("ed25519").privateKey,
    now: Date.now,
    log,
    newId: randomUUID,
  });
  undo.push(
    () => rm(dir, { recursive: true, force: true }),
    () => bus.stop(),
    () => control.stop(),
  );
  await control.start();
  await control.leads(new AbortController().signal);
  address = `127.0.0.1:${control.address?.port}`;
};

const tokenFor = async (wish: { for: "site" | "agent"; host?: string }): Promise<string> => {
  const made = await control.identities?.createToken({ site: "berlin", ...wish }, "root");
  if (made === undefined || "refused" in made) throw new Error(JSON.stringify(made));
  return made.text;
};

const siteIdentity = (token: string, server = "s1") =>
  openSiteIdentity({
    dir: join(dir, server),
    site: "berlin",
    server,
    names: ["localhost"],
    token,
    exchange: exchangeThrough(() => [address], Date.now),
    now: Date.now,
    random: () => 0,
    onRenewed: nothing,
    log,
  });

it("enrols with its token at control, serves with the certificate, and needs no token afterwards", async () => {
  await open();
  const identity = await siteIdentity(await tokenFor({ for: "site", host: "s1" }));
  undo.push(() => identity.stop());
  const server = createSiteServer({
    site: "berlin",
    server: "s1",
    listen: { host: "127.0.0.1", port: 0 },
    advertise: [],
    tls: identity.tls,
    uplink: async () => {
      const expected = { kind: "control" as const, site: null };
      return (await dialTls({ server: address, identity: identity.tls, expected, now: Date.now })).socket;
    },
    publish: async () => undefined,
    now: Date.now,
    log,
  });
  await server.start();
  undo.push(() => server.stop());
  await expect.poll(() => server.stats().control, { interval: LOOK_MS }).toBe(true);
  expect(control.health().servers).toBe(1);
  const again = await siteIdentity("");
  again.stop();
  expect(again.tls).toEqual(identity.tls);
});

it("is told what to do when it has no token, and why one does not count", async () => {
  await open();
  await expect(siteIdentity("")).rejects.toThrow("homeostat enroll token --for site --site berlin");
  await expect(siteIdentity(await tokenFor({ for: "site", host: "s2" }))).rejects.toThrow("is for s2, not for s1");
});

it("is the only one that control enrols there: agents go through their site", async () => {
  await open();
  const token = await tokenFor({ for: "agent", host: "web-1" });
  const files = openIdentityFiles(join(dir, "web-1"));
  const exchange = exchangeThrough(() => [address], Date.now);
  await expect(enrol({ token, kind: "agent", host: "web-1", files, exchange })).rejects.toMatchObject({
    code: "wrong_site",
  });
});

it("may ask once without a certificate, and say nothing else", async () => {
  await open();
  const closed = async (...frames: readonly [number, Buffer][]): Promise<number> => {
    const expected = { kind: "control" as const, site: null };
    const { socket } = await dialTls({ server: address, identity: null, expected, now: Date.now });
    let answers = 0;
    const isClosed = Promise.withResolvers<void>();
    const connection = new Connection(socket, {
      frameBytesMax: 65_536,
      queueBytesMax: 65_536,
      onFrame: () => {
        answers += 1;
      },
      onClose: () => isClosed.resolve(),
    });
    for (const [type, body] of frames) connection.send(type, body);
    await isClosed.promise;
    return answers;
  };
  const hello = jsonBody({ protocol: 1, site: "berlin", server: "s1" });
  expect(await closed([FRAME.hello, hello])).toBe(0);
  expect(await closed([FRAME.enrol, jsonBody({})])).toBe(1);
  expect(await closed([FRAME.enrol, jsonBody({})], [FRAME.enrol, jsonBody({})])).toBe(0);
});
