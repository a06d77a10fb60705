import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Cancel, type CommandResult, type Progress, signCancel } from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { quietLog } from "../quiet-log.fixture.ts";
import { type CommandTerms, commandBy } from "./command.fixture.ts";
import { CommandRunner, type CommandRunnerOptions } from "./command-runner.ts";
import { CANCELLED, type Execution, type Executor, failed, type Outcome, succeeded } from "./executor.ts";
import { FileJournal } from "./file-journal.ts";
import type { Journal, JournalEntry } from "./journal.ts";
import { createExecutorRegistry } from "./registry.ts";

const NOW = 1_800_000_000_000;
const keys = generateKeyPairSync("ed25519");
const strangers = generateKeyPairSync("ed25519");
const sign = (terms: CommandTerms = {}) => commandBy(keys.privateKey, terms);
const cancelOf = (changes: Partial<Cancel> = {}, key = keys.privateKey) =>
  signCancel(
    {
      command_id: "c1",
      hosts: [],
      cancelled_by: "ann",
      at_unix_ms: NOW,
      not_after_unix_ms: NOW + 60_000,
      ...changes,
    },
    key,
  );

let dir: string;
let results: CommandResult[];
let progress: Progress[];
let onChange: () => void;
let runners: CommandRunner[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "orders-"));
  results = [];
  progress = [];
  runners = [];
  onChange = () => undefined;
});
afterEach(async () => {
  for (const runner of runners) await runner.stop(1000);
  rmSync(dir, { recursive: true, force: true });
});

const begin = (executor: Executor, options: Partial<CommandRunnerOptions> = {}) => {
  const runner = new CommandRunner({
    host: "h",
    dir,
    proc: "/proc",
    trustedKeys: [keys.publicKey],
    executors: createExecutorRegistry([executor]),
    policy: () => null,
    publishResult: async (result) => {
      results.push(result);
      onChange();
    },
    publishProgress: (one) => {
      progress.push(one);
      onChange();
    },
    now: () => NOW,
    log: quietLog,
    ...options,
  });
  runner.start();
  runners.push(runner);
  return runner;
};
const until = (isSo: () => boolean) =>
  new Promise<void>((resolve) => {
    onChange = () => {
      if (isSo()) resolve();
    };
    onChange();
  });
const states = () => results.map(({ command_id, state }) => `${command_id} ${state}`);

/** Runs until it is let go, or told to end. */
const held = () => {
  const ran: string[] = [];
  const executions = new Map<string, Execution>();
  const release = Promise.withResolvers<Outcome>();
  const executor: Executor = {
    name: "count",
    risk: "reversible",
    prepare: (args) => ({
      target: JSON.stringify(args),
      run: (execution) => {
        ran.push(execution.commandId);
        executions.set(execution.commandId, execution);
        onChange();
        const aborted = Promise.withResolvers<Outcome>();
        execution.signal.addEventListener("abort", () => aborted.resolve(failed(String(execution.signal.reason))));
        return Promise.race([release.promise, aborted.promise]);
      },
    }),
  };
  return { executor, ran, executions, release: () => release.resolve(succeeded("let go")) };
};

describe("a cancellation", () => {
  test("ends what runs, and is told as such", async () => {
    const { executor, ran } = held();
    const runner = begin(executor);
    await runner.take(sign());
    await until(() => ran.length === 1);
    await runner.cancel(cancelOf());
    await until(() => results.length === 1);
    expect(results).toMatchObject([{ state: "cancelled", message: CANCELLED, started_at_unix_ms: NOW }]);
  });

  test("is final for what waits: it never begins, for the next agent neither", async () => {
    const { executor, ran, release } = held();
    const runner = begin(executor);
    await runner.take(sign());
    await runner.take(sign({ command_id: "c2" }));
    await runner.cancel(cancelOf({ command_id: "c2" }));
    await until(() => results.length === 1);
    release();
    await until(() => results.length === 2);
    await runner.stop(1000);
    const next = begin(executor);
    await next.take(sign({ command_id: "c2" }));
    await until(() => results.length === 3);
    expect(states()).toEqual(["c2 cancelled", "c1 succeeded", "c2 cancelled"]);
    expect(ran).toEqual(["c1"]);
  });

  test.each([["with this host named", ["h"]] as const, ["for all hosts", []] as const])(
    "is final for what comes only later, %s, and for the next agent too",
    async (_, hosts) => {
      const { executor, ran } = held();
      const runner = begin(executor);
      await runner.cancel(cancelOf({ hosts: [...hosts] }));
      await runner.stop(1000);
      const told = results.length;
      // A cancellation for all hosts may be of a command that was never meant for this one: nobody waits for an answer.
      expect(told).toBe(hosts.length);
      const next = begin(executor);
      await next.take(sign());
      await until(() => results.length > told);
      expect(new Set(states())).toEqual(new Set(["c1 cancelled"]));
      expect(ran).toEqual([]);
    },
  );

  test("that comes while the command is written down finds it all the same", async () => {
    const { executor, ran } = held();
    const runner = begin(executor);
    await runner.take(sign({ command_id: "c0" }));
    const taken = runner.take(sign());
    await runner.cancel(cancelOf());
    await taken;
    await until(() => results.length === 1);
    expect(states()).toEqual(["c1 cancelled"]);
    expect(ran).toEqual(["c0"]);
  });

  test("after the end changes nothing: the result stands, and is told again", async () => {
    const { executor, release } = held();
    release();
    const runner = begin(executor);
    await runner.take(sign());
    await until(() => results.length === 1);
    await runner.cancel(cancelOf());
    await until(() => results.length === 2);
    expect(states()).toEqual(["c1 succeeded", "c1 succeeded"]);
  });

  test("of something that succeeds in that moment leaves it succeeded", async () => {
    const executor: Executor = {
      name: "count",
      risk: "reversible",
      prepare: () => ({
        target: "t",
        run: ({ signal }) => new Promise((resolve) => signal.addEventListener("abort", () => resolve(succeeded("")))),
      }),
    };
    const runner = begin(executor);
    await runner.take(sign());
    await runner.cancel(cancelOf());
    await until(() => results.length === 1);
    expect(states()).toEqual(["c1 succeeded"]);
  });

  test.each([
    ["forged", () => cancelOf({}, strangers.privateKey)],
    ["altered", () => ({ ...cancelOf({ command_id: "c2" }), cancel: cancelOf().cancel })],
    ["for another host", () => cancelOf({ hosts: ["other"] })],
    ["malformed", () => ({ cancel: null })],
    ["nothing", () => null],
  ])("that is %s changes nothing", async (_, made) => {
    const { executor, release } = held();
    const runner = begin(executor);
    await runner.cancel(made());
    await runner.take(sign());
    await runner.cancel(made());
    release();
    await until(() => results.length === 1);
    expect(states()).toEqual(["c1 succeeded"]);
  });
});

describe("progress", () => {
  test("tells what waits and what runs, and keeps silent about what ends at once", async () => {
    const { executor, release } = held();
    const runner = begin(executor);
    await runner.take(sign());
    await runner.take(sign({ command_id: "c2" }));
    await until(() => progress.length === 2);
    release();
    await until(() => results.length === 2);
    expect(progress.map(({ command_id, state, output }) => [command_id, state, output])).toEqual([
      ["c1", "running", null],
      ["c2", "accepted", null],
    ]);
  });

  test("carries output in pieces, in order, up to what was granted", async () => {
    const { executor, executions, release } = held();
    const runner = begin(executor, { monotonicMs: () => 0 });
    await runner.take(sign({ output_bytes_max: 100_000 }));
    await until(() => executions.size === 1);
    const execution = executions.get("c1");
    const all = Buffer.alloc(150_000, "0123456789");
    for (let at = 0; at < all.length; at += 7_000) execution?.output("stdout", all.subarray(at, at + 7_000));
    execution?.output("stderr", Buffer.from("too late"));
    release();
    await until(() => results.length === 1);
    const outputs = progress.flatMap(({ output }) => output ?? []);
    const bytes = Buffer.concat(outputs.map(({ data }) => Buffer.from(data, "base64")));
    expect(bytes.equals(all.subarray(0, 100_000))).toBe(true);
    expect(outputs.map(({ sequence }) => sequence)).toEqual(outputs.map((_, index) => index));
    expect(outputs.every(({ data }) => Buffer.from(data, "base64").length <= 32_768)).toBe(true);
  });

  test("leaves out what comes too fast, and shows the gap", async () => {
    const { executor, executions, release } = held();
    let nowMs = 0;
    const runner = begin(executor, { monotonicMs: () => nowMs });
    await runner.take(sign({ output_bytes_max: 1_048_576 }));
    await until(() => executions.size === 1);
    const execution = executions.get("c1");
    execution?.output("stdout", Buffer.alloc(900_000));
    nowMs = 1_000;
    execution?.output("stdout", Buffer.from("after"));
    release();
    await until(() => results.length === 1);
    const outputs = progress.flatMap(({ output }) => output ?? []);
    const sent = outputs.reduce((sum, { data }) => sum + Buffer.from(data, "base64").length, 0);
    expect(sent).toBeLessThan(400_000);
    expect(outputs.at(-1)).toMatchObject({ sequence: 28, data: Buffer.from("after").toString("base64") });
  });

  test("makes a terminal wait instead, and loses none of it", async () => {
    const { executor, executions, release } = held();
    let nowMs = 0;
    const runner = begin(executor, { monotonicMs: () => nowMs });
    await runner.take(sign({ output_bytes_max: 0 }));
    await until(() => executions.size === 1);
    const written = Buffer.alloc(600_000, "0123456789");
    for (let at = 0; at < written.length; at += 50_000) {
      const wait = executions.get("c1")?.output("pty", written.subarray(at, at + 50_000));
      nowMs += 100;
      await wait;
    }
    release();
    await until(() => results.length === 1);
    const bytes = progress.flatMap(({ output }) => (output === null ? [] : [Buffer.from(output.data, "base64")]));
    expect(Buffer.concat(bytes).equals(written)).toBe(true);
  });
});

test("what is typed reaches the command that runs, also before it listens, and no other", async () => {
  const { executor, executions, release } = held();
  const runner = begin(executor);
  await runner.take(sign());
  await until(() => executions.size === 1);
  const heard: unknown[] = [];
  runner.input("c1", Buffer.from("early"));
  runner.input("c2", Buffer.from("stray"));
  runner.resize("c1", 100, 40);
  executions.get("c1")?.input.onData((data) => heard.push(data.toString()));
  executions.get("c1")?.input.onResize((...size) => heard.push(size));
  runner.input("c1", Buffer.from("late"));
  runner.resize("c1", 80, 24);
  release();
  await until(() => results.length === 1);
  runner.input("c1", Buffer.from("too late"));
  expect(heard).toEqual(["early", [100, 40], "late", [80, 24]]);
});

test("gives a command the lesser of what was granted and what this host allows", async () => {
  const { executor, executions, release } = held();
  const runner = begin(executor, { limits: { cpu_percent: 50, memory_bytes: 100_000_000 } });
  await runner.take(sign({ limits: { cpu_percent: 80, memory_bytes: 50_000_000 } }));
  await until(() => executions.size === 1);
  release();
  await until(() => results.length === 1);
  expect(executions.get("c1")?.limits).toEqual({ cpu_percent: 50, memory_bytes: 50_000_000 });
});

test("takes a command that an executor can no longer do after a restart for refused, and says so", async () => {
  const { executor, ran } = held();
  const first = begin(executor);
  await first.take(sign());
  await first.take(sign({ command_id: "c2" }));
  await first.stop(0);
  const next = begin({ ...executor, prepare: () => ({ refused: "not here any more" }) });
  await until(() => results.length === 2);
  expect(states().sort()).toEqual(["c1 lost", "c2 refused"]);
  expect(ran).toEqual(["c1"]);
  await next.stop(1000);
});

test("refuses what it cannot remember, and does not run it", async () => {
  const { executor, ran, release } = held();
  release();
  const journal = FileJournal.open({ dir, log: quietLog, nowUnixMs: NOW, entriesMax: 2 });
  const runner = begin(executor, { journal });
  for (const command_id of ["c1", "c2", "c3"]) await runner.take(sign({ command_id }));
  await until(() => results.length === 3);
  expect(results.find(({ command_id }) => command_id === "c3")).toMatchObject({
    state: "refused",
    message: "the journal of commands is full",
  });
  expect(ran).toEqual(["c1", "c2"]);
  // Refusals and cancellations have room of their own, and end nothing that is remembered when that is full too.
  for (const command_id of ["c4", "c5"]) await runner.cancel(cancelOf({ command_id }));
  expect(["c3", "c4", "c5"].map((id) => journal.get(id)?.state)).toEqual(["done", "done", undefined]);
  await runner.take(sign({ command_id: "c5" }));
  expect(ran).toEqual(["c1", "c2"]);
  // Not remembered, so not told: it is looked at anew when it comes again.
  expect(results.map(({ command_id }) => command_id)).not.toContain("c5");
  await runner.stop(1000);
  await journal.close();
});

test("what it has refused for want of room stays refused when it comes again and there is room", async () => {
  const { executor, ran, release } = held();
  release();
  let nowUnixMs = NOW;
  const journal = FileJournal.open({ dir, log: quietLog, nowUnixMs, entriesMax: 1 });
  const runner = begin(executor, { journal, now: () => nowUnixMs });
  const hour = 3_600_000;
  await runner.take(sign({ command_id: "c1", not_after_unix_ms: NOW + 1_000 }));
  await until(() => results.length === 1);
  const late = sign({ command_id: "c2", not_after_unix_ms: NOW + 3 * hour });
  await runner.take(late);
  await until(() => results.length === 2);
  // What held the room is forgotten by now, and control had not heard the refusal when it sent the command again.
  nowUnixMs += 2 * hour;
  await runner.take(late);
  await until(() => results.length === 3);
  expect(states()).toEqual(["c1 succeeded", "c2 refused", "c2 refused"]);
  expect(ran).toEqual(["c1"]);
  await runner.stop(1000);
  await journal.close();
});

test("a command that the disk does not take is not run, and comes again", async () => {
  const { executor, ran, release } = held();
  release();
  const disk = new Map<string, JournalEntry>();
  let isFull = true;
  const journal: Journal = {
    get: (key) => disk.get(key),
    entries: () => [],
    hasRoom: () => true,
    write: async (key, entry) => {
      if (isFull) throw new Error("no space left on device");
      disk.set(key, entry);
    },
    note: (key, entry) => void disk.set(key, entry),
    tend: () => undefined,
    close: async () => undefined,
  };
  const runner = begin(executor, { journal });
  await expect(runner.take(sign())).rejects.toThrow("no space");
  expect([ran, results]).toEqual([[], []]);
  isFull = false;
  await runner.take(sign());
  await until(() => results.length === 1);
  expect([ran, states()]).toEqual([["c1"], ["c1 succeeded"]]);
});

/** What is on disk, and an agent that dies at its n-th write: from then on nothing that it does has an effect. */
class MortalJournal implements Journal {
  readonly #disk: Map<string, JournalEntry>;
  readonly #memory: Map<string, JournalEntry>;
  #writesLeft: number;

  constructor(disk: Map<string, JournalEntry>, writesLeft: number) {
    this.#disk = disk;
    this.#memory = new Map(disk);
    this.#writesLeft = writesLeft;
  }
  get isDead(): boolean {
    return this.#writesLeft <= 0;
  }
  get(key: string) {
    return this.#memory.get(key);
  }
  entries() {
    return [...this.#memory];
  }
  hasRoom() {
    return true;
  }
  write(key: string, entry: JournalEntry): Promise<void> {
    this.note(key, entry);
    return this.isDead ? new Promise(() => undefined) : Promise.resolve();
  }
  note(key: string, entry: JournalEntry) {
    this.#memory.set(key, entry);
    if (this.isDead) return;
    this.#disk.set(key, entry);
    this.#writesLeft -= 1;
  }
  readonly tend = () => undefined;
  readonly close = async () => undefined;
}

test("an agent that dies at any of its writes leaves every command in a true state, and none runs twice", async () => {
  const ids = ["c0", "c1", "c2", "c3"];
  for (let writes = 1; writes <= 14; writes++) {
    const disk = new Map<string, JournalEntry>();
    const ran: string[] = [];
    const told = new Map<string, string[]>();
    const liveWith = async (journal: MortalJournal) => {
      const executor: Executor = {
        name: "count",
        risk: "reversible",
        prepare: (args) => ({
          target: JSON.stringify(args),
          run: async ({ commandId }) => {
            if (!journal.isDead) ran.push(commandId);
            return succeeded("");
          },
        }),
      };
      const runner = begin(executor, {
        journal,
        publishResult: async ({ command_id, state }) => {
          if (journal.isDead) return;
          told.set(command_id, [...(told.get(command_id) ?? []), state]);
          onChange();
        },
      });
      // As long as nothing is heard of them, they are delivered again.
      for (const command_id of ids.filter((id) => !told.has(id))) void runner.take(sign({ command_id }));
      void runner.cancel(cancelOf({ command_id: "c2", hosts: ["h"] }));
      for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
      await runner.stop(0);
      runners.pop();
    };
    await liveWith(new MortalJournal(disk, writes));
    await liveWith(new MortalJournal(disk, Infinity));
    for (const id of ids) {
      const [first, ...more] = told.get(id) ?? [];
      const times = ran.filter((one) => one === id).length;
      expect(times, `${id} after ${writes} writes`).toBeLessThanOrEqual(1);
      expect(first, `${id} after ${writes} writes`).toBeDefined();
      if (first === "cancelled") expect(times).toBe(0);
      if (first === "succeeded") expect(times).toBe(1);
      expect(["succeeded", "cancelled", "lost"]).toContain(first);
      expect(more.every((state) => state === first)).toBe(true);
    }
  }
});
