import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CommandResult, signCancel } from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { quietLog } from "../quiet-log.fixture.ts";
import { commandBy } from "./command.fixture.ts";
import { CommandRunner } from "./command-runner.ts";
import { type Executor, succeeded } from "./executor.ts";
import { createExecutorRegistry } from "./registry.ts";

const NOW = 1_800_000_000_000;
const FLOOD = 5_000;
/** As many as may be told of at once, and under way. */
const BURST = 32;
const keys = generateKeyPairSync("ed25519");
const strangers = generateKeyPairSync("ed25519");

let dir: string;
let warned: string[];
let nowMs: number;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "unverified-"));
  warned = [];
  nowMs = 0;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const count: Executor = {
  name: "count",
  risk: "reversible",
  prepare: () => ({ target: "one", run: async () => succeeded("done") }),
};

const begin = (publishResult: (result: CommandResult) => Promise<void>) => {
  const runner = new CommandRunner({
    host: "h",
    dir,
    proc: "/proc",
    trustedKeys: [keys.publicKey],
    executors: createExecutorRegistry([count]),
    policy: () => null,
    publishResult,
    publishProgress: () => undefined,
    now: () => NOW,
    monotonicMs: () => nowMs,
    log: { ...quietLog, warn: (fields, message) => warned.push(`${message} ${JSON.stringify(fields)}`) },
  });
  runner.start();
  return runner;
};

const forged = (id: string) => commandBy(strangers.privateKey, { command_id: id });
const forgedCancel = signCancel(
  { command_id: "c", hosts: ["h"], cancelled_by: "eve", at_unix_ms: NOW, not_after_unix_ms: NOW + 60_000 },
  strangers.privateKey,
);

describe("a flood of orders that cannot be verified", () => {
  test("is answered and logged a few times and then once a second, the same order as well as always another", async () => {
    const results: CommandResult[] = [];
    const runner = begin(async (result) => void results.push(result));
    for (let at = 0; at < FLOOD; at++) await runner.take(forged(at % 2 === 0 ? "same" : `other-${at}`));
    for (let at = 0; at < FLOOD; at++) await runner.cancel(forgedCancel);
    expect(results).toHaveLength(BURST);
    expect(warned).toHaveLength(BURST);
    nowMs += 2_500;
    for (let at = 0; at < FLOOD; at++) await runner.take(forged("same"));
    expect(results).toHaveLength(BURST + 2);
    expect(warned.at(-2)).toContain(`"withheld":${2 * FLOOD - BURST}`);
    await runner.stop(1_000);
  });

  test("holds no more answers than a few, while nobody takes them, and does not keep a true command waiting", async () => {
    const results: CommandResult[] = [];
    const told = Promise.withResolvers<void>();
    const runner = begin((result) => {
      results.push(result);
      if (result.state !== "succeeded") return new Promise(() => undefined);
      told.resolve();
      return Promise.resolve();
    });
    for (let at = 0; at < 4 * BURST; at++) {
      nowMs += 1_000;
      void runner.take(forged(`c-${at}`));
    }
    await runner.take(commandBy(keys.privateKey, { command_id: "true" }));
    await told.promise;
    expect(results.map(({ state }) => state)).toEqual([...Array(BURST).fill("refused"), "succeeded"]);
    await runner.stop(1_000);
  });
});
