import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SystemdUnit } from "./systemd-service.ts";

/** A program in the place of systemctl, which keeps a unit's state in a file and notes how it was called. */
let dir: string;
let systemctl: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "systemd-"));
  systemctl = join(dir, "systemctl");
  writeFileSync(
    systemctl,
    `#!/bin/sh\necho "$@" >> ${dir}/calls\ncase "$1" in\nshow) echo "ActiveState=$(cat ${dir}/state)";;\nrestart) [ -e ${dir}/broken ] && exit 1; echo active > ${dir}/state;;\nesac\n`,
  );
  chmodSync(systemctl, 0o755);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));
const never = new AbortController().signal;
const begin = async (state: string) => {
  writeFileSync(join(dir, "state"), `${state}\n`);
  const unit = new SystemdUnit({ name: "shop", unit: "shop.service", systemctl });
  await unit.begin();
  return unit;
};

test.each([
  ["active", true],
  ["reloading", true],
  ["failed", false],
  ["inactive", null],
  ["deactivating", null],
])("a unit that is %s", async (state, isUp) => {
  const unit = await begin(state);
  expect(unit.isUp()).toBe(isUp);
  await unit.end();
});

test("restarts a unit, and looks whether it is active then", async () => {
  const unit = await begin("failed");
  expect(await unit.restart(never)).toMatchObject({ state: "succeeded" });
  expect(unit.isUp()).toBe(true);
  expect(readFileSync(join(dir, "calls"), "utf8")).toContain("restart -- shop.service\n");
  writeFileSync(join(dir, "broken"), "");
  expect(await unit.restart(never)).toMatchObject({ state: "failed" });
  await unit.end();
});

test("a machine without systemd knows nothing, and says so", async () => {
  const unit = new SystemdUnit({ name: "shop", unit: "shop.service", systemctl: join(dir, "none") });
  await unit.begin();
  expect(unit.isUp()).toBeNull();
  expect(unit.problem).toContain("cannot ask systemd");
  await unit.end();
});
