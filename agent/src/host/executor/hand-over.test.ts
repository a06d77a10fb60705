import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandResult } from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { quietLog } from "../quiet-log.fixture.ts";
import { commandBy } from "./command.fixture.ts";
import { CommandRunner } from "./command-runner.ts";
import { type Executor, type Outcome, succeeded } from "./executor.ts";
import { createExecutorRegistry } from "./registry.ts";

const NOW = 1_800_000_000_000;
const STOP_MS = 60_000;
const keys = generateKeyPairSync("ed25519");

let dir: string;
let results: CommandResult[];
/** By command_id: those that have begun, and how to end them. */
let begun: Map<string, (outcome: Outcome) => void>;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "hand-over-"));
  results = [];
  begun = new Map();
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const held: Executor = {
  name: "hold",
  risk: "reversible",
  prepare: (args) => ({
    target: JSON.stringify(args),
    run: ({ commandId }) => new Promise((resolve) => begun.set(commandId, resolve)),
  }),
};
const start = (): CommandRunner => {
  const runner = new CommandRunner({
    host: "h",
    dir,
    proc: "/proc",
    trustedKeys: [keys.publicKey],
    executors: createExecutorRegistry([held]),
    policy: () => null,
    publishProgress: () => undefined,
    publishResult: async (result) => void results.push(result),
    now: () => NOW,
    log: quietLog,
  });
  runner.start();
  return runner;
};
const take = (runner: CommandRunner, command_id: string): Promise<void> =>
  runner.take(commandBy(keys.privateKey, { command_id, executor: "hold", args: { id: command_id } }));
const never = new AbortController().signal;

describe("an agent that gives way to its next version", () => {
  test("waits for what runs, begins nothing from then on, and leaves what came to the next, so that nothing is lost", async () => {
    const runner = start();
    await take(runner, "update");
    await take(runner, "long");
    const steps: string[] = [];
    const handing = runner.handOver("update", never).then(() => steps.push("handed over"));
    await take(runner, "short");
    begun.get("short")?.(succeeded("", ""));
    await expect.poll(() => results.map(({ command_id }) => command_id)).toEqual(["short"]);
    expect(steps).toEqual([]);
    begun.get("long")?.(succeeded("", ""));
    await handing;
    await take(runner, "late");
    expect(begun.has("late")).toBe(false);
    // The update itself never ends here: who waits for it waits in vain.
    await runner.stop(STOP_MS);
    const next = start();
    await expect.poll(() => begun.has("late")).toBe(true);
    begun.get("late")?.(succeeded("", ""));
    await expect.poll(() => results).toHaveLength(4);
    await next.stop(STOP_MS);
    expect(Object.fromEntries(results.map(({ command_id, state }) => [command_id, state]))).toEqual({
      short: "succeeded",
      long: "succeeded",
      late: "succeeded",
      update: "lost",
    });
  });

  test("goes on as it was when its command is called off before that", async () => {
    const runner = start();
    await take(runner, "update");
    await take(runner, "long");
    const calledOff = new AbortController();
    const handing = runner.handOver("update", calledOff.signal);
    calledOff.abort(new Error("timed out"));
    await expect(handing).rejects.toThrow("timed out");
    await take(runner, "after");
    await expect.poll(() => begun.has("after")).toBe(true);
    for (const end of begun.values()) end(succeeded("", ""));
    await runner.stop(STOP_MS);
    expect(results.map(({ state }) => state)).toEqual(["succeeded", "succeeded", "succeeded"]);
  });
});
