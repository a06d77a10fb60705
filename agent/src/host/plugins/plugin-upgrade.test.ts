import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fetchOf, openHost, pack, pythonPlugin, runExecutor, shellPlugin, statusOf, wish } from "./plugin.fixture.ts";

const SAY = `
word=$(printf '%s' "$request" | sed 's/.*"word":"\\([^"]*\\)".*/\\1/')
printf '{"output":"said %s"}\\n' "$word"
printf '%s\\n' '{"metric":{"name":"demo.words","value":1,"kind":"counter"}}'
printf '%s\\n' '{"result":{"state":"succeeded","exit_code":0}}'
`;

const v = (version: string) => ({ version });
const started = async (packed: Parameters<typeof openHost>[0], more: Parameters<typeof openHost>[1] = {}) => {
  const test = openHost(packed, more);
  await test.host.start();
  return test;
};

describe("what is wished", () => {
  it("is not installed unless a trusted publisher signed it", async () => {
    const packed = await pack(shellPlugin(SAY));
    const other = await pack(shellPlugin(SAY, v("1.1.0")));
    const test = await started([packed], {});
    const reasonOf = async (release: typeof packed.release) => {
      await test.bring({ ...wish(packed), release });
      return statusOf(test)?.last_failed?.reason;
    };
    const { release } = packed;
    expect(await reasonOf({ ...release, signature: "" })).toBe("it is not signed");
    expect(await reasonOf({ ...release, signature: other.release.signature })).toBe("the signature does not match");
    expect(await reasonOf({ ...release, key_id: "0123456789abcdef" })).toContain("unknown publisher 0123456789abcdef");
    expect(await reasonOf({ ...release, size_bytes: release.size_bytes + 1 })).toBe("the signature does not match");
    expect(test.fetched.count).toBe(0);
    expect(test.executors.names()).toEqual(["exec.run"]);
  });

  it("is not installed when its manifest is not the one that was signed with it", async () => {
    const packed = await pack(shellPlugin(SAY));
    const test = await started([packed]);
    const manifest = { ...packed.release.manifest, limits: { ...packed.release.manifest.limits, call_timeout_ms: 1 } };
    await test.bring({ ...wish(packed), release: { ...packed.release, manifest } });
    expect(statusOf(test)?.last_failed?.reason).toBe("its plugin.json is not the manifest of the release");
  });

  it.each([
    ["other bytes", (piece: Uint8Array) => Buffer.alloc(piece.length), "has the SHA-256"],
    ["fewer bytes", (piece: Uint8Array) => piece.subarray(1), "were asked for"],
    ["more bytes", (piece: Uint8Array) => Buffer.concat([piece, piece]), "were asked for"],
  ])("is given up when a server brings %s three times", async (_, change, why) => {
    const packed = await pack(shellPlugin(SAY));
    const honest = fetchOf(packed);
    const test = await started([packed], { fetch: async (...piece) => change(await honest(...piece)) });
    await test.bring(wish(packed));
    expect(statusOf(test)?.last_failed?.reason).toContain(why);
    expect(test.fetched.count).toBe(3);
  });

  it("is installed once the server that could not be reached, or lied, does better", async () => {
    const packed = await pack(shellPlugin(SAY));
    const honest = fetchOf(packed);
    let asked = 0;
    const fetch = async (...piece: Parameters<typeof honest>) => {
      asked += 1;
      if (asked < 4) throw new Error("no connection");
      return asked === 4 ? Buffer.alloc(piece[2]) : honest(...piece);
    };
    const test = await started([packed], { fetch });
    await test.bring(wish(packed));
    expect(statusOf(test)).toMatchObject({ state: "idle", last_failed: null });
  });

  it("may not take the name of an executor that is here already, or of what came with the agent", async () => {
    const schema = { type: "object", properties: {} };
    const executors = [{ name: "exec.run", risk: "read_only", args_schema: schema }];
    const thief = await pack(shellPlugin(SAY, { executors }));
    const turned: string[] = [];
    const builtin = {
      manifest: { ...thief.release.manifest, name: "cpu", run: "builtin" as const, collects: true, executors: [] },
      isAllowed: true,
      turnOn: () => void turned.push("on"),
      turnOff: () => void turned.push("off"),
      problem: () => null,
    };
    const cpu = await pack(shellPlugin(SAY, { name: "cpu" }));
    const test = await started([thief, cpu], { builtins: [builtin] });
    await test.bring(wish(thief), wish(cpu, { enabled: false }));
    expect(statusOf(test)?.last_failed?.reason).toContain("its executor exec.run has the name of one that is here");
    expect(statusOf(test, "cpu")).toMatchObject({
      state: "running",
      last_failed: { reason: "it has the name of one that came with the agent" },
    });
    expect(turned).toEqual([]);
    expect(test.fetched.count).toBe(0);
  });

  it("turns off and on what came with the agent, but not what the host itself has turned off", async () => {
    const packed = await pack(shellPlugin(SAY));
    const turned: string[] = [];
    const builtin = (name: string, isAllowed: boolean) => ({
      manifest: { ...packed.release.manifest, name, run: "builtin" as const, collects: true, executors: [] },
      isAllowed,
      turnOn: () => void turned.push(`${name} on`),
      turnOff: () => void turned.push(`${name} off`),
      problem: () => null,
    });
    const builtins = [builtin("cpu", true), builtin("load", false)];
    const test = await started([], { builtins });
    const release = (name: string) => ({
      manifest: { ...packed.release.manifest, name, run: "builtin" as const },
      sha256: "" as const,
      size_bytes: 0,
      key_id: "",
      signature: "",
    });
    const off = { ...wish(packed), release: release("cpu"), enabled: false };
    await test.bring(off, { ...wish(packed), release: release("load") });
    expect(test.host.status().map(({ name, state }) => `${name} ${state}`)).toEqual(["cpu disabled", "load disabled"]);
    await test.bring();
    expect(turned).toEqual(["cpu off", "cpu on"]);
  });

  it("is refused with a configuration that does not fit its schema", async () => {
    const schema = { type: "object", properties: { path: { type: "string" } }, required: ["path"] };
    const packed = await pack(shellPlugin(SAY, { config_schema: schema }));
    const test = await started([packed]);
    await test.bring(wish(packed, { config: { path: 7 } }));
    expect(statusOf(test)?.last_failed?.reason).toContain("config.path");
    await test.bring(wish(packed, { config: { path: "/x" } }));
    expect(statusOf(test)).toMatchObject({ state: "idle", last_failed: null });
  });

  it("is not run on a host that denies it", async () => {
    const packed = await pack(shellPlugin(SAY));
    const test = await started([packed], { denied: ["demo"] });
    await test.bring(wish(packed));
    expect(statusOf(test)).toMatchObject({ state: "disabled" });
    expect(test.fetched.count).toBe(0);
  });
});

describe("an upgrade", () => {
  const good = () => pack(pythonPlugin("", v("1.0.0")));
  const bad = () => pack(pythonPlugin("sys.exit(3)", v("1.1.0")));

  it("that fails rolls back by itself to the last good version, and is not tried again until it is wished anew", async () => {
    const [one, two] = [await good(), await bad()];
    const test = await started([one, two]);
    await test.bring(wish(one));
    await test.bring(wish(two));
    const rolledBack = {
      version: "1.0.0",
      desired_version: "1.1.0",
      state: "running",
      last_failed: { version: "1.1.0", reason: expect.stringContaining("exit code 3") },
    };
    expect(statusOf(test)).toMatchObject(rolledBack);
    expect(test.host.problems()).toEqual([expect.stringContaining("plugin demo 1.1.0 failed: exit code 3")]);
    expect(await runExecutor(test, "demo.say", { word: "still here" })).toMatchObject({ stdout: "still here" });
    const fetched = test.fetched.count;
    await test.bring(wish(two));
    expect(test.fetched.count).toBe(fetched);
    await test.bring(wish(two, { wished_at_unix_ms: 2 }));
    expect(test.fetched.count).toBeGreaterThan(fetched);
    expect(statusOf(test)).toMatchObject(rolledBack);
  });

  it("that fails later, when it was well at first, rolls back too", async () => {
    const late = pythonPlugin("def execute(id, executor, args): os._exit(9)", {
      ...v("1.1.0"),
      health: { interval_ms: 200, timeout_ms: 30_000, ready_ms: 60_000, restarts_max: 0 },
    });
    const [one, two] = [await good(), await pack(late)];
    const test = await started([one, two]);
    await test.bring(wish(one));
    await test.bring(wish(two));
    expect(statusOf(test)).toMatchObject({ version: "1.1.0", state: "running" });
    await runExecutor(test, "demo.say", { word: "x" });
    await test.until("demo", ({ version, state }) => version === "1.0.0" && state === "running");
    expect(statusOf(test)?.last_failed).toMatchObject({ version: "1.1.0" });
  });

  it("of a static plugin rolls back when its selftest fails", async () => {
    const ill = shellPlugin(SAY, v("1.1.0"));
    const one = await pack(shellPlugin(SAY));
    const two = await pack({
      ...ill,
      files: { "run.sh": '#!/bin/sh\necho \'{"result":{"state":"failed","message":"no smartctl"}}\'\n' },
    });
    const test = await started([one, two]);
    await test.bring(wish(one));
    await test.bring(wish(two));
    expect(statusOf(test)).toMatchObject({
      version: "1.0.0",
      state: "idle",
      last_failed: { version: "1.1.0", reason: "its selftest failed: no smartctl" },
    });
  });

  it("to a configuration that it cannot live with goes back to the one before", async () => {
    const picky = pythonPlugin(
      'def start(hello):\n  if hello["config"].get("bad"): sys.exit(4)\n  say({"ready": {"protocol": 1}})',
      {
        config_schema: { type: "object", properties: { bad: { type: "boolean" } } },
      },
    );
    const packed = await pack(picky);
    const test = await started([packed]);
    await test.bring(wish(packed));
    await test.bring(wish(packed, { config: { bad: true } }));
    expect(statusOf(test)).toMatchObject({ state: "running", last_failed: { version: "1.0.0" } });
  });

  it("goes down only when it is pinned", async () => {
    const [one, two] = [await pack(shellPlugin(SAY)), await pack(shellPlugin(SAY, v("1.1.0")))];
    const test = await started([one, two]);
    await test.bring(wish(two));
    await test.bring(wish(one));
    expect(statusOf(test)).toMatchObject({
      version: "1.1.0",
      last_failed: { version: "1.0.0", reason: "it would go back from 1.1.0; pin it to have that" },
    });
    await test.bring(wish(one, { pinned: true }));
    expect(statusOf(test)).toMatchObject({ version: "1.0.0", pinned: true });
  });

  it("leaves two versions on the disk", async () => {
    const packed = await Promise.all(["1.0.0", "1.0.1", "1.0.2", "1.0.3"].map((one) => pack(shellPlugin(SAY, v(one)))));
    const test = await started(packed);
    for (const one of packed) await test.bring(wish(one));
    const kept = readdirSync(join(test.dir, "plugins/demo"))
      .filter((name) => name.startsWith("1."))
      .map((name) => name.slice(0, 5));
    expect(kept.sort()).toEqual(["1.0.2", "1.0.3"]);
  });
});

describe("after a restart", () => {
  it("what is installed runs without the control plane", async () => {
    const packed = await pack(shellPlugin(SAY));
    const first = await started([packed]);
    await first.bring(wish(packed));
    await first.host.stop();
    const second = await started([], { dir: first.dir });
    await second.host.settled();
    expect(statusOf(second)).toMatchObject({ version: "1.0.0", state: "idle" });
    expect(second.fetched.count).toBe(0);
  });

  it("a version that failed is still not tried, and the good one runs", async () => {
    const one = await pack(pythonPlugin(""));
    const two = await pack(pythonPlugin("sys.exit(3)", v("1.1.0")));
    const first = await started([one, two]);
    await first.bring(wish(one));
    await first.bring(wish(two));
    await first.host.stop();
    const second = await started([one, two], { dir: first.dir });
    await second.host.settled();
    expect(statusOf(second)).toMatchObject({ version: "1.0.0", state: "running", last_failed: { version: "1.1.0" } });
    expect(second.fetched.count).toBe(0);
  });

  it("what a publisher signed who is trusted no longer is not run", async () => {
    const packed = await pack(shellPlugin(SAY));
    const first = await started([packed]);
    await first.bring(wish(packed));
    await first.host.stop();
    const second = await started([packed], { dir: first.dir, trustedKeys: [] });
    await second.host.settled();
    expect(statusOf(second)).toMatchObject({ state: "failed" });
    expect(statusOf(second)?.last_failed?.reason).toContain("unknown publisher");
  });
});
