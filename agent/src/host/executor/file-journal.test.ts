import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { quietLog } from "../quiet-log.fixture.ts";
import { commandBy } from "./command.fixture.ts";
import { resultOf } from "./command-result.ts";
import { FileJournal } from "./file-journal.ts";
import { type DoneEntry, type JournalEntry, KEPT_OUTPUT_CHARS } from "./journal.ts";

const NOW = 1_800_000_000_000;
const { privateKey } = generateKeyPairSync("ed25519");

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "journal-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const open = (nowUnixMs = NOW) => FileJournal.open({ dir, log: quietLog, nowUnixMs });
const path = () => join(dir, "commands.journal");
const accepted = (id: string): JournalEntry => ({
  state: "accepted",
  command: commandBy(privateKey, { command_id: id }),
});
const running = (id: string): JournalEntry => ({
  state: "running",
  command: commandBy(privateKey, { command_id: id }),
  started_at_unix_ms: NOW,
  child: null,
});
const done = (id: string, stdout = "out"): DoneEntry => ({
  state: "done",
  not_after_unix_ms: NOW + 60_000,
  result: resultOf({ commandId: id, host: "h", executor: "count" }, "succeeded", { stdout }),
  is_reported: false,
});
const statesOf = (journal: FileJournal) =>
  Object.fromEntries(
    journal
      .entries()
      .map(([id, entry]) => [id, entry.state === "done" && entry.is_reported ? "reported" : entry.state]),
  );

test("holds the newest of each command, also for the next agent", async () => {
  const journal = open();
  await Promise.all([journal.write("a", accepted("a")), journal.write("b", running("b"))]);
  await journal.write("a", running("a"));
  journal.note("a", done("a"));
  journal.note("b", done("b"));
  const before = journal.get("b");
  if (before?.state === "done") journal.note("b", { ...before, is_reported: true });
  await journal.close();
  const next = open();
  expect(statesOf(next)).toEqual({ a: "done", b: "reported" });
  expect(next.get("a")).toEqual(done("a"));
  await next.close();
});

test("has what it said is durable, whatever byte of what came after is torn", async () => {
  const journal = open();
  const ends: number[] = [];
  const length = () => readFileSync(path()).indexOf(0);
  for (let index = 0; index < 8; index++) {
    await journal.write(`c${index}`, running(`c${index}`));
    ends.push(length());
  }
  await journal.close();
  const whole = readFileSync(path());
  await fc.assert(
    fc.asyncProperty(fc.nat(ends.at(-1) ?? 0), fc.uint8Array({ maxLength: 40 }), async (at, noise) => {
      const torn = Buffer.from(whole);
      torn.fill(0, at);
      torn.set(noise, at);
      writeFileSync(path(), torn);
      const next = open();
      const there = ends.filter((end) => end <= at).length;
      for (let index = 0; index < there; index++) expect(next.get(`c${index}`)).toEqual(running(`c${index}`));
      // What is written behind the tear is found again.
      await next.write("new", accepted("new"));
      await next.close();
      const after = open();
      expect(after.get("new")?.state).toBe("accepted");
      expect(after.entries().length).toBeGreaterThanOrEqual(there + 1);
      await after.close();
    }),
    { numRuns: 60 },
  );
});

test("keeps little of what the platform has already, and nothing of what cannot come again", async () => {
  const journal = open();
  for (let index = 0; index < 3; index++) {
    const entry = done(`c${index}`, "x".repeat(300_000));
    journal.note(`c${index}`, entry);
    journal.note(`c${index}`, { ...entry, is_reported: true });
  }
  await journal.write("open", running("open"));
  const kept = journal.get("c0");
  expect(kept?.state === "done" && [kept.result.stdout.length, kept.result.output_truncated]).toEqual([
    KEPT_OUTPUT_CHARS,
    true,
  ]);
  journal.tend(NOW + 24 * 3_600_000);
  expect(statesOf(journal)).toEqual({ open: "running" });
  await journal.close();
});

test("knows until when it has forgotten, also when it was written anew since and the clock is right again", async () => {
  const journal = open();
  const { not_after_unix_ms } = done("c");
  journal.note("c", { ...done("c"), is_reported: true });
  expect(journal.mayHaveForgotten(not_after_unix_ms)).toBe(false);
  journal.tend(NOW + 24 * 3_600_000);
  for (let index = 0; index < 12; index++) journal.note("big", done("big", String(index).repeat(400_000)));
  await journal.close();
  const next = open();
  expect(statesOf(next)).toEqual({ big: "done" });
  expect(next.mayHaveForgotten(not_after_unix_ms)).toBe(true);
  expect(next.mayHaveForgotten(not_after_unix_ms + 1)).toBe(false);
  await next.close();
});

test("is written anew when it has grown, with all that counts, and goes on in the new file", async () => {
  const journal = open();
  await journal.write("first", running("first"));
  for (let index = 0; index < 12; index++) journal.note("big", done("big", String(index).repeat(400_000)));
  await journal.write("last", accepted("last"));
  journal.note("last", done("last"));
  await journal.close();
  expect(readFileSync(path()).length).toBeLessThan(4_000_000);
  const next = open();
  expect(statesOf(next)).toEqual({ first: "running", big: "done", last: "done" });
  await next.close();
});

test("has no room beyond its cap, until what it holds cannot come again", async () => {
  const journal = FileJournal.open({ dir, log: quietLog, nowUnixMs: NOW, entriesMax: 2 });
  const first = done("a");
  journal.note("a", first);
  expect(journal.hasRoom(NOW)).toBe(true);
  await journal.write("b", running("b"));
  expect(journal.hasRoom(NOW)).toBe(false);
  // Not told yet: it is kept for as long as that takes.
  expect(journal.hasRoom(NOW + 24 * 3_600_000)).toBe(false);
  journal.note("a", { ...first, is_reported: true });
  expect(journal.hasRoom(NOW + 60_001)).toBe(false);
  expect(journal.hasRoom(NOW + 24 * 3_600_000)).toBe(true);
  await journal.close();
});

test("rejects what comes after its end", async () => {
  const journal = open();
  await journal.close();
  await expect(journal.write("a", accepted("a"))).rejects.toThrow("closed");
  expect(journal.get("a")).toBeUndefined();
});

test("what the disk refuses is as if it had never been written, for the next agent too", () => {
  // The limit on the size of a file stands for a full disk; the shell is the test's own.
  const fixture = join(import.meta.dirname, "full-disk.fixture.ts");
  const run = spawnSync("/bin/sh", ["-c", 'ulimit -f 40; exec "$0" "$1" "$2"', process.execPath, fixture, dir], {
    encoding: "utf8",
  });
  expect(run.stderr).toBe("");
  const told = JSON.parse(run.stdout) as { written: string[]; refused: string[]; known: string[] };
  expect(told.refused.length).toBeGreaterThan(0);
  expect(told.written.length).toBeGreaterThan(5);
  expect(told.known.sort()).toEqual(told.written.toSorted());
  const next = open();
  expect(next.entries().map(([id, entry]) => `${id} ${entry.state}`)).toEqual(
    told.written.map((id) => `${id} running`),
  );
});

test("goes on in the new file when the directory cannot be synced, and confirms nothing until it can be", () => {
  const fixture = join(import.meta.dirname, "unreadable-directory.fixture.ts");
  const run = spawnSync(process.execPath, [fixture, dir], { encoding: "utf8" });
  expect(run.stderr).toBe("");
  const told = JSON.parse(run.stdout) as { outcomes: Record<string, string>; known: string[] };
  expect(told.outcomes).toEqual({
    before: "written",
    grown: "written",
    beside: "refused",
    meanwhile: "refused",
    after: "written",
  });
  const next = open(0);
  expect(next.entries().map(([id]) => id)).toEqual(expect.arrayContaining(["before", "big", "grown", "after"]));
  expect(
    next
      .entries()
      .map(([id]) => id)
      .sort(),
  ).toEqual(told.known.sort());
});
