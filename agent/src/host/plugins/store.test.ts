import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";

it("a disk that takes only the beginning of what is wished leaves what was wished before", () => {
  const dir = mkdtempSync(join(tmpdir(), "homeostat-store-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const fixture = join(import.meta.dirname, "full-store.fixture.ts");
  const run = spawnSync("/bin/sh", ["-c", 'ulimit -f 40; exec "$0" "$1" "$2"', process.execPath, fixture, dir], {
    encoding: "utf8",
  });
  expect(JSON.parse(run.stdout)).toEqual({ failure: "EFBIG", revision: 1 });
});
