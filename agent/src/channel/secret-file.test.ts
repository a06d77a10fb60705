import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readOrMakeSecret, readSecret, writeSecret } from "./secret-file.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "secret-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test("what is written is read again, readable by its owner only, with nothing left beside it", () => {
  const path = join(dir, "a", "key");
  writeSecret(path, "one");
  writeSecret(path, "two");
  expect(readSecret(path)).toBe("two");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(dir, "a")).mode & 0o777).toBe(0o700);
  expect(readdirSync(join(dir, "a"))).toEqual(["key"]);
});

test("what is not there is null, and is made once", () => {
  const path = join(dir, "key");
  expect(readSecret(path)).toBeNull();
  expect(readOrMakeSecret(path, () => "first")).toBe("first");
  expect(readOrMakeSecret(path, () => "second")).toBe("first");
  expect(readdirSync(dir)).toEqual(["key"]);
});

test("of two that make it at the same time both get the one that is there", () => {
  const path = join(dir, "key");
  const made = readOrMakeSecret(path, () => {
    writeSecret(path, "the other's");
    return "mine";
  });
  expect(made).toBe("the other's");
  expect(readdirSync(dir)).toEqual(["key"]);
});

test.each([0o640, 0o604, 0o620, 0o602, 0o610])("a file of mode %o is refused", (mode) => {
  const path = join(dir, "key");
  writeSecret(path, "x");
  chmodSync(path, mode);
  expect(() => readSecret(path)).toThrow(/want 600/);
  expect(() => readOrMakeSecret(path, () => "y")).toThrow(/want 600/);
});

test("a link is refused, wherever it leads", () => {
  writeSecret(join(dir, "key"), "x");
  symlinkSync(join(dir, "key"), join(dir, "link"));
  expect(() => readSecret(join(dir, "link"))).toThrow(/ELOOP/);
});

test("a file that is too large is refused, and its content is not told", () => {
  const path = join(dir, "key");
  writeFileSync(path, "s".repeat(70_000), { mode: 0o600 });
  expect(() => readSecret(path)).toThrow(/70000 bytes/);
});
