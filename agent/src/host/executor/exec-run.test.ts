import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { DeclaredCommand } from "../config.ts";
import { confineBy } from "./child-limits.ts";
import { execRun } from "./exec-run.ts";
import type { Execution } from "./executor.ts";

const confine = confineBy({ cgroups: null, pidsMax: 100 });
const declare = (options: Record<string, unknown>) => DeclaredCommand.parse({ name: "c", ...options });
const node = (script: string, options: Record<string, unknown> = {}) =>
  declare({ command: process.execPath, args: ["-e", script], ...options });
const within = (options: Partial<Execution> = {}): Execution => ({
  commandId: "c1",
  requestedBy: "somebody",
  timeoutMs: 60_000,
  limits: {},
  output: () => null,
  input: { onData: () => undefined, onResize: () => undefined },
  signal: new AbortController().signal,
  outputBytesMax: 1000,
  mark: { name: "MARK", value: "m" },
  noteChild: () => undefined,
  ...options,
});
const run = async (command: DeclaredCommand, options: { args?: unknown; execution?: Execution } = {}) => {
  const prepared = execRun([command], confine).prepare({ name: "c", args: options.args ?? {} });
  if ("refused" in prepared) throw new Error(prepared.refused);
  return prepared.run(options.execution ?? within());
};

test("passes each value as one argument, through no shell", async () => {
  const command = declare({
    command: "/usr/bin/printf",
    args: ["[%s]", "literal $HOME", "{what}", "--size={size}"],
    params: { what: { type: "string" }, size: { type: "integer", min: 1, max: 9 } },
  });
  const outcome = await run(command, { args: { what: "a b; rm -rf / $(id) `id` {size}", size: 3 } });
  expect(outcome).toMatchObject({
    state: "succeeded",
    exitCode: 0,
    stdout: "[literal $HOME][a b; rm -rf / $(id) `id` {size}][--size=3]",
  });
});

const PARAMS = {
  mode: { type: "string", enum: ["soft", "hard"] },
  id: { type: "string", pattern: "[a-z]{1,3}" },
  free: { type: "string" },
  count: { type: "integer", min: 1, max: 5 },
};
const GOOD = { mode: "soft", id: "abc", free: "x", count: 1 };

test.each([
  ["a value that is not listed", { ...GOOD, mode: "other" }],
  ["a value that matches only in part", { ...GOOD, id: "abc; id" }],
  ["a value that would become an option", { ...GOOD, free: "--output=/etc/passwd" }],
  ["a line behind what matches", { ...GOOD, id: "abc\nrm" }],
  ["a line end behind what matches", { ...GOOD, id: "abc\n" }],
  ["a NUL byte", { ...GOOD, free: "a\0b" }],
  ["a number out of range", { ...GOOD, count: 6 }],
  ["a number that is none", { ...GOOD, count: "1" }],
  ["a missing value", { mode: "soft", id: "abc", free: "x" }],
  ["a value that was not declared", { ...GOOD, extra: "x" }],
  ["an object for a string", { ...GOOD, free: { toString: "x" } }],
])("refuses %s", (_, args) => {
  const executor = execRun([declare({ command: "/bin/true", params: PARAMS })], confine);
  expect(executor.prepare({ name: "c", args: GOOD })).not.toHaveProperty("refused");
  expect(executor.prepare({ name: "c", args })).toHaveProperty("refused");
});

test("is as dangerous as what it is asked for is declared to be, and at most as the worst that is declared", () => {
  const commands = [
    declare({ name: "look", command: "/bin/true", risk: "read_only" }),
    declare({ name: "wipe", command: "/bin/true", risk: "destructive" }),
    declare({ name: "plain", command: "/bin/true" }),
  ];
  const executor = execRun(commands, confine);
  const risks = commands.map(({ name }) => executor.prepare({ name }));
  expect(executor.risk).toBe("destructive");
  expect(risks).toMatchObject([{ risk: "read_only" }, { risk: "destructive" }, { risk: "reversible" }]);
  expect(execRun([], confine).risk).toBe("read_only");
});

test("refuses a command that is not declared, and a template with an undeclared placeholder", () => {
  expect(execRun([], confine).prepare({ name: "c" })).toHaveProperty("refused");
  expect(DeclaredCommand.safeParse({ name: "c", command: "/bin/true", args: ["{x}"] }).success).toBe(false);
  expect(DeclaredCommand.safeParse({ name: "c", command: "true" }).success).toBe(false);
});

test("gives nothing of the agent's environment to the child", async () => {
  process.env.AGENT_SECRET = "s3cret";
  const outcome = await run(node("console.log(JSON.stringify(process.env))"));
  expect(Object.keys(JSON.parse(outcome.stdout)).sort()).toEqual(["LANG", "MARK", "PATH"]);
});

test("reports a failing exit code with what the command said", async () => {
  const outcome = await run(node("console.error('no such thing'); process.exit(3)"));
  expect(outcome).toMatchObject({ state: "failed", exitCode: 3, stderr: "no such thing\n" });
});

test("reports a program that is not there", async () => {
  expect(await run(declare({ command: "/no/such/program" }))).toMatchObject({ state: "failed", exitCode: null });
});

test("keeps the head of long output, and lets a command with much output finish", async () => {
  const outcome = await run(node("process.stdout.write('x'.repeat(200000))"));
  expect(outcome).toMatchObject({ state: "succeeded", isOutputTruncated: true, stdout: "x".repeat(1000) });
});

test("ends a command that writes without end", async () => {
  const outcome = await run(declare({ command: "/usr/bin/yes" }));
  expect(outcome).toMatchObject({ state: "failed", message: expect.stringContaining("without end") });
});

/** A zombie has ended: whether somebody fetches it is up to the machine. */
const isAlive = (pid: number) => {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
};
const untilGone = async (pid: number) => {
  while (isAlive(pid)) await delay(5);
};

test("ends a child that ignores TERM, with its whole group, when its time is over", async () => {
  const script = `
    process.on("SIGTERM", () => {});
    const child = require("node:child_process").spawn(process.execPath, ["-e", "process.on('SIGTERM',()=>{});setInterval(()=>{},1000);console.log('up')"], { stdio: ["ignore", "pipe", "inherit"] });
    child.stdout.once("data", () => console.log(JSON.stringify([process.pid, child.pid])));
    setInterval(() => {}, 1000);`;
  const timeout = new AbortController();
  // As soon as it has told both pids.
  const output = () => {
    timeout.abort();
    return null;
  };
  const outcome = await run(node(script), { execution: within({ signal: timeout.signal, output }) });
  expect(outcome.state).toBe("failed");
  const pids = JSON.parse(outcome.stdout) as number[];
  expect(pids).toHaveLength(2);
  for (const pid of pids) await untilGone(pid);
});

test("does not wait for a grandchild that holds the output open, and ends it", async () => {
  const script = `
    const child = require("node:child_process").spawn("/bin/sleep", ["1000"], { stdio: "inherit" });
    console.log(child.pid); process.exit(0)`;
  const outcome = await run(node(script));
  expect(outcome.state).toBe("succeeded");
  await untilGone(Number(outcome.stdout));
});
