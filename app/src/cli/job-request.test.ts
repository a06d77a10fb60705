import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { EXIT_CODES, exitCodeOf } from "./exit-code.ts";
import { HostOutput } from "./host-output.ts";
import { jobRequestOf } from "./job-request.ts";
import { progressText } from "./progress-line.ts";
import { table } from "./style.ts";
import { UsageError } from "./verb.ts";

const flags = (changes: object = {}) => ({ all: false, on: ["web-1"], reason: "", ...changes });

describe("what is asked for at the command line", () => {
  it.each([
    {
      name: "a plain word is a declared command",
      what: "disk-report",
      asks: { executor: "exec.run", args: { name: "disk-report", args: {} } },
    },
    {
      name: "a name with a dot is an executor",
      what: "service.restart",
      with: { arg: ["service=shop"] },
      asks: { executor: "service.restart", args: { service: "shop" } },
    },
    {
      name: "numbers and truths are what they look like",
      what: "a.b",
      with: { arg: ["n=5", "x=1.5", "yes=true", "t=a=b", 'id="007"', "z=007"] },
      asks: { args: { n: 5, x: 1.5, yes: true, t: "a=b", id: "007", z: "007" } },
    },
    {
      name: "--arg is stronger than --args",
      what: "a.b",
      with: { args: '{"a":1,"b":2}', arg: ["b=3"] },
      asks: { args: { a: 1, b: 3 } },
    },
    {
      name: "hosts come once",
      what: "a",
      with: { on: ["web-1,web-2", "web-1"] },
      asks: { targets: { hosts: ["web-1", "web-2"] } },
    },
    {
      name: "--all is every label",
      what: "a",
      with: { on: undefined, all: true, percent: "33.3" },
      asks: { targets: { labels: "*", percent: 33.3 } },
    },
    {
      name: "times and limits",
      what: "a",
      with: { timeout: "30s", expires: "2h", cpu: "50", memory: "512M" },
      asks: { timeout_ms: 30_000, expires_ms: 7_200_000, limits: { cpu_percent: 50, memory_bytes: 536_870_912 } },
    },
    {
      name: "batches",
      what: "a",
      with: { "no-ramp": true, concurrency: "7", "max-errors": "3" },
      asks: { batch: { ramp: false, concurrency_max: 7, errors_max: 3 } },
    },
  ])("$name", ({ what, with: given = {}, asks }) => {
    expect(jobRequestOf(what, flags(given))).toMatchObject(asks);
  });

  it.each([
    [{ on: undefined }, "say on which hosts"],
    [{ all: true }, "--all is everybody"],
    [{ percent: "0" }, "--percent 0"],
    [{ percent: "101" }, "--percent 101"],
    [{ concurrency: "1.5" }, "--concurrency 1.5: want a whole number"],
    [{ timeout: "soon" }, "--timeout soon"],
    [{ timeout: "0s" }, "--timeout 0s: want at least 1s"],
    [{ timeout: "2h" }, "--timeout 2h: want at most 60m"],
    [{ expires: "2d" }, "--expires 2d: want at most 24h"],
    [{ memory: "1K" }, "--memory 1K: want at least 4M"],
    [{ on: [""], site: "berlin" }, '--on "": want HOST[,HOST…]'],
    [{ on: [" ,"], labels: "role=web" }, '--on " ,": want HOST[,HOST…]'],
    [{ arg: ["novalue"] }, "--arg novalue: want NAME=VALUE"],
    [{ args: "[1]" }, "--args [1]: want a JSON object"],
    [{ memory: "lots" }, "--memory lots"],
    [{ risk: "some" }, "--risk some: want one of"],
    [{ ramp: true, "no-ramp": true }, "not both"],
  ])("is called wrongly with %j", (given, says) => {
    const call = () => jobRequestOf("a", flags(given));
    expect(call).toThrow(UsageError);
    expect(call).toThrow(says);
  });
});

describe("the exit code of a job", () => {
  it.each([
    { state: "succeeded", counts: { succeeded: 3 }, code: 0 },
    { state: "failed", counts: { succeeded: 2, failed: 1 }, code: 1 },
    { state: "failed", counts: { succeeded: 2, timed_out: 1 }, code: 1 },
    { state: "cancelled", counts: { cancelled: 3 }, code: 1 },
    { state: "failed", counts: { failed: 5, lost: 1 }, code: 3 },
    { state: "rejected", counts: {}, code: 4 },
    { state: "failed", counts: { refused: 3 }, code: 4 },
    { state: "failed", counts: { refused: 2, succeeded: 1 }, code: 1 },
    { state: "failed", counts: { expired: 3 }, code: 5 },
    { state: "expired", counts: {}, code: 5 },
  ] as const)("is $code when it $state with $counts", ({ state, counts, code }) => {
    expect(exitCodeOf({ state, hosts: [] }, counts)).toBe(code);
  });

  it("is told in the docs as in the help", () => {
    const page = readFileSync("docs/COMMANDS.md", "utf8");
    const rows = [...page.matchAll(/^\| (\d+) +\| (.+?) +\|$/gm)].map(([, code, meaning]) => [Number(code), meaning]);
    expect(rows.map(([code, meaning]) => [code, String(meaning).replaceAll("`", "")])).toEqual(EXIT_CODES);
  });
});

describe("what hosts say", () => {
  const printed = (hasPrefixes: boolean) => {
    const lines: string[] = [];
    const out = (line: string) => void lines.push(line);
    return { lines, output: new HostOutput({ hasPrefixes, isRaw: false, out, err: (line) => out(`! ${line}`) }) };
  };
  const base64 = (text: string | Buffer) => Buffer.from(text).toString("base64");
  const result = (stdout: string, stderr = "") => ({ stdout, stderr, output_truncated: false });

  it("is printed once, whether it came in pieces, with the result, or both", () => {
    const { lines, output } = printed(true);
    output.piece({ host: "a", stream: "stdout", sequence: 0, data: base64("one\ntw") });
    output.piece({ host: "b", stream: "stdout", sequence: 0, data: base64("other\n") });
    output.piece({ host: "a", stream: "stdout", sequence: 0, data: base64("one\ntw") });
    output.piece({ host: "a", stream: "stderr", sequence: 1, data: base64("err\n") });
    output.ended("a", result("one\ntwo\nthree", "err\n"));
    output.ended("b", result("other\n"));
    expect(lines).toEqual(["[a] one", "[b] other", "! [a] err", "[a] two", "[a] three"]);
  });

  it("says when some of it was lost, and prints nothing twice for that", () => {
    const { lines, output } = printed(false);
    output.piece({ host: "a", stream: "stdout", sequence: 0, data: base64("one\n") });
    output.piece({ host: "a", stream: "stdout", sequence: 2, data: base64("three\n") });
    output.ended("a", result("one\ntwo\nthree\n"));
    expect(lines).toEqual(["one", "three", expect.stringContaining("lost on the way")]);
  });

  it("keeps characters whole that come in two pieces", () => {
    const { lines, output } = printed(false);
    const bytes = Buffer.from("größe\n");
    output.piece({ host: "a", stream: "stdout", sequence: 0, data: base64(bytes.subarray(0, 3)) });
    output.piece({ host: "a", stream: "stdout", sequence: 1, data: base64(bytes.subarray(3)) });
    expect(lines).toEqual(["größe"]);
  });

  it("is printed once also where it is no text, as of a program that knows only Latin-1", () => {
    const { lines, output } = printed(false);
    const bytes = Buffer.from("größe, Maß\nnächste Zeile\n", "latin1");
    output.piece({ host: "a", stream: "stdout", sequence: 0, data: base64(bytes) });
    output.ended("a", result(bytes.toString("utf8")));
    expect(lines).toEqual(["gr\ufffd\ufffde, Ma\ufffd", "n\ufffdchste Zeile"]);
  });
});

describe("tables and progress", () => {
  it("fits the terminal by cutting the widest column", () => {
    const rows = [
      ["host", "message"],
      ["web-1", "x".repeat(200)],
    ];
    expect(
      Math.max(
        ...table(rows, 40)
          .split("\n")
          .map((line) => line.length),
      ),
    ).toBe(40);
    expect(table(rows, 40)).toContain("…");
    expect(table(rows, 1000).split("\n")[1]).toHaveLength(207);
  });

  it("counts, rates and guesses", () => {
    const states = new Map([
      ["a", "succeeded"],
      ["b", "failed"],
      ["c", "running"],
      ["d", "queued"],
    ] as const);
    const text = (batch: { ramp: boolean; concurrency_max: number }) =>
      progressText({ states, total: 4, batch, beganUnixMs: 0, nowUnixMs: 4000 });
    const rest = "queued 1, running 1, succeeded 1, failed 1; 0.5/s, about 4 s left";
    expect(text({ ramp: true, concurrency_max: 100 })).toBe(`2/4 ended, wave 2, ${rest}`);
    // Of waves 1 and 2 both have begun; a third one of full size slides.
    expect(text({ ramp: true, concurrency_max: 2 })).toBe(`2/4 ended, wave 2, ${rest}`);
    expect(text({ ramp: true, concurrency_max: 1 })).toBe(`2/4 ended, ${rest}`);
    expect(text({ ramp: false, concurrency_max: 100 })).toBe(`2/4 ended, ${rest}`);
  });
});
