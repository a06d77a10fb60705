import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const ROOT = "/sys/fs/cgroup";
const CONTROLLERS = ["cpu", "memory", "pids"];
const GROUP = join(ROOT, `homeostat-test-${process.pid}`);

/** Where control groups (v2) with these controllers are, and ours to make: as root, on a host that is not of the old kind. */
const isThere = (): boolean => {
  const file = join(ROOT, "cgroup.controllers");
  if (process.getuid?.() !== 0 || !existsSync(file)) return false;
  const there = readFileSync(file, "utf8").split(/\s+/);
  return CONTROLLERS.every((one) => there.includes(one));
};

const remove = (path: string): void => {
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) remove(join(path, entry.name));
  rmdirSync(path);
};

const FIXTURE = fileURLToPath(new URL("./kernel-groups.fixture.ts", import.meta.url));
const SUPERVISOR = fileURLToPath(new URL("../../../bin/homeostat-agent.sh", import.meta.url));

const expectHeld = (lines: readonly string[]): void =>
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { name: "modest", state: "succeeded", message: "", stdout: "hello\n" },
    { name: "memory", state: "failed", message: expect.stringContaining("more than 33554432 bytes of memory") },
    { name: "processes", state: "failed", message: expect.stringContaining("more than 20 processes") },
    { name: "cpu", state: "succeeded", stdout: "held\n" },
    { name: "daemon", state: "succeeded" },
    { left: 0 },
  ]);

describe.skipIf(!isThere())("the kernel's own control groups", () => {
  beforeEach(() => writeFileSync(join(ROOT, "cgroup.subtree_control"), CONTROLLERS.map((one) => `+${one}`).join(" ")));
  afterEach(async () => {
    await expect.poll(() => readFileSync(join(GROUP, "cgroup.events"), "utf8")).toContain("populated 0");
    remove(GROUP);
  });

  test("hold each command to its limits, say which it met, and take all of it away", async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [FIXTURE, GROUP]);
    expectHeld(stdout.trim().split("\n"));
  }, 120_000);

  test("are there for an agent below its supervisor, which alone was put into a group", async () => {
    const dir = mkdtempSync(join(tmpdir(), "kernel-groups-"));
    mkdirSync(join(dir, "bin"));
    writeFileSync(join(dir, "bin/homeostat-agent.mjs"), `import ${JSON.stringify(FIXTURE)};`);
    mkdirSync(GROUP);
    const enter = 'echo $$ >"$0/cgroup.procs" && exec /bin/sh "$@"';
    const args = ["-c", enter, GROUP, SUPERVISOR, process.execPath, dir, join(dir, "agent.yaml"), dir, "5"];
    const supervisor = spawn("/bin/sh", args, { stdio: ["ignore", "pipe", "inherit"] });
    const lines: string[] = [];
    for await (const line of createInterface(supervisor.stdout)) {
      lines.push(line);
      if (line.includes("left")) break;
    }
    supervisor.kill("SIGTERM");
    await once(supervisor, "exit");
    expectHeld(lines);
    rmSync(dir, { recursive: true });
  }, 120_000);
});
