import { generateKeyPairSync } from "node:crypto";
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pluginPart } from "@homeostat/agent";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ControlApi, openControlApi } from "./control-api.fixture.ts";
import { EXIT } from "./exit-code.ts";

const publisher = generateKeyPairSync("ed25519");
const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" });
let at: ControlApi;
/** Of the publisher. */
let key: string;

beforeAll(async () => {
  at = await openControlApi({ pluginKeys: [publisher.publicKey] });
  key = fileOf("publisher.pem", publisher.privateKey.export({ type: "pkcs8", format: "pem" }).toString());
});
afterAll(() => at.close());

const fileOf = (name: string, text: string): string => {
  const path = join(at.dir, name);
  writeFileSync(path, text);
  return path;
};

const folderOf = (name: string, mode = 0o755): string => {
  const folder = join(at.dir, name);
  mkdirSync(folder);
  const show = { name: `${name}.show`, risk: "read_only", args_schema: { type: "object", properties: {} } };
  const manifest = { name, version: "1.0.0", kind: "static", run: { command: "run.sh" }, executors: [show] };
  writeFileSync(join(folder, "plugin.json"), JSON.stringify(manifest));
  writeFileSync(join(folder, "run.sh"), "#!/bin/sh\n");
  chmodSync(join(folder, "run.sh"), mode);
  return folder;
};

const packed = async (name: string): Promise<string> => {
  const artefact = join(at.dir, `${name}.tar.gz`);
  await at.run(`plugins pack ${folderOf(name)} --key ${key} --out ${artefact}`);
  return artefact;
};

describe("plugins publish", () => {
  it("says published of what is published, and of nothing else that has its version", async () => {
    const artefact = await packed("watch");
    expect((await at.run(`plugins publish ${artefact}`)).out).toBe("published watch 1.0.0");
    expect(await at.run(`plugins publish ${artefact}`)).toEqual({ code: 0, out: "published watch 1.0.0", err: "" });

    const release = readFileSync(`${artefact}.release.json`, "utf8");
    const riskier = fileOf("riskier.json", release.replace("read_only", "reversible"));
    expect(await at.run(`plugins publish ${artefact} --release ${riskier}`)).toMatchObject({
      code: EXIT.refused,
      out: "",
      err: expect.stringContaining('risk is "read_only" there, "reversible" here'),
    });
    appendFileSync(artefact, "x");
    expect(await at.run(`plugins publish ${artefact}`)).toMatchObject({
      code: EXIT.calledWrongly,
      out: "",
      err: expect.stringMatching(/watch 1\.0\.0: the artefact has \d+ bytes, the release says \d+/),
    });
  });

  it("names the release that cannot be read", async () => {
    const artefact = await packed("unread");
    const broken = fileOf("broken.release.json", "{");
    await expect(at.run(`plugins publish ${artefact} --release ${broken}`)).rejects.toThrow(`${broken}: want JSON`);
  });
});

describe("plugins pack", () => {
  it("packs no command that nobody may execute", async () => {
    const out = join(at.dir, "never.tar.gz");
    const folder = folderOf("never", 0o644);
    await expect(at.run(`plugins pack ${folder} --key ${key} --out ${out}`)).rejects.toThrow(
      `${folder}: its command run.sh is not executable`,
    );
    expect(existsSync(out)).toBe(false);
  });

  it("says which key it wants, and which file is none", async () => {
    const folder = folderOf("keyless");
    const spki = { type: "spki", format: "pem" } as const;
    const files = [
      [fileOf("publisher.pub.pem", publisher.publicKey.export(spki).toString()), "this is a public one"],
      [fileOf("ec.pem", stranger.privateKey.export({ type: "pkcs8", format: "pem" }).toString()), "this one is for ec"],
      [fileOf("empty.pem", ""), "want a private Ed25519 key in PEM"],
    ] as const;
    for (const [path, why] of files) {
      const attempt = at.run(`plugins pack ${folder} --key ${path}`);
      await expect(attempt, path).rejects.toThrow(`${path}: want a private Ed25519 key in PEM`);
      await expect(attempt, path).rejects.toThrow(why);
    }
  });
});

describe("plugins wish", () => {
  it.each([
    ["empty", "", "want JSON: it is empty"],
    ["broken", "{ interval: ", "want JSON: "],
    ["a list", "[]", "expected record"],
  ])("names a configuration that is %s", async (name, text, why) => {
    const path = fileOf(`${name.replace(" ", "-")}.json`, text);
    const attempt = at.run(`plugins wish cpu --on web-1 --config ${path}`);
    await expect(attempt).rejects.toThrow(path);
    await expect(attempt).rejects.toThrow(why);
  });

  it("to disable says that it is disabled", async () => {
    expect((await at.run("plugins wish cpu --disable --on web-9")).out).toBe("cpu is disabled on web-9");
    expect((await at.run("plugins wish memory --on web-9")).out).toBe("memory, as it ships with the agent, on web-9");
    expect((await at.run("plugins list")).out).toMatch(/^cpu +the agent's +web-9 +disabled/m);
  });
});

describe("plugins status", () => {
  it("tells what is wished and not there yet from what nobody has heard of", async () => {
    await at.run(`plugins publish ${await packed("early")}`);
    expect(await at.run("plugins status early")).toMatchObject({
      code: 0,
      out: "early is published, and wished nowhere",
    });
    expect((await at.run("plugins wish early --version 1.0.0 --on web-1")).out).toBe("early 1.0.0 on web-1");
    expect(await at.run("plugins status early")).toEqual({
      code: 0,
      out: "wished, and not there yet: early 1.0.0 on web-1",
      err: "",
    });
    expect(await at.run("plugins status earyl")).toMatchObject({
      code: 1,
      out: "",
      err: expect.stringContaining("no plugin earyl"),
    });
    expect(await at.run("plugins status earyl --json")).toMatchObject({ code: 1, out: '{"plugins":[]}' });
  });

  it("shows what hosts tell of, and beside it what of the names that were given they do not", async () => {
    const fetch = () => Promise.reject(new Error("nothing is fetched here"));
    const plugins = pluginPart({ fetch, trustedKeys: [], version: "1.0.0" });
    const agent = at.agent("web-2", {}, { parts: (surface) => [plugins(surface)] });
    await agent.start();
    try {
      await expect.poll(() => at.control.agents()[0]?.plugins.length).toBeGreaterThan(0);
      const { code, out, err } = await at.run("plugins status cpu load nothing-such");
      expect([code, err]).toEqual([1, expect.stringContaining("no plugin nothing-such")]);
      expect(out).toMatch(/^web-2 +cpu .*\nweb-2 +load /m);
    } finally {
      await agent.stop();
    }
  });
});
