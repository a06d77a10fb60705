import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "homeostat-count-"));
afterAll(() => rmSync(folder, { recursive: true }));

const report = (
  name: string,
  counts: { passed: number; failed: number },
  testResults: readonly object[] = [],
): string => {
  const path = join(folder, name);
  const body = { numPassedTests: counts.passed, numFailedTests: counts.failed, numPendingTests: 0, testResults };
  writeFileSync(path, JSON.stringify(body));
  return path;
};

const count = (...paths: readonly string[]) => {
  const { stdout, status } = spawnSync("node", ["test/house/count-tests.ts", ...paths], { encoding: "utf8" });
  return { lastLine: stdout.trimEnd().split("\n").at(-1), status };
};

describe("the count at the end of a CI run", () => {
  const good = report("good.json", { passed: 3, failed: 0 });

  it("adds up all reports", () => {
    expect(count(good, report("more.json", { passed: 4, failed: 0 }))).toEqual({
      lastLine: "7 passed, 0 failed",
      status: 0,
    });
  });

  it("fails with a failed test", () => {
    expect(count(good, report("bad.json", { passed: 1, failed: 2 }))).toEqual({
      lastLine: "4 passed, 2 failed",
      status: 1,
    });
  });

  it("counts a file that broke before its tests as a failure", () => {
    const broken = report("broken.json", { passed: 1, failed: 0 }, [
      { name: "x", status: "failed", assertionResults: [] },
    ]);
    expect(count(broken)).toEqual({ lastLine: "1 passed, 1 failed", status: 1 });
  });

  it("fails when a report is missing", () => {
    expect(count(good, join(folder, "nowhere.json"))).toEqual({ lastLine: "3 passed, 1 failed", status: 1 });
  });

  it("fails when a report has no test in it", () => {
    expect(count(good, report("empty.json", { passed: 0, failed: 0 }))).toEqual({
      lastLine: "3 passed, 1 failed",
      status: 1,
    });
  });

  it("fails without any report", () => {
    expect(count()).toEqual({ lastLine: "0 passed, 0 failed", status: 1 });
  });
});
