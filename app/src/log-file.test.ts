import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createLogFile } from "./log-file.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-log-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe("the log file", () => {
  test("goes on where an earlier process stopped", () => {
    const path = join(dir, "a.log");
    for (const line of ["one\n", "two\n"]) {
      const log = createLogFile(path);
      log.write(line);
      log.close();
    }
    expect(readFileSync(path, "utf8")).toBe("one\ntwo\n");
  });

  test("never takes more than two files of 16 MiB and a line", () => {
    const path = join(dir, "a.log");
    const log = createLogFile(path);
    const line = `${"x".repeat(1_048_575)}\n`;
    for (let i = 0; i < 50; i += 1) log.write(line);
    log.close();
    for (const file of [path, `${path}.1`])
      expect(statSync(file).size).toBeLessThanOrEqual(17 * 1_048_576 + line.length);
  });

  test("is readable by its owner only", () => {
    const path = join(dir, "a.log");
    createLogFile(path).close();
    expect(statSync(path).mode & 0o077).toBe(0);
  });
});
