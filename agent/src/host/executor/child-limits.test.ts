import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { DeclaredCommand } from "../config.ts";
import { confineBy, lesserLimits } from "./child-limits.ts";
import { execRun } from "./exec-run.ts";
import type { Execution } from "./executor.ts";

const byUlimit = confineBy({ cgroups: null, pidsMax: 100 });
const within = (options: Partial<Execution>): Execution => ({
  commandId: "c1",
  requestedBy: "somebody",
  signal: new AbortController().signal,
  timeoutMs: 10_000,
  outputBytesMax: 10_000,
  limits: {},
  mark: { name: "MARK", value: "m" },
  noteChild: () => undefined,
  output: () => null,
  input: { onData: () => undefined, onResize: () => undefined },
  ...options,
});
const run = async (command: string, args: readonly string[], options: Partial<Execution>) => {
  const prepared = execRun([DeclaredCommand.parse({ name: "c", command, args })], byUlimit).prepare({ name: "c" });
  if ("refused" in prepared) throw new Error(prepared.refused);
  return prepared.run(within(options));
};

describe("a command with limits, where there are no control groups", () => {
  test("that wants more memory than it may have fails, and the result says why", async () => {
    // awk doubles a string until it has no more memory.
    const hog = ['BEGIN { s = "0123456789abcdef"; while (length(s) < 1e9) s = s s; print length(s) }'];
    const outcome = await run("/usr/bin/awk", hog, { limits: { memory_bytes: 64 * 1_048_576 } });
    expect(outcome).toMatchObject({ state: "failed", stdout: "" });
    expect(outcome.message).toContain("more than 67108864 bytes of memory");
  });

  test("that uses more than its share of CPU time is ended, and the result says why", async () => {
    const outcome = await run("/bin/sh", ["-c", "while :; do :; done"], {
      timeoutMs: 2_000,
      limits: { cpu_percent: 50 },
    });
    expect(outcome).toMatchObject({ state: "failed", exitCode: null });
    expect(outcome.message).toContain("more than 1 s of CPU time");
  });

  test("gives way to everything else", async () => {
    const outcome = await run("/bin/cat", ["/proc/self/stat"], { limits: { cpu_percent: 50 } });
    const nice = (stat: string) => Number(stat.slice(stat.lastIndexOf(")")).split(" ")[17]);
    expect(nice(outcome.stdout)).toBe(Math.min(19, nice(readFileSync("/proc/self/stat", "utf8")) + 10));
  });

  test("gets its arguments as they are: none of them reaches the shell that sets the limits", async () => {
    const args = ["$(id)", "`id`", "; id", "-n", "a b", "", "'\"\\", "*", "line\nbreak", "$0", "$IFS", "é\u0001"];
    const outcome = await run("/usr/bin/printf", ["[%s]", ...args], { limits: { memory_bytes: 512 * 1_048_576 } });
    expect(outcome).toMatchObject({ state: "succeeded", stdout: args.map((arg) => `[${arg}]`).join("") });
  });

  test("runs as it stands when nothing limits it", () => {
    expect(byUlimit({ command: "/bin/true", args: ["a"] }, {})).toMatchObject({ command: "/bin/true", args: ["a"] });
  });
});

test("of two limits the lesser counts", () => {
  expect(lesserLimits({ cpu_percent: 10 }, { cpu_percent: 20, memory_bytes: 5_000_000 })).toEqual({
    cpu_percent: 10,
    memory_bytes: 5_000_000,
  });
  expect(lesserLimits({}, {})).toEqual({});
});
