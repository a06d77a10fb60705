import { generateKeyPairSync } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createPluginCatalog,
  createRecordProof,
  isRefused,
  type Packed,
  type PluginHostView,
  packPlugin,
} from "@homeostat/agent/control";
import { createEmbeddedBus } from "@homeostat/app";
import { type Bus, type PluginStatus, type PluginWish, topics } from "@homeostat/schemas";
import { describe, expect, it, onTestFinished } from "vitest";
import { silent } from "../fixtures/batch/engine.ts";

const publisher = generateKeyPairSync("ed25519");
const stranger = generateKeyPairSync("ed25519");
const EVERYBODY = { labels: "*" };
const MINUTE = 60_000;

const pack = async (
  version: string,
  more: Record<string, unknown> = {},
  key = publisher.privateKey,
): Promise<Packed> => {
  const dir = mkdtempSync(join(tmpdir(), "homeostat-pack-"));
  try {
    const manifest = { name: "demo", version, kind: "static", run: { command: "run.sh" }, ...more };
    writeFileSync(join(dir, "plugin.json"), JSON.stringify(manifest));
    writeFileSync(join(dir, "run.sh"), `#!/bin/sh\n# ${version}\n`);
    chmodSync(join(dir, "run.sh"), 0o755);
    return await packPlugin(dir, key);
  } finally {
    rmSync(dir, { recursive: true });
  }
};

const fleetOf = (count: number): PluginHostView[] =>
  Array.from({ length: count }, (_, at) => ({
    host: `h${at}`,
    site: at % 2 === 0 ? "east" : "west",
    labels: { tier: at < 10 ? "edge" : "core" },
    plugins: [],
    seenAtUnixMs: 0,
  }));

const setUp = async (fleet: readonly PluginHostView[] = fleetOf(100)) => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-catalog-"));
  const clock = { now: 1_800_000_000_000 };
  const opened: Bus = await createEmbeddedBus({
    dir: join(dir, "bus"),
    topics: topics(),
    now: () => clock.now,
    log: silent,
  });
  /** Whatever is published waits for it. */
  const gate = { isOpen: Promise.resolve() };
  const bus: Bus = {
    publish: async (messages, how) => {
      await gate.isOpen;
      await opened.publish(messages, how);
    },
    consume: (consumer) => opened.consume(consumer),
    lag: (group, topic) => opened.lag(group, topic),
    stop: () => opened.stop(),
  };
  const hosts = { now: fleet };
  const open = async (group: string) => {
    const catalog = createPluginCatalog({
      bus,
      group,
      dataDir: dir,
      trustedKeys: [publisher.publicKey],
      proof: createRecordProof(dir),
      hosts: () => hosts.now,
      now: () => clock.now,
      log: silent,
    });
    await catalog.start();
    onTestFinished(() => catalog.stop());
    return catalog;
  };
  onTestFinished(async () => {
    await bus.stop();
    await rm(dir, { recursive: true, force: true });
  });
  return { dir, bus, gate, clock, hosts, open, catalog: await open("one") };
};

const accepted = <T extends object>(value: T | { refused: string; message: string }): T => {
  if ("refused" in value) throw new Error(`refused: ${value.message}`);
  return value;
};

const statusOf = (version: string, failed: string | null = null): PluginStatus => ({
  name: "demo",
  version,
  state: "idle",
  pinned: false,
  desired_version: version,
  problem: "",
  last_failed: failed === null ? null : { version: failed, reason: "selftest" },
});

describe("the catalog of plugins", () => {
  it("keeps what is published by its digest, and gives it out in pieces", async () => {
    const { catalog, dir, open } = await setUp();
    const { artefact, release } = await pack("1.0.0");
    expect(await catalog.publish(artefact, release)).toEqual(release);
    expect(await catalog.publish(artefact, release)).toEqual(release);
    const half = Math.floor(artefact.length / 2);
    const pieces = [await catalog.read(release.sha256, 0, half), await catalog.read(release.sha256, half, 500_000)];
    expect(Buffer.concat(pieces).equals(artefact)).toBe(true);
    const again = await open("two");
    expect(again.releases()).toEqual([release]);
    expect((await readdir(join(dir, "artefacts"))).sort()).toEqual([
      `${release.sha256}.json`,
      `${release.sha256}.tar.gz`,
    ]);
  });

  it("gives out nothing that is not in it", async () => {
    const { catalog } = await setUp();
    const { artefact, release } = await pack("1.0.0");
    await catalog.publish(artefact, release);
    for (const sha256 of ["../../etc/passwd", "0".repeat(64), ""])
      await expect(catalog.read(sha256, 0, 10), sha256).rejects.toThrow(RangeError);
    for (const [offset, length] of [
      [-1, 10],
      [0, -1],
      [0, 1e9],
      [1e9, 1],
      [0.5, 1],
    ] as const)
      await expect(catalog.read(release.sha256, offset, length), `${length} at ${offset}`).rejects.toThrow(RangeError);
  });

  it("takes nothing that an agent would refuse", async () => {
    const { catalog, dir } = await setUp();
    const { artefact, release } = await pack("1.0.0");
    const unknown = await pack("1.0.0", {}, stranger.privateKey);
    const schema = { type: "object", properties: { x: { $ref: "http://example.com/" } } };
    const odd = await pack("1.0.0", { config_schema: schema });
    const other = { ...release, manifest: { ...release.manifest, kind: "resident" } };
    const messageOf = async (bytes: Uint8Array, value: unknown) => {
      const outcome = await catalog.publish(bytes, value);
      return isRefused(outcome) ? outcome.message : "taken";
    };
    expect(await messageOf(unknown.artefact, unknown.release)).toContain("unknown publisher");
    expect(await messageOf(artefact, { ...release, signature: "" })).toContain("not signed");
    expect(await messageOf(artefact.subarray(1), release)).toContain("bytes, the release says");
    expect(await messageOf(Buffer.alloc(artefact.length), release)).toContain("has the SHA-256");
    expect(await messageOf(artefact, other)).toContain("not the manifest of the release");
    expect(await messageOf(odd.artefact, odd.release)).toContain("not a schema that can be used");
    expect(await messageOf(artefact, { ...release, extra: 1 })).toContain("extra");
    expect(await readdir(join(dir, "artefacts"))).toEqual([]);
  });

  it("takes a version once", async () => {
    const { catalog } = await setUp();
    const [one, two] = [await pack("1.0.0"), await pack("1.0.0", { collects: true })];
    await catalog.publish(one.artefact, one.release);
    expect(await catalog.publish(two.artefact, two.release)).toMatchObject({
      refused: "wrong_state",
      message: expect.stringContaining("other bytes"),
    });
    expect(catalog.releases()).toEqual([one.release]);
  });

  it("takes a version once also when two bring it at a time", async () => {
    const { catalog } = await setUp();
    const [one, two] = [await pack("1.0.0"), await pack("1.0.0", { collects: true })];
    const outcomes = await Promise.all([one, two].map(({ artefact, release }) => catalog.publish(artefact, release)));
    expect(outcomes).toEqual([one.release, expect.objectContaining({ refused: "wrong_state" })]);
    expect(catalog.releases()).toEqual([one.release]);
    expect(await catalog.publish(two.artefact, two.release)).toMatchObject({ refused: "wrong_state" });
  });

  it("says of a version that is there already what differs in what came now", async () => {
    const { catalog } = await setUp();
    const executor = { name: "demo.show", risk: "read_only", args_schema: { type: "object", properties: {} } };
    const { artefact, release } = await pack("1.0.0", { executors: [executor] });
    await catalog.publish(artefact, release);
    const longer = Buffer.concat([artefact, Buffer.alloc(1)]);
    expect(await catalog.publish(longer, release)).toMatchObject({
      refused: "invalid",
      message: expect.stringContaining(`has ${longer.length} bytes, the release says ${artefact.length}`),
    });
    const spoilt = Buffer.from(artefact);
    spoilt.writeUInt8(spoilt.readUInt8(20) ^ 1, 20);
    expect(await catalog.publish(spoilt, release)).toMatchObject({
      refused: "invalid",
      message: expect.stringContaining("has the SHA-256"),
    });
    // The signature does not cover it.
    const riskier = { ...release.manifest, executors: [{ ...executor, risk: "reversible" }] };
    expect(await catalog.publish(artefact, { ...release, manifest: riskier })).toMatchObject({
      refused: "wrong_state",
      message: expect.stringContaining('manifest.executors.0.risk is "read_only" there, "reversible" here'),
    });
    expect(await catalog.publish(artefact, release)).toEqual(release);
    expect(catalog.releases()).toEqual([release]);
  });
});

describe("a wish", () => {
  const published = async (fleet?: readonly PluginHostView[], ...versions: string[]) => {
    const test = await setUp(fleet);
    for (const version of versions.length === 0 ? ["1.0.0", "1.1.0"] : versions) {
      const { artefact, release } = await pack(version);
      accepted(await test.catalog.publish(artefact, release));
    }
    const desired = (at: number) =>
      test.catalog.desiredFor(test.hosts.now[at] ?? fleetOf(1)[0] ?? { host: "", site: "", labels: {} }).plugins[0]
        ?.release.manifest.version;
    return { ...test, desired };
  };

  it("reaches the hosts that it names, and no other; the one that names them most closely counts", async () => {
    const { catalog, desired } = await published();
    const changes: number[] = [];
    catalog.onDesiredChange(() => changes.push(1));
    accepted(await catalog.wish({ name: "demo", version: "1.1.0", targets: { labels: "tier=edge" }, by: "ada" }));
    accepted(await catalog.wish({ name: "demo", version: "1.0.0", targets: { hosts: ["h3"] }, by: "ada" }));
    expect([desired(1), desired(3), desired(50)]).toEqual(["1.1.0", "1.0.0", undefined]);
    accepted(await catalog.unwish("demo", { hosts: ["h3"] }));
    expect(desired(3)).toBe("1.1.0");
    expect(changes).toHaveLength(3);
  });

  it("is still there for the control plane that comes next", async () => {
    const { catalog, open } = await published();
    accepted(await catalog.wish({ name: "demo", version: "1.0.0", targets: { site: "east" }, by: "ada" }));
    accepted(await catalog.wish({ name: "demo", version: "1.1.0", targets: { site: "west" }, by: "ada" }));
    accepted(await catalog.unwish("demo", { site: "west" }));
    const next = await open("two");
    expect(next.wishes()).toEqual(catalog.wishes());
    expect(next.wishes()).toHaveLength(1);
  });

  it("that makes no sense is refused", async () => {
    const { catalog } = await published();
    for (const [what, change, code] of [
      ["an unknown version", { version: "9.9.9" }, "not_found"],
      ["nobody in particular", { targets: {} }, "invalid"],
      ["a share", { targets: { labels: "*", percent: 10 } }, "invalid"],
      ["labels that cannot be read", { targets: { labels: "a in (" } }, "invalid"],
      ["a configuration that nobody asked for", { config: { x: 1 } }, "invalid"],
      ["a configuration without a canonical form", { config: { x: "\ud800" } }, "invalid"],
      ["a name that is none", { name: "../x" }, "invalid"],
    ] as const) {
      const request = { name: "demo", version: "1.0.0", targets: EVERYBODY, by: "ada", ...change };
      expect(await catalog.wish(request), what).toMatchObject({ refused: code });
    }
    expect(catalog.wishes()).toEqual([]);
  });

  it("for an older version than the one that is wished is refused unless it is pinned", async () => {
    const { catalog, desired } = await published();
    const targets = { site: "east" };
    accepted(await catalog.wish({ name: "demo", version: "1.1.0", targets, by: "ada" }));
    expect(await catalog.wish({ name: "demo", version: "1.0.0", targets, by: "ada" })).toMatchObject({
      refused: "invalid",
    });
    accepted(await catalog.wish({ name: "demo", version: "1.0.0", targets, by: "ada", pinned: true }));
    expect(desired(0)).toBe("1.0.0");
  });

  it("turns off what ships with the agent", async () => {
    const { catalog } = await published();
    accepted(await catalog.wish({ name: "cpu", version: null, targets: EVERYBODY, enabled: false, by: "ada" }));
    const { plugins } = catalog.desiredFor({ host: "h1", site: "east", labels: {} });
    expect(plugins).toMatchObject([
      { enabled: false, release: { sha256: "", manifest: { name: "cpu", run: "builtin" } } },
    ]);
  });

  it("says which version, unless it is of what ships with the agent", async () => {
    const { catalog } = await published();
    const wish = (name: string, enabled: boolean) =>
      catalog.wish({ name, version: null, targets: EVERYBODY, enabled, by: "ada" });
    expect(await wish("demo", true)).toMatchObject({
      refused: "invalid",
      message: expect.stringContaining("published: 1"),
    });
    expect(await wish("cpuu", false)).toMatchObject({
      refused: "invalid",
      message: "cpuu does not ship with the agent: say which version (none is published)",
    });
    expect(catalog.wishes()).toEqual([]);
  });

  it("goes to everybody in steps, each after the one before has fared well", async () => {
    const test = await published();
    const { catalog, clock, hosts, desired } = test;
    accepted(await catalog.wish({ name: "demo", version: "1.0.0", targets: EVERYBODY, atOnce: true, by: "ada" }));
    accepted(await catalog.wish({ name: "demo", version: "1.1.0", targets: EVERYBODY, by: "ada" }));
    const reached = () => hosts.now.filter((_, at) => desired(at) === "1.1.0").length;
    const others = () => hosts.now.filter((_, at) => desired(at) === "1.0.0").length;
    const counts: number[] = [];
    for (let step = 0; step < 6; step++) {
      counts.push(reached());
      expect(reached() + others()).toBe(100);
      clock.now += 3 * MINUTE;
      hosts.now = hosts.now.map((host, at) => ({
        ...host,
        seenAtUnixMs: clock.now,
        plugins: [statusOf(desired(at) ?? "")],
      }));
      await catalog.tick(hosts.now);
    }
    expect(counts).toEqual([1, 5, 20, 50, 100, 100]);
    expect(catalog.wishes()).toMatchObject([{ rollout: null }]);
  });

  it("waits for hosts that have not said how they fare, and not for those that are silent", async () => {
    const { catalog, clock, hosts, desired } = await published();
    accepted(await catalog.wish({ name: "demo", version: "1.0.0", targets: EVERYBODY, by: "ada" }));
    const step = () => catalog.wishes()[0]?.rollout?.step;
    clock.now += 3 * MINUTE;
    hosts.now = hosts.now.map((host) => ({ ...host, seenAtUnixMs: clock.now }));
    await catalog.tick(hosts.now);
    expect(step()).toBe(0);
    hosts.now = hosts.now.map((host, at) => ({
      ...host,
      plugins: desired(at) === undefined ? [] : [statusOf("1.0.0")],
    }));
    await catalog.tick(hosts.now);
    expect(step()).toBe(1);
  });

  it("is not brought back by a step of its roll-out that falls due while it is taken back", async () => {
    const { catalog, clock, hosts, gate, open } = await published();
    accepted(await catalog.wish({ name: "demo", version: "1.0.0", targets: EVERYBODY, by: "ada" }));
    clock.now += 3 * MINUTE;
    hosts.now = hosts.now.map((host) => ({ ...host, seenAtUnixMs: clock.now, plugins: [statusOf("1.0.0")] }));
    const bus = Promise.withResolvers<void>();
    gate.isOpen = bus.promise;
    const changes = [catalog.unwish("demo", EVERYBODY), catalog.tick(hosts.now)];
    bus.resolve();
    await Promise.all(changes);
    expect(catalog.wishes()).toEqual([]);
    expect((await open("two")).wishes()).toEqual([]);
  });

  it("does not stand still for as long as the clock was ahead when it began", async () => {
    const { catalog, clock, hosts } = await published();
    clock.now += 365 * 24 * 60 * MINUTE;
    accepted(await catalog.wish({ name: "demo", version: "1.0.0", targets: EVERYBODY, by: "ada" }));
    clock.now -= 365 * 24 * 60 * MINUTE;
    for (let tick = 0; tick < 2; tick += 1) {
      clock.now += 3 * MINUTE;
      hosts.now = hosts.now.map((host) => ({ ...host, seenAtUnixMs: clock.now, plugins: [statusOf("1.0.0")] }));
      await catalog.tick(hosts.now);
    }
    expect(catalog.wishes()).toMatchObject([{ rollout: { step: 1 } }]);
  });

  it("is refused for hosts whose names have no canonical form", async () => {
    const { catalog } = await published();
    const targets = { site: "\ud800" };
    expect(await catalog.wish({ name: "demo", version: "1.0.0", targets, by: "ada" })).toMatchObject({
      refused: "invalid",
    });
    expect(await catalog.unwish("demo", targets)).toMatchObject({ refused: "invalid" });
  });

  it("is halted when the new release fails, the rest keeps the old one, and a better one goes out anew", async () => {
    const test = await published(fleetOf(100), "1.0.0", "1.1.0", "1.2.0");
    const { catalog, clock, hosts, desired, open } = test;
    accepted(await catalog.wish({ name: "demo", version: "1.0.0", targets: EVERYBODY, atOnce: true, by: "ada" }));
    accepted(await catalog.wish({ name: "demo", version: "1.1.0", targets: EVERYBODY, by: "ada" }));
    clock.now += 10_000;
    hosts.now = hosts.now.map((host, at) => ({
      ...host,
      seenAtUnixMs: clock.now,
      plugins: [desired(at) === "1.1.0" ? statusOf("1.0.0", "1.1.0") : statusOf("1.0.0")],
    }));
    await catalog.tick(hosts.now);
    const halted = (wishes: readonly PluginWish[]) => wishes[0]?.rollout?.halted;
    expect(halted(catalog.wishes())).toBe("1 of 1 hosts could not have 1.1.0, in the step of 1 %");
    clock.now += 60 * MINUTE;
    await catalog.tick(hosts.now);
    expect(hosts.now.filter((_, at) => desired(at) === "1.0.0")).toHaveLength(99);
    expect(halted((await open("two")).wishes())).not.toBe("");
    accepted(await catalog.wish({ name: "demo", version: "1.2.0", targets: EVERYBODY, by: "ada" }));
    expect(halted(catalog.wishes())).toBe("");
    expect(hosts.now.filter((_, at) => desired(at) === "1.2.0")).toHaveLength(1);
    expect(hosts.now.filter((_, at) => desired(at) === "1.0.0")).toHaveLength(99);
  });
});
