import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { Packed } from "../../control/plugins/pack.ts";
import { markedProcesses } from "../executor/marked-processes.ts";
import { openHost, pack, publisher, pythonPlugin, statusOf, temporary } from "./plugin.fixture.ts";
import { PLUGIN_MARK } from "./plugin-process.ts";

/** More than a piece, and nothing that could be compressed away. */
const BALLAST = randomBytes(300_000).toString("base64");

/** Goes on when its stdin has ended, and heeds no SIGTERM: what an agent that is killed leaves behind. */
const stubborn = pythonPlugin(`import signal, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=lambda: time.sleep(1000)).start()`);

const startAgent = (packed: Packed, dir: string, at: string) => {
  const told = { ...packed, artefact: packed.artefact.toString("base64") };
  const publisherPem = publisher.publicKey.export({ type: "spki", format: "pem" });
  writeFileSync(join(dir, "told.json"), JSON.stringify({ ...told, publisher: publisherPem }));
  const program = fileURLToPath(new URL("./plugin-process.fixture.ts", import.meta.url));
  return spawn(process.execPath, [program, dir, join(dir, "told.json"), at], { stdio: ["ignore", "pipe", "inherit"] });
};

const orphansOf = (dir: string): number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => markOf(pid).startsWith(`${PLUGIN_MARK}=`) && cwdOf(pid).startsWith(dir));

const readQuietly = (read: () => string): string => {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && "code" in error) return "";
    throw error;
  }
};
const cwdOf = (pid: number) => readQuietly(() => readlinkSync(`/proc/${pid}/cwd`));
const markOf = (pid: number) =>
  readQuietly(() => readFileSync(`/proc/${pid}/environ`, "utf8"))
    .split("\0")
    .find((one) => one.startsWith(PLUGIN_MARK)) ?? "";

/** The next agent on what the killed one left. */
const recover = async (packed: Packed, dir: string) => {
  const before = orphansOf(dir);
  const test = openHost([packed], { dir });
  await test.host.start();
  for (const pid of before) await expect.poll(() => orphansOf(dir)).not.toContain(pid);
  await test.host.settled();
  return test;
};

const expectWhole = (test: Awaited<ReturnType<typeof recover>>, { release }: Packed) => {
  expect(statusOf(test)).toMatchObject({ version: "1.0.0", state: "running", last_failed: null });
  const directory = `1.0.0-${release.sha256.slice(0, 12)}`;
  expect(readdirSync(join(test.dir, "plugins/demo")).sort()).toEqual([directory, "current", "state.json"]);
  expect(readlinkSync(join(test.dir, "plugins/demo/current"))).toBe(directory);
  expect(readdirSync(join(test.dir, "plugins/.tmp"))).toEqual([]);
};

describe("an agent that is killed", () => {
  it.each(["fetch", "unpacked", "start", "well"])(
    "while a plugin is installed (%s) leaves nothing that hurts the next one",
    async (at) => {
      const packed = await pack({ ...stubborn, files: { ...stubborn.files, ballast: BALLAST } });
      const dir = temporary();
      const [, signal] = await once(startAgent(packed, dir, at), "exit");
      expect(signal).toBe("SIGKILL");
      expectWhole(await recover(packed, dir), packed);
    },
  );

  it("at any moment leaves nothing that hurts the next one", async () => {
    const packed = await pack({ ...stubborn, files: { ...stubborn.files, ballast: BALLAST } });
    for (const afterMs of [200, 350, 500]) {
      const dir = temporary();
      const agent = startAgent(packed, dir, "never");
      // Whatever it was doing then: what is expected afterwards is the same.
      await Promise.race([delay(afterMs), once(agent, "exit")]);
      agent.kill("SIGKILL");
      if (agent.exitCode === null && agent.signalCode === null) await once(agent, "exit");
      const test = await recover(packed, dir);
      if (test.host.status().length === 0) await test.bring();
      else expectWhole(test, packed);
      await test.host.stop();
    }
  });

  it("with a plugin that runs: its processes are ended before the next one starts its own", async () => {
    const packed = await pack(stubborn);
    const dir = temporary();
    const agent = startAgent(packed, dir, "never");
    await once(agent.stdout, "data");
    const [orphan, ...others] = orphansOf(dir);
    expect(others).toEqual([]);
    agent.kill("SIGKILL");
    await once(agent, "exit");
    expect(orphansOf(dir)).toEqual([orphan]);
    const test = await recover(packed, dir);
    expect(orphansOf(dir)).not.toContain(orphan);
    expect(orphansOf(dir)).toHaveLength(1);
    await test.host.stop();
    expect(orphansOf(dir)).toEqual([]);
    expect(markedProcesses("/proc", `${PLUGIN_MARK}=nobody`)).toEqual([]);
  });

  it("again and again while a new version is on trial gives that version up", async () => {
    const packed = await pack(stubborn);
    const dir = temporary();
    for (let time = 0; time < 3; time++) await once(startAgent(packed, dir, "start"), "exit");
    const test = await recover(packed, dir);
    expect(statusOf(test)).toMatchObject({
      state: "failed",
      last_failed: { reason: "the agent ended 3 times while it was on trial" },
    });
  });
});
