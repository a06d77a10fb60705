import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CommandResult, signCancel } from "@homeostat/schemas";
import { afterAll, beforeAll, expect, test } from "vitest";
import { quietLog } from "../quiet-log.fixture.ts";
import { commandBy } from "./command.fixture.ts";
import { CommandRunner } from "./command-runner.ts";
import { succeeded } from "./executor.ts";
import { createExecutorRegistry } from "./registry.ts";

const IDS = ["runs", "waits", "unknown", "cancelled"];
const FIXTURE = join(import.meta.dirname, "dying-runner.fixture.ts");
/** More writes than such an agent makes in its life. */
const WRITES_MAX = 40;
const AT_ONCE = 4;
const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const now = Date.now();
const terms = { issued_at_unix_ms: now, not_after_unix_ms: now + 600_000 };
const commands = IDS.map((command_id) =>
  commandBy(privateKey, { ...terms, command_id, executor: command_id === "unknown" ? "unheard.of" : "count" }),
);
const cancel = signCancel(
  {
    command_id: "cancelled",
    hosts: ["h"],
    cancelled_by: "ops",
    at_unix_ms: now,
    not_after_unix_ms: terms.not_after_unix_ms,
  },
  privateKey,
);

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "journal-kill-"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const linesOf = (path: string): string[] =>
  existsSync(path)
    ? readFileSync(path, "utf8")
        .split("\n")
        .filter((line) => line !== "")
    : [];

/** False when it lived to the end: it writes less often than that. */
const dies = async (dir: string, write: number, how: string): Promise<boolean> => {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", FIXTURE, dir, String(write), how], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  const [, signal] = await once(child, "exit");
  return signal === "SIGKILL";
};

/** The next agent: everything is delivered once more, as by control, which has heard what was told. */
const goOn = async (dir: string): Promise<void> => {
  const untold = new Set(IDS);
  const all = Promise.withResolvers<void>();
  const runner = new CommandRunner({
    host: "h",
    dir,
    proc: "/proc",
    trustedKeys: [publicKey],
    executors: createExecutorRegistry([
      {
        name: "count",
        risk: "reversible",
        prepare: () => ({
          target: "one",
          run: async ({ commandId }) => {
            appendFileSync(join(dir, "effects"), `${commandId}\n`);
            return succeeded("done", "out");
          },
        }),
      },
    ]),
    policy: () => null,
    publishProgress: () => undefined,
    publishResult: async (result) => {
      appendFileSync(join(dir, "results"), `${JSON.stringify(result)}\n`);
      untold.delete(result.command_id);
      if (untold.size === 0) all.resolve();
    },
    now: Date.now,
    log: quietLog,
  });
  runner.start();
  await runner.cancel(cancel);
  for (const command of commands) await runner.take(command);
  await all.promise;
  await runner.stop(1_000);
};

/** As control folds them: the first end stands, and `lost` alone gives way. */
const endsOf = (dir: string): Map<string, CommandResult> => {
  const ends = new Map<string, CommandResult>();
  for (const line of linesOf(join(dir, "results"))) {
    const result: CommandResult = JSON.parse(line);
    const before = ends.get(result.command_id);
    if (before === undefined || before.state === "lost") ends.set(result.command_id, result);
    else expect(["lost", before.state], `${line} after ${before.state}`).toContain(result.state);
  }
  return ends;
};

const expectTruth = (dir: string, where: string): void => {
  const effects = linesOf(join(dir, "effects"));
  const ends = endsOf(dir);
  expect([...ends.keys()].sort(), where).toEqual([...IDS].sort());
  for (const [id, { state, started_at_unix_ms }] of ends) {
    const ran = effects.filter((each) => each === id).length;
    const may = state === "lost" ? [0, 1] : [state === "succeeded" || started_at_unix_ms !== null ? 1 : 0];
    expect(may, `${id} is ${state} and ran ${ran} times; ${where}`).toContain(ran);
  }
  expect(ends.get("unknown")?.state, where).toBe("refused");
};

test("an agent that is killed at any write to its journal runs nothing twice, and what it tells is true", async () => {
  let lastWrite = WRITES_MAX;
  let kills = 0;
  const one = async (write: number, how: string): Promise<void> => {
    if (write > lastWrite) return;
    const dir = mkdtempSync(join(root, `${write}-${how}-`));
    const key = publicKey.export({ type: "spki", format: "pem" });
    writeFileSync(join(dir, "orders.json"), JSON.stringify({ key, ids: IDS, commands, cancel }));
    if (await dies(dir, write, how)) kills += 1;
    else lastWrite = Math.min(lastWrite, write);
    await goOn(dir);
    expectTruth(dir, `killed at write ${write}, ${how}`);
  };
  const cases = Array.from({ length: WRITES_MAX }, (_, at) => at + 1).flatMap((write) =>
    ["torn", "after"].map((how) => ({ write, how })),
  );
  const lane = async (): Promise<void> => {
    for (let next = cases.shift(); next !== undefined; next = cases.shift()) await one(next.write, next.how);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  // At least: what is reserved, the beginning of each, its end, and that it was told.
  expect(kills).toBeGreaterThanOrEqual(2 * 6);
  expect(lastWrite).toBeLessThan(WRITES_MAX);
}, 120_000);
