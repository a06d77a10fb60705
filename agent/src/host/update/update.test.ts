import { execFileSync } from "node:child_process";
import { createHash, generateKeyPairSync, type KeyObject } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { signRelease } from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AgentSurface } from "../agent-part.ts";
import type { Execution } from "../executor/executor.ts";
import { createExecutorRegistry } from "../executor/registry.ts";
import { quietLog } from "../quiet-log.fixture.ts";
import type { AgentRelease } from "./agent-release.ts";
import { readPending, readUpdateFile, writeUpdateFile } from "./update-files.ts";
import { createUpdatePart, UPDATE_EXECUTOR } from "./update-part.ts";

let dir: string;
let keys: { publicKey: KeyObject; privateKey: KeyObject };
let restarts: string[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "agent-release-"));
  for (const name of ["update/bad", "versions", "made"]) mkdirSync(join(dir, name), { recursive: true });
  keys = generateKeyPairSync("ed25519");
  restarts = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A release whose `probe` does this. */
const made = (version: string, probe: string, inside = version): Buffer => {
  const root = join(dir, "made", version);
  mkdirSync(join(root, "bin"), { recursive: true });
  writeFileSync(join(root, "package.json"), JSON.stringify({ version: inside, type: "module" }));
  writeFileSync(join(root, "bin", "homeostat-agent.mjs"), probe);
  return execFileSync("tar", ["-C", root, "-czf", "-", "bin", "package.json"]);
};
const released = (version: string, artefact: Buffer, key: KeyObject = keys.privateKey): AgentRelease => {
  const sha256 = createHash("sha256").update(artefact).digest("hex");
  const manifest = { name: "homeostat-agent", version } as Parameters<typeof signRelease>[0]["manifest"];
  const { key_id, signature, size_bytes } = signRelease({ manifest, sha256, sizeBytes: artefact.length }, key);
  return { version, sha256, size_bytes, key_id, signature };
};
const partFor = async (artefact: Buffer, version = "1.0.0", now = Date.now) => {
  const executors = createExecutorRegistry();
  const handOver = async () => undefined;
  const surface = { dir, executors, log: quietLog, now, handOver } as unknown as AgentSurface;
  const trusted = keys.publicKey.export({ type: "spki", format: "pem" }).toString();
  const part = createUpdatePart({
    surface,
    config: { trusted_keys: [trusted], healthy_within_ms: 60_000 },
    configFile: join(dir, "agent.yaml"),
    version,
    fetch: async (_, offset, length) => artefact.subarray(offset, offset + length),
    restart: (why) => restarts.push(why),
    onKept: null,
  });
  await part.start();
  return { part, executors };
};
const executorFor = async (artefact: Buffer) => {
  const executor = (await partFor(artefact)).executors.get(UPDATE_EXECUTOR);
  if (executor === undefined) throw new Error("no executor");
  return executor;
};
const execution = { commandId: "j.1", signal: new AbortController().signal } as unknown as Execution;
const run = async (release: AgentRelease, artefact: Buffer): Promise<{ message: string } | "restarts"> => {
  const prepared = (await executorFor(artefact)).prepare(release);
  if ("refused" in prepared) return { message: prepared.refused };
  const outcome = prepared.run(execution);
  const restarted = (async () => {
    while (restarts.length === 0) await new Promise((resolve) => setImmediate(resolve));
    return "restarts" as const;
  })();
  const first = await Promise.race([outcome, restarted]);
  restarts.push("end");
  return first;
};
const nothingIsReady = () => {
  expect(readUpdateFile(dir, "next")).toBe("");
  expect(readPending(dir)).toBeNull();
};

describe("agent.update", () => {
  test("puts a good release ready, notes whose command it was, and gives way to the supervisor", async () => {
    const artefact = made("2.0.0", `process.stdout.write("2.0.0\\n");`);
    expect(await run(released("2.0.0", artefact), artefact)).toBe("restarts");
    expect(readUpdateFile(dir, "next")).toBe("2.0.0");
    expect(readPending(dir)).toEqual({ command_id: "j.1", version: "2.0.0", from: "1.0.0" });
    expect(readFileSync(join(dir, "versions", "2.0.0", "package.json"), "utf8")).toContain("2.0.0");
  });

  test.each([
    ["fails its probe", `process.stderr.write("no way\\n"); process.exit(1);`, "2.0.0", "its probe failed: no way"],
    ["says that it is another", `process.stdout.write("3.0.0\\n");`, "2.0.0", "its probe says that it is 3.0.0"],
    ["holds another version", "", "3.0.0", "its artefact holds version 3.0.0, not 2.0.0"],
  ] as const)("does not try a release that %s", async (_, probe, inside, message) => {
    const artefact = made("2.0.0", probe, inside);
    expect(await run(released("2.0.0", artefact), artefact)).toMatchObject({
      message: `2.0.0 is not tried: ${message}`,
    });
    nothingIsReady();
  });

  test("leaves nothing of bytes that are not those that were signed", async () => {
    const artefact = made("2.0.0", "");
    const altered = Buffer.from(artefact);
    altered[20] = (altered[20] ?? 0) ^ 1;
    expect(await run(released("2.0.0", artefact), altered)).toMatchObject({
      message: expect.stringContaining("SHA-256"),
    });
    expect(readdirSync(join(dir, "versions"))).toEqual([]);
    nothingIsReady();
  });

  test.each([
    ["a key that it does not trust", () => generateKeyPairSync("ed25519").privateKey, {}, "unknown publisher"],
    ["the signature of another version", () => keys.privateKey, { version: "9.9.9" }, "the signature does not match"],
    ["the version that runs", () => keys.privateKey, { version: "1.0.0" }, "not to be trusted"],
  ] as const)("refuses %s before it fetches anything", async (_, key, changes, refusal) => {
    const artefact = made("2.0.0", "");
    const prepared = (await executorFor(artefact)).prepare({ ...released("2.0.0", artefact, key()), ...changes });
    expect(prepared).toEqual({ refused: expect.stringContaining(refusal) });
  });

  test("refuses a version that has failed here before, with the reason", async () => {
    const artefact = made("2.0.0", "");
    writeUpdateFile(dir, "bad/2.0.0", "it ended with 3 before it was healthy");
    const prepared = (await executorFor(artefact)).prepare(released("2.0.0", artefact));
    expect(prepared).toEqual({ refused: "2.0.0 has failed here before: it ended with 3 before it was healthy" });
    expect(existsSync(join(dir, "versions", "2.0.0"))).toBe(false);
  });

  test("tells for a day of the version that was taken back, or until a later one runs", async () => {
    writeUpdateFile(dir, "bad/2.0.0", "it ended with 3 before it was healthy");
    const problems = async (version: string, now = Date.now) =>
      (await partFor(Buffer.alloc(0), version, now)).part.problems?.();
    const told = "update: version 2.0.0 was tried and taken back: it ended with 3 before it was healthy";
    expect(await problems("1.0.0")).toEqual([told]);
    expect(await problems("2.0.1")).toEqual([]);
    expect(await problems("1.0.0", () => Date.now() + 25 * 3_600_000)).toEqual([]);
  });
});
