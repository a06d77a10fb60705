import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { quietLog } from "../quiet-log.fixture.ts";
import { type Cgroups, openCgroups } from "./cgroup.ts";
import { confineBy } from "./child-limits.ts";
import { runProcess } from "./process-group.ts";

/**
 * Directories stand for the kernel's: what is written into its files is seen, what the kernel would write is written by the test, and a
 * group is taken away with its files.
 */
let root: string;
let proc: string;
const UNIT = "system.slice/agent.service";
const base = () => join(root, UNIT);
const read = (path: string) => readFileSync(join(base(), path), "utf8");

beforeEach(() => {
  const dir = mkdtempSync(join(tmpdir(), "cgroup-"));
  [root, proc] = [join(dir, "cgroup"), join(dir, "proc")];
  mkdirSync(base(), { recursive: true });
  mkdirSync(join(proc, "self"), { recursive: true });
  writeFileSync(join(proc, "self/cgroup"), `0::/${UNIT}\n`);
  writeFileSync(join(root, "cgroup.controllers"), "cpuset cpu io memory pids\n");
  writeFileSync(join(base(), "cgroup.controllers"), "cpu memory pids\n");
  writeFileSync(join(base(), "cgroup.procs"), `${process.pid}\n`);
});
afterEach(() => rmSync(join(root, ".."), { recursive: true, force: true }));

const open = (): Cgroups | null =>
  openCgroups({
    root,
    proc,
    pid: process.pid,
    log: quietLog,
    removeDirectory: (path) => rmSync(path, { recursive: true }),
  });
const opened = (): Cgroups => {
  const cgroups = open();
  if (cgroups === null) throw new Error("no control groups");
  return cgroups;
};

describe("control groups", () => {
  test("are made beside the agent's own, which moves out of the way first", () => {
    opened();
    expect(read("homeostat-agent/cgroup.procs")).toBe(String(process.pid));
    expect(read("cgroup.subtree_control")).toBe("+cpu +memory +pids");
    expect(read("homeostat-commands/cgroup.subtree_control")).toBe("+cpu +memory +pids");
  });

  test("hold the limits of one command", async () => {
    const group = opened().create("one", { cpu_percent: 25, memory_bytes: 67_108_864, pids_max: 50 });
    expect(
      ["cpu.max", "memory.max", "memory.oom.group", "pids.max"].map((file) => read(`homeostat-commands/one/${file}`)),
    ).toEqual(["25000 100000", "67108864", "1", "50"]);
    group.kill();
    expect(read("homeostat-commands/one/cgroup.kill")).toBe("1");
    await group.remove();
    expect(readdirSync(join(base(), "homeostat-commands"))).toEqual(["cgroup.subtree_control"]);
  });

  test("say which limit was reached", () => {
    const group = opened().create("one", { cpu_percent: 25, memory_bytes: 67_108_864, pids_max: 50 });
    const kernelSays = (file: string, text: string) =>
      writeFileSync(join(base(), "homeostat-commands/one", file), text);
    kernelSays("memory.events", "low 0\nmax 9\noom 1\noom_kill 0\noom_group_kill 0\n");
    expect(group.verdict()).toBe("");
    kernelSays("memory.events", "low 0\nmax 9\noom 1\noom_kill 3\noom_group_kill 1\n");
    kernelSays("pids.events", "max 12\n");
    kernelSays("cpu.stat", "usage_usec 5\nnr_periods 4\nnr_throttled 2\n");
    expect(group.verdict()).toBe(
      "it used more than 67108864 bytes of memory, it wanted more than 50 processes, it was held to 25 % of a core",
    );
  });

  test("that an earlier agent left are ended and taken away", async () => {
    const left = join(base(), "homeostat-commands/left");
    mkdirSync(left, { recursive: true });
    opened();
    expect(existsSync(left)).toBe(false);
  });

  test("are found again by an agent that starts in the group that it made for itself", () => {
    opened();
    writeFileSync(join(proc, "self/cgroup"), `0::/${UNIT}/homeostat-agent\n`);
    writeFileSync(join(base(), "cgroup.procs"), "");
    opened();
    expect(existsSync(join(base(), "homeostat-agent/homeostat-agent"))).toBe(false);
  });

  test.each<[string, () => void]>([
    ["cgroup v1 alone", () => writeFileSync(join(proc, "self/cgroup"), "4:memory:/a\n1:name=systemd:/a\n")],
    ["the root of all groups", () => writeFileSync(join(proc, "self/cgroup"), "0::/\n")],
    ["a way out of the tree", () => writeFileSync(join(proc, "self/cgroup"), "0::/../../etc\n")],
    ["others in the agent's group", () => writeFileSync(join(base(), "cgroup.procs"), `${process.pid}\n1\n`)],
    ["no controller of memory", () => writeFileSync(join(base(), "cgroup.controllers"), "cpu pids\n")],
    ["nothing mounted", () => rmSync(root, { recursive: true })],
  ])("are left alone on a host with %s", (_, change) => {
    change();
    expect(open()).toBeNull();
    expect(existsSync(join(base(), "homeostat-agent"))).toBe(false);
  });

  test("are entered by a command before it begins, and taken away after it", async () => {
    const confine = confineBy({ cgroups: opened(), pidsMax: 20 });
    const outcome = await runProcess(
      {
        command: "/bin/sh",
        args: ["-c", 'cat "$1"/*/cgroup.procs; echo $$ "$2"', "sh", join(base(), "homeostat-commands"), "; id"],
      },
      {
        commandId: "c1",
        requestedBy: "somebody",
        signal: new AbortController().signal,
        timeoutMs: 5_000,
        outputBytesMax: 1_000,
        limits: { memory_bytes: 67_108_864 },
        mark: { name: "MARK", value: "m" },
        noteChild: () => undefined,
        output: () => null,
        input: { onData: () => undefined, onResize: () => undefined },
      },
      confine,
    );
    const [entered, itself] = outcome.stdout.split("\n");
    expect(outcome.state).toBe("succeeded");
    expect(itself).toBe(`${entered} ; id`);
    expect(readdirSync(join(base(), "homeostat-commands"))).toEqual(["cgroup.subtree_control"]);
  });

  test("that cannot be entered keep the command from beginning", async () => {
    const confine = confineBy({ cgroups: opened(), pidsMax: 20 });
    const confined = confine({ command: "/bin/echo", args: ["ran"] }, {});
    rmSync(join(base(), "homeostat-commands"), { recursive: true });
    const { spawnSync } = await import("node:child_process");
    const { status, stdout } = spawnSync(confined.command, confined.args, { encoding: "utf8" });
    expect(stdout).toBe("");
    expect(status).not.toBe(0);
  });
});
