import { appendFileSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { Command, CommandResult } from "@homeostat/schemas";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { JournalEntry } from "../host/executor/journal.ts";
import { quietLog } from "../host/quiet-log.fixture.ts";
import { SharedJournal } from "./shared-journal.ts";

const NOW = 1_800_000_000_000;
const HOUR_MS = 3_600_000;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-shared-journal-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const open = (nowUnixMs = NOW) => SharedJournal.open({ path: join(dir, "journal"), log: quietLog, nowUnixMs });

const commandOf = (id: string, host: string): Command => ({
  signed: {
    grant: {
      command_id: id,
      job_id: "job",
      requested_by: "ada",
      executor: "simulate.echo",
      args_sha256: "0".repeat(64),
      risk: "read_only",
      targets: { root: "0".repeat(64), count: 1, sites: {} },
      approvals: [],
      issued_at_unix_ms: NOW,
      not_after_unix_ms: NOW + HOUR_MS,
      timeout_ms: 1_000,
      output_bytes_max: 1_000,
      limits: {},
    },
    key_id: "key",
    signature: "",
  },
  args: { text: "ünïcode\n" },
  host,
  proof: { index: 0, path: [] },
});

const resultOf = (id: string, host: string): CommandResult => ({
  command_id: id,
  host,
  executor: "simulate.echo",
  state: "succeeded",
  exit_code: null,
  stdout: `of ${id}`,
  stderr: "",
  output_truncated: false,
  started_at_unix_ms: NOW,
  ended_at_unix_ms: NOW,
  message: "",
});

const accepted = (id: string, host: string): JournalEntry => ({ state: "accepted", command: commandOf(id, host) });
const running = (id: string, host: string): JournalEntry => ({
  state: "running",
  command: commandOf(id, host),
  started_at_unix_ms: NOW,
  child: null,
});
const done = (id: string, host: string, isReported: boolean): JournalEntry => ({
  state: "done",
  not_after_unix_ms: NOW + HOUR_MS,
  result: resultOf(id, host),
  is_reported: isReported,
});

const STEPS = [accepted, running, (id: string, host: string) => done(id, host, false)] as const;

describe("the journal that virtual agents share", () => {
  test("a process that was killed leaves behind exactly what was written, each agent's for itself", async () => {
    const Case = fc.array(
      fc.record({ id: fc.string({ minLength: 1, maxLength: 8 }), host: fc.constantFrom("a", "b\tc"), step: fc.nat(3) }),
      { maxLength: 30 },
    );
    await fc.assert(
      fc.asyncProperty(Case, async (commands) => {
        rmSync(join(dir, "journal"), { force: true });
        const first = open();
        const expected = new Map<string, JournalEntry>();
        const writes: Promise<void>[] = [];
        for (const { id, host, step } of commands) {
          if (host.includes("\t") || expected.has(`${host} ${id}`)) continue;
          for (const [at, entryOf] of STEPS.entries())
            if (at <= step) writes.push(first.of(host).write(id, entryOf(id, host)));
          await Promise.all(writes);
          if (step === 3) first.of(host).note(id, done(id, host, true));
          expected.set(`${host} ${id}`, (STEPS[step] ?? ((i, h) => done(i, h, true)))(id, host));
        }
        await first.of("a").close();
        // Not closed: a kill does not close either.
        const second = open();
        for (const [key, entry] of expected) {
          const [host = "", id = ""] = [key.slice(0, 1), key.slice(2)];
          expect(second.of(host).get(id)).toEqual(entry);
        }
        const unfinished = [...expected.values()].filter((entry) => entry.state !== "done" || !entry.is_reported);
        expect([...second.of("a").entries()].map(([, entry]) => entry)).toEqual(unfinished);
        await first.close();
        await second.close();
      }),
      { numRuns: 50 },
    );
  });

  test("a torn last line is as if it had not been written, and what follows is whole", async () => {
    const first = open();
    await first.of("a").write("one", accepted("one", "a"));
    await first.of("a").write("two", accepted("two", "a"));
    await first.close();
    truncateSync(join(dir, "journal"), statSync(join(dir, "journal")).size - 5);
    const second = open();
    expect(second.of("a").get("one")).toEqual(accepted("one", "a"));
    expect(second.of("a").get("two")).toBeUndefined();
    await second.of("a").write("three", accepted("three", "a"));
    await second.close();
    expect(open().of("a").get("three")).toEqual(accepted("three", "a"));
  });

  test("bytes that are no line end the reading, and are gone afterwards", async () => {
    const first = open();
    await first.of("a").write("one", done("one", "a", false));
    await first.close();
    appendFileSync(join(dir, "journal"), "00000000 d a {}\n");
    expect([...open().of("a").entries()]).toEqual([["one", done("one", "a", false)]]);
  });

  test("what earlier versions wrote is read: that a command runs without the command, and ids in any letters", () => {
    const line = (text: string) => `${crc32(text).toString(16).padStart(8, "0")} ${text}\n`;
    const { started_at_unix_ms, child } = { started_at_unix_ms: NOW, child: null };
    const lines = [
      `a a%09%C3%BCber%20all ${JSON.stringify(accepted("über all", "a"))}`,
      `r a%09%C3%BCber%20all ${JSON.stringify({ started_at_unix_ms, child })}`,
      `d a%09told ${JSON.stringify(done("told", "a", false))}`,
      "R a%09told null",
    ];
    writeFileSync(join(dir, "journal"), lines.map(line).join(""));
    const agent = open().of("a");
    expect([...agent.entries()]).toEqual([["über all", running("über all", "a")]]);
    expect(agent.get("told")).toEqual(done("told", "a", true));
  });

  test("what is reported and long expired is forgotten at the next start, and nothing else is", async () => {
    const first = open();
    await first.of("a").write("reported", done("reported", "a", false));
    first.of("a").note("reported", done("reported", "a", true));
    await first.of("a").write("owed", done("owed", "a", false));
    await first.close();
    const later = open(NOW + 3 * HOUR_MS);
    expect(later.of("a").get("reported")).toBeUndefined();
    expect(later.of("a").get("owed")).toEqual(done("owed", "a", false));
  });
});

describe("what is noted", () => {
  test("is in the file before the turn of the event loop is over, so that a kill cannot take back what was told", async () => {
    const journal = open();
    await journal.of("a").write("one", running("one", "a"));
    journal.of("a").note("one", done("one", "a", false));
    // As soon as the microtasks have run: nothing that was sent meanwhile has left yet.
    await null;
    expect([...open().of("a").entries()]).toEqual([["one", done("one", "a", false)]]);
  });
});
