import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  watch,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { CommandResult, Grant, SignedGrant } from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { quietLog } from "../quiet-log.fixture.ts";
import { type CommandTerms, commandBy } from "./command.fixture.ts";
import { CommandRunner, type CommandRunnerOptions } from "./command-runner.ts";
import { type Executor, succeeded } from "./executor.ts";
import { FileJournal } from "./file-journal.ts";
import { createExecutorRegistry } from "./registry.ts";

const NOW = 1_800_000_000_000;
const keys = generateKeyPairSync("ed25519");
const strangers = generateKeyPairSync("ed25519");

let dir: string;
let results: CommandResult[];
let onResult: () => void;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "runner-"));
  results = [];
  onResult = () => undefined;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const sign = (options: CommandTerms = {}) => commandBy(keys.privateKey, options);

const altered = (changes: Partial<Grant>): SignedGrant => ({
  ...sign().signed,
  grant: { ...sign().signed.grant, ...changes },
});

const counting = () => {
  const ran: string[] = [];
  const executor: Executor = {
    name: "count",
    risk: "reversible",
    prepare: (args) => ({
      target: JSON.stringify(args),
      run: async () => {
        ran.push(JSON.stringify(args));
        return succeeded("done", "out");
      },
    }),
  };
  return { executor, ran };
};

const begin = (executor: Executor, options: Partial<CommandRunnerOptions> = {}) => {
  const runner = new CommandRunner({
    host: "h",
    dir,
    proc: "/proc",
    trustedKeys: [keys.publicKey],
    executors: createExecutorRegistry([executor]),
    policy: () => null,
    publishProgress: () => undefined,
    publishResult: async (result) => {
      results.push(result);
      onResult();
    },
    now: () => NOW,
    log: quietLog,
    ...options,
  });
  runner.start();
  return runner;
};
const until = (count: number) =>
  new Promise<void>((resolve) => {
    onResult = () => {
      if (results.length >= count) resolve();
    };
    onResult();
  });

describe("command runner", () => {
  test("runs a signed command once and answers a repetition with the recorded result, also after a restart", async () => {
    const { executor, ran } = counting();
    const runner = begin(executor);
    await runner.take(sign());
    await until(1);
    await runner.take(sign());
    await until(2);
    await runner.stop(1000);
    const next = begin(executor);
    await next.take(sign());
    await until(3);
    await next.stop(1000);
    expect(ran).toHaveLength(1);
    expect(results.map(({ state, stdout, message }) => [state, stdout, message])).toEqual(
      Array(3).fill(["succeeded", "out", "done"]),
    );
  });

  test.each([
    ["an unknown key", commandBy(strangers.privateKey), "unknown key"],
    ["changed arguments", { ...sign(), args: { more: 1 } }, "arguments"],
    ["another grant under the same signature", { ...sign(), signed: altered({ risk: "destructive" }) }, "signature"],
    [
      "the key id of a trusted key over a strange signature",
      {
        ...sign(),
        signed: { ...commandBy(strangers.privateKey).signed, key_id: sign().signed.key_id },
      },
      "signature",
    ],
    ["no signature", { ...sign(), signed: { ...sign().signed, signature: "" } }, "signature"],
    ["the proof of another host", { ...sign({ host: "other", hosts: ["h", "other"] }), host: "h" }, "not for h"],
    ["a host that the grant does not name", { ...sign({ host: "other" }), host: "h" }, "not for h"],
  ])("refuses %s", async (_, signed, reason) => {
    const { executor, ran } = counting();
    const runner = begin(executor);
    await runner.take(signed);
    await until(1);
    expect(results[0]).toMatchObject({ state: "refused", message: expect.stringContaining(reason) });
    // A forgery must not use up the id of the genuine command.
    await runner.take(sign());
    await until(2);
    expect(results[1]?.state).toBe("succeeded");
    expect(ran).toHaveLength(1);
    await runner.stop(1000);
  });

  test.each([
    ["null", null],
    ["text", "x"],
    ["an empty object", {}],
    ["a command of numbers", { host: 1, signed: { grant: { command_id: 1 } } }],
  ])("survives %s", async (_, value) => {
    const { executor, ran } = counting();
    const runner = begin(executor);
    await runner.take(value);
    await runner.stop(1000);
    expect([ran, results]).toEqual([[], []]);
  });

  test("does not touch a command for another host, however well signed", async () => {
    const { executor, ran } = counting();
    const runner = begin(executor);
    await runner.take(sign({ host: "other" }));
    await runner.stop(1000);
    expect([ran, results]).toEqual([[], []]);
  });

  test.each([
    ["what is too late", { not_after_unix_ms: NOW - 1 }, "expired"],
    ["what is valid for days", { not_after_unix_ms: NOW + 3 * 86_400_000 }, "refused"],
    ["an executor that is not on the allow list", { executor: "exec.run" }, "refused"],
  ])("does not run %s", async (_, options, state) => {
    const { executor, ran } = counting();
    const runner = begin(executor);
    await runner.take(sign(options));
    await until(1);
    expect(results[0]?.state).toBe(state);
    expect(ran).toEqual([]);
    await runner.stop(1000);
  });

  test("answers another grant under an id that it knows with what became of the first, and does not run it", async () => {
    const { executor, ran } = counting();
    const runner = begin(executor);
    await runner.take(sign());
    await until(1);
    await runner.take(sign({ args: { other: true }, risk: "destructive", approvals: [{ by: "x", at_unix_ms: NOW }] }));
    await until(2);
    expect(results[1]).toEqual(results[0]);
    expect(ran).toEqual(["{}"]);
    await runner.stop(1000);
  });

  test("runs a command once that is delivered many times at the same moment, and tells all of them when it is written down", async () => {
    const { executor, ran } = counting();
    const runner = begin(executor);
    await Promise.all(Array.from({ length: 50 }, () => runner.take(sign())));
    await until(1);
    expect(ran).toHaveLength(1);
    await runner.stop(1000);
  });

  test("asks the host's policy, with the risk that the executor declares here", async () => {
    const { executor, ran } = counting();
    const asked: string[] = [];
    const runner = begin(
      { ...executor, risk: "destructive" },
      {
        policy: ({ grant, risk }) => {
          asked.push(`${grant.command_id} ${risk}`);
          return "not on this host";
        },
      },
    );
    await runner.take(sign());
    await until(1);
    expect(results[0]).toMatchObject({ state: "refused", message: "not on this host" });
    expect([asked, ran]).toEqual([["c1 destructive"], []]);
    await runner.stop(1000);
  });

  test("does not write down the arguments of a command that begins at once: it never begins again", async () => {
    const { executor } = counting();
    const runner = begin(executor);
    await runner.take(sign({ args: { secret: "swordfish" } }));
    await until(1);
    await runner.stop(1000);
    const journal = readFileSync(join(dir, "commands.journal"), "utf8");
    expect(journal).toContain('"state":"running"');
    expect(journal).not.toContain("swordfish");
  });

  test("takes a thousand commands at once, and refuses no more than what it has no place for", async () => {
    const { executor, ran } = counting();
    const runner = begin(executor, { queueMax: 990 });
    const ids = Array.from({ length: 1_000 }, (_, index) => `c${index}`);
    await Promise.all(ids.map((command_id) => runner.take(sign({ command_id, args: { command_id } }))));
    await until(1_000);
    const refused = results.filter(({ state }) => state === "refused");
    expect(new Set(results.map(({ command_id }) => command_id)).size).toBe(1_000);
    expect(ran.length + refused.length).toBe(1_000);
    expect(refused.every(({ message }) => message === "990 commands are waiting already")).toBe(true);
    await runner.stop(1000);
  });

  test("stays expired when the clock goes back", async () => {
    let now = NOW + 100_000;
    const { executor, ran } = counting();
    const runner = begin(executor, { now: () => now });
    await runner.take(sign());
    await until(1);
    now = NOW;
    await runner.take(sign());
    await until(2);
    expect(results.map(({ state }) => state)).toEqual(["expired", "expired"]);
    expect(ran).toEqual([]);
    await runner.stop(1000);
  });

  test("runs nothing again that it has forgotten because the clock was years ahead, and goes on with what is newer", async () => {
    const { executor, ran } = counting();
    const journal = FileJournal.open({ dir, log: quietLog, nowUnixMs: NOW });
    const runner = begin(executor, { journal });
    await runner.take(sign());
    await until(1);
    await expect.poll(() => journal.get("c1")).toMatchObject({ is_reported: true });
    journal.tend(NOW + 10 * 365 * 86_400_000);
    expect(journal.get("c1")).toBeUndefined();
    await runner.take(sign());
    await until(2);
    await runner.take(sign({ command_id: "newer", not_after_unix_ms: NOW + 120_000 }));
    await until(3);
    expect(results.map(({ state }) => state)).toEqual(["succeeded", "refused", "succeeded"]);
    expect(ran).toHaveLength(2);
    await runner.stop(1000);
    await journal.close();
  });

  test("never runs two commands on one target at a time, and no more than four at all", async () => {
    const COMMANDS = 40;
    const now = new Map<string, number>();
    const ends: (() => void)[] = [];
    let begun = 0;
    let most = 0;
    // The oldest ends when four run, and a turn of the event loop has shown whether a fifth would begin.
    const endOne = () => ends.shift()?.();
    const executor: Executor = {
      name: "count",
      risk: "reversible",
      prepare: (args) => {
        const target = String((args as { target: number }).target);
        return {
          target,
          run: async () => {
            now.set(target, (now.get(target) ?? 0) + 1);
            most = Math.max(
              most,
              [...now.values()].reduce((sum, count) => sum + count, 0),
            );
            expect(now.get(target)).toBe(1);
            begun += 1;
            await new Promise<void>((resolve) => {
              ends.push(resolve);
              if (ends.length >= 4 || begun === COMMANDS) setImmediate(endOne);
            });
            now.set(target, 0);
            if (begun === COMMANDS) setImmediate(endOne);
            return succeeded("");
          },
        };
      },
    };
    const runner = begin(executor);
    for (let index = 0; index < COMMANDS; index++)
      await runner.take(sign({ command_id: `c${index}`, args: { target: index % 8 } }));
    await until(COMMANDS);
    expect(results.every(({ state }) => state === "succeeded")).toBe(true);
    expect(most).toBe(4);
    await runner.stop(1000);
  });

  test("answers timed_out when an executor notices that its time is over, and not before", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const begun = Promise.withResolvers<AbortSignal>();
    const executor: Executor = {
      name: "count",
      risk: "reversible",
      prepare: () => ({
        target: "t",
        run: ({ signal }) =>
          new Promise((resolve) => {
            signal.addEventListener("abort", () => resolve({ ...succeeded(""), state: "failed" }));
            begun.resolve(signal);
          }),
      }),
    };
    const runner = begin(executor);
    await runner.take(sign({ timeout_ms: 50 }));
    const signal = await begun.promise;
    vi.advanceTimersByTime(49);
    expect(signal.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    await until(1);
    expect(results[0]?.state).toBe("timed_out");
    await runner.stop(1000);
  });

  test("reports a result as soon as the platform is back", async () => {
    let isDown = true;
    const { executor } = counting();
    const runner = begin(executor, {
      publishResult: async (result) => {
        if (isDown) {
          isDown = false;
          throw new Error("unreachable");
        }
        results.push(result);
        onResult();
      },
    });
    await runner.take(sign());
    await until(1);
    expect(results).toHaveLength(1);
    await runner.stop(1000);
  });

  test("makes a result of control characters fit a message", async () => {
    const executor: Executor = {
      name: "count",
      risk: "reversible",
      prepare: () => ({ target: "t", run: async () => succeeded("", "\u0001".repeat(1_000_000)) }),
    };
    const runner = begin(executor);
    await runner.take(sign());
    await until(1);
    expect(JSON.stringify(results[0]).length).toBeLessThan(480_000);
    expect(results[0]?.output_truncated).toBe(true);
    await runner.stop(1000);
  });

  test("passes over a torn line of its journal", async () => {
    const { executor, ran } = counting();
    const runner = begin(executor);
    await runner.take(sign());
    await until(1);
    await runner.stop(1000);
    const path = join(dir, "commands.journal");
    const bytes = readFileSync(path);
    bytes.write("0badc0de [", bytes.indexOf(0));
    writeFileSync(path, bytes);
    const next = begin(executor);
    await next.take(sign());
    await next.take(sign({ command_id: "c2" }));
    await until(3);
    expect(ran).toHaveLength(2);
    await next.stop(1000);
  });
});

test("a command that is killed with its agent is lost: it is never run again, and what it left is ended", async () => {
  const files = {
    key: join(dir, "key.pem"),
    commands: join(dir, "commands"),
    results: join(dir, "results"),
    effects: join(dir, "effects"),
  };
  writeFileSync(files.key, keys.publicKey.export({ type: "spki", format: "pem" }));
  for (const path of [files.commands, files.results, files.effects]) writeFileSync(path, "");
  const linesOf = (path: string) =>
    readFileSync(path, "utf8")
      .split("\n")
      .filter((line) => line !== "");
  const start = () => {
    const args = [
      join(import.meta.dirname, "runner-process.fixture.ts"),
      join(dir, "agent"),
      files.key,
      files.commands,
      files.results,
      files.effects,
    ];
    return spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  };
  const changes = watch(dir);
  const untilLines = async (path: string, count: number) => {
    while (linesOf(path).length < count) await once(changes, "change");
  };
  let child: ChildProcess | null = null;
  const ids: string[] = [];
  try {
    for (let life = 0; life < 3; life++) {
      const id = `long-${life}`;
      ids.push(id);
      const at = Date.now();
      const one = sign({
        command_id: id,
        executor: "exec.run",
        args: { name: "effect", args: { id, seconds: 1000 } },
        timeout_ms: 900_000,
        issued_at_unix_ms: at,
        not_after_unix_ms: at + 600_000,
      });
      appendFileSync(files.commands, `${JSON.stringify(one)}\n`);
      child = start();
      const gone = once(child, "exit");
      // In the middle: its effect is there, its end is far away.
      await untilLines(files.effects, life + 1);
      child.kill("SIGKILL");
      await gone;
    }
    child = start();
    const told = () => new Set(linesOf(files.results).map((line) => (JSON.parse(line) as CommandResult).command_id));
    while (told().size < ids.length) await once(changes, "change");
  } finally {
    child?.kill("SIGKILL");
    changes.close();
  }
  expect(linesOf(files.effects).sort()).toEqual(ids);
  // The programs themselves, found by an argument that is theirs alone.
  const left = () =>
    readdirSync("/proc").filter((name) => {
      try {
        return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "utf8").includes(files.effects);
      } catch {
        return false;
      }
    });
  while (left().length > 0) await delay(5);
  const states = new Map(
    linesOf(files.results)
      .map((line) => JSON.parse(line) as CommandResult)
      .map((result) => [result.command_id, result.state]),
  );
  expect([...states]).toEqual(ids.map((id) => [id, "lost"]));
  expect(existsSync(join(dir, "agent", "commands.journal"))).toBe(true);
});
