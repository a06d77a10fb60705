import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command, CommandResult } from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FileJournal } from "../executor/file-journal.ts";
import type { Link } from "../link.ts";
import { quietLog } from "../quiet-log.fixture.ts";
import { holdResult, settleUpdate } from "./settle-update.ts";
import { readPending, writePending, writeUpdateFile } from "./update-files.ts";

const NOW = 1_790_000_000_000;
const command: Command = {
  signed: {
    grant: {
      command_id: "j.1",
      job_id: "j",
      requested_by: "ann",
      executor: "agent.update",
      args_sha256: "0".repeat(64),
      risk: "destructive",
      targets: { root: "0".repeat(64), count: 1, sites: {} },
      approvals: [],
      issued_at_unix_ms: NOW,
      not_after_unix_ms: NOW + 60_000,
      timeout_ms: 60_000,
      output_bytes_max: 0,
      limits: {},
    },
    key_id: "k",
    signature: "AAAA",
  },
  args: {},
  host: "web-1",
  proof: { index: 0, path: [] },
};

let dir: string;
const open = () => FileJournal.open({ dir, log: quietLog, nowUnixMs: NOW });
const settle = (version: string) => settleUpdate({ dir, version, now: () => NOW, log: quietLog });
const inJournal = async (): Promise<CommandResult | null> => {
  const journal = open();
  const entry = journal.get("j.1");
  await journal.close();
  return entry?.state === "done" && !entry.is_reported ? entry.result : null;
};

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "agent-settle-"));
  mkdirSync(join(dir, "update", "bad"), { recursive: true });
  const journal = open();
  await journal.write("j.1", { state: "running", command, started_at_unix_ms: NOW, child: null });
  await journal.close();
  writePending(dir, { command_id: "j.1", version: "2.0.0", from: "1.0.0" });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe("the result of an update", () => {
  test("is held back by the new version for as long as it is on trial", async () => {
    expect(await settle("2.0.0")).toEqual({ heldCommandId: "j.1" });
    expect(await inJournal()).toMatchObject({ state: "succeeded", message: "1.0.0 became 2.0.0" });
    expect(readPending(dir)).not.toBeNull();
  });

  test("is told as failed, with the reason, by the version that was taken again, whatever the new one had written", async () => {
    await settle("2.0.0");
    writeUpdateFile(dir, "bad/2.0.0", "it did not become healthy within 60 s");
    expect(await settle("1.0.0")).toEqual({ heldCommandId: null });
    const message = "rolled back to 1.0.0: it did not become healthy within 60 s";
    expect(await inJournal()).toMatchObject({ state: "failed", message });
    expect(readPending(dir)).toBeNull();
  });

  test("is told by a new version that was killed after it was kept and before it had told it", async () => {
    await settle("2.0.0");
    writeUpdateFile(dir, "current", "2.0.0");
    expect(await settle("2.0.0")).toEqual({ heldCommandId: null });
    expect(await inJournal()).toMatchObject({ state: "succeeded" });
  });

  test("says so when the new version was never started", async () => {
    await settle("1.0.0");
    expect(await inJournal()).toMatchObject({
      state: "failed",
      message: "version 2.0.0 was never started: 1.0.0 runs",
    });
  });
});

test("a held result goes out once the version is kept, and others at once", async () => {
  const told: string[] = [];
  const link = {
    publishResult: async (result: CommandResult) => void told.push(result.command_id),
    leaving: () => void told.push("leaving"),
  } as unknown as Link;
  const kept = Promise.withResolvers<void>();
  const held = holdResult(link, "j.1", kept.promise);
  const one = held.publishResult({ command_id: "j.1" } as CommandResult);
  await held.publishResult({ command_id: "j.2" } as CommandResult);
  expect(told).toEqual(["j.2"]);
  held.leaving?.();
  expect(told.splice(1)).toEqual(["leaving"]);
  kept.resolve();
  await one;
  expect(told).toEqual(["j.2", "j.1"]);
});
