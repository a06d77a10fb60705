import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DeclaredPath } from "../config.ts";
import type { Execution, Outcome } from "./executor.ts";
import { filesFree } from "./files-free.ts";

const NOW = Date.now() + 3_600_000;
let root: string;
let cache: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "free-"));
  cache = join(root, "cache");
  mkdirSync(cache);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const declare = (options: Partial<DeclaredPath> = {}) =>
  DeclaredPath.parse({
    name: "cache",
    path: cache,
    limit_bytes: 1,
    free: ["*.tmp", "deep/**"],
    keep_newest_files: 0,
    ...options,
  });
const execution: Execution = {
  commandId: "c1",
  requestedBy: "somebody",
  timeoutMs: 60_000,
  limits: {},
  output: () => null,
  input: { onData: () => undefined, onResize: () => undefined },
  signal: new AbortController().signal,
  outputBytesMax: 0,
  mark: { name: "MARK", value: "" },
  noteChild: () => undefined,
};
const free = async (declared: DeclaredPath, targetBytes = 1e12): Promise<Outcome> => {
  const prepared = filesFree({ paths: [declared], now: () => NOW }).prepare({
    path: "cache",
    target_bytes: targetBytes,
  });
  if ("refused" in prepared) throw new Error(prepared.refused);
  return prepared.run(execution);
};
const put = (path: string, ageS: number) => {
  writeFileSync(path, Buffer.alloc(8192, 1));
  utimesSync(path, NOW / 1000 - ageS, NOW / 1000 - ageS);
};

test("deletes the oldest matching files until enough is free, and reports them", async () => {
  for (const [name, ageS] of [
    ["c.tmp", 1000],
    ["a.tmp", 3000],
    ["b.tmp", 2000],
    ["keep.db", 9000],
  ] as const)
    put(join(cache, name), ageS);
  const outcome = await free(declare(), 10_000);
  expect(outcome.state).toBe("succeeded");
  expect(JSON.parse(outcome.stdout)).toMatchObject({ files: 2, bytes: 16_384, candidates: 3 });
  expect(readdirSync(cache).sort()).toEqual(["c.tmp", "keep.db"]);
});

test("keeps the newest files and the young ones", async () => {
  for (const [name, ageS] of [
    ["a.tmp", 4000],
    ["b.tmp", 3000],
    ["c.tmp", 30],
    ["d.tmp", 20],
  ] as const)
    put(join(cache, name), ageS);
  await free(declare({ keep_newest_files: 1, keep_younger_than_s: 60 }));
  expect(readdirSync(cache).sort()).toEqual(["c.tmp", "d.tmp"]);
  put(join(cache, "old.tmp"), 9000);
  rmSync(join(cache, "c.tmp"));
  rmSync(join(cache, "d.tmp"));
  const outcome = await free(declare({ keep_newest_files: 1 }));
  expect(outcome).toMatchObject({ state: "failed", message: expect.stringContaining("nothing more may be deleted") });
});

test.each([
  ["a name that is not declared", { path: "other", target_bytes: 1 }],
  ["a path instead of a name", { path: "/etc", target_bytes: 1 }],
  ["a traversal", { path: "../cache", target_bytes: 1 }],
  ["an argument that nobody knows", { path: "cache", target_bytes: 1, force: true }],
  ["no target", { path: "cache" }],
  ["a negative target", { path: "cache", target_bytes: -1 }],
])("refuses %s", (_, args) => {
  expect(filesFree({ paths: [declare()], now: () => NOW }).prepare(args)).toHaveProperty("refused");
});

test("refuses a path in which nothing may be deleted", () => {
  const executor = filesFree({ paths: [declare({ free: [] })], now: () => NOW });
  expect(executor.prepare({ path: "cache", target_bytes: 1 })).toHaveProperty("refused");
});

test("does not follow links out of the path, nor delete them, nor files with a second name", async () => {
  const outside = join(root, "outside");
  mkdirSync(join(outside, "deep"), { recursive: true });
  put(join(outside, "precious.tmp"), 9000);
  put(join(outside, "linked.tmp"), 9000);
  symlinkSync(outside, join(cache, "deep"));
  symlinkSync(join(outside, "precious.tmp"), join(cache, "link.tmp"));
  linkSync(join(outside, "linked.tmp"), join(cache, "hard.tmp"));
  expect((await free(declare({ free: ["**"] }))).state).toBe("failed");
  expect(readdirSync(outside).sort()).toEqual(["deep", "linked.tmp", "precious.tmp"]);
  expect(readdirSync(cache).sort()).toEqual(["deep", "hard.tmp", "link.tmp"]);
});

test("refuses a declared path that has become a link", async () => {
  const outside = join(root, "outside");
  renameSync(cache, outside);
  put(join(outside, "precious.tmp"), 9000);
  symlinkSync(outside, cache);
  expect((await free(declare())).state).toBe("failed");
  expect(existsSync(join(outside, "precious.tmp"))).toBe(true);
});

test("never leaves the path while somebody swaps its directories for links", async () => {
  const outside = join(root, "outside");
  mkdirSync(outside);
  const precious = Array.from({ length: 50 }, (_, index) => join(outside, `${index}.tmp`));
  for (const path of precious) put(path, 9000);
  const deep = join(cache, "deep");
  let swaps = 0;
  let isOver = false;
  const swap = () => {
    if (isOver) return;
    rmSync(deep, { recursive: true, force: true });
    if (swaps++ % 2 === 0) symlinkSync(outside, deep);
    else {
      mkdirSync(deep);
      // The same names as outside: only the directory decides which are meant.
      for (let index = 0; index < 50; index++) put(join(deep, `${index}.tmp`), 9000);
    }
    setImmediate(swap);
  };
  swap();
  for (let filler = 0; filler < 1000; filler++) writeFileSync(join(cache, `filler-${filler}`), "");
  for (let round = 0; round < 8; round++) await free(declare({ free: ["**"], keep_younger_than_s: 5000 }));
  isOver = true;
  expect(swaps).toBeGreaterThan(8);
  expect(precious.filter((path) => !existsSync(path))).toEqual([]);
});
