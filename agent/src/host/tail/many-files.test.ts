import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { LogSource } from "../config.ts";
import { codeOfProblem } from "../self/error-codes.ts";
import type { Spool } from "../spool/spool.ts";
import { begin, bodies, look, NOW, openFolder, type TailFolder } from "./tail.fixture.ts";
import type { Tail } from "./tail.ts";

const MINUTE_MS = 60_000;

let logs: string;
let openSpool: TailFolder["openSpool"];
let spool: Spool;
beforeEach(() => {
  ({ logs, openSpool } = openFolder());
  spool = openSpool();
});
afterEach(() => spool.close());

const beginWith = (filesMax: number, source: Partial<LogSource> = {}): Tail =>
  begin(spool, { path: join(logs, "*.log"), ...source }, filesMax);
const nameOf = (index: number) => join(logs, `${String(index).padStart(4, "0")}.log`);
/** A file with a mtime in the order of its index. */
const write = (index: number, text: string) => {
  writeFileSync(nameOf(index), text);
  utimesSync(nameOf(index), NOW / 1000 + index, NOW / 1000 + index);
};
const openLogs = () =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(logs);
    } catch {
      // The descriptor of the listing itself.
      return false;
    }
  }).length;

describe("more log files than may be open", () => {
  test("are read all the same, each line once, with few of them open, over a restart too", async () => {
    const count = 1_000;
    const all = (text: string) => Array.from({ length: count }, (_, index) => `${index} ${text}`);
    for (let index = 0; index < count; index++) write(index, `${index} one\n`);
    let tail = beginWith(64);
    for (let time = 0; time < Math.ceil(count / 64); time++) {
      look(tail);
      expect(openLogs()).toBeLessThanOrEqual(64);
    }
    expect((await bodies(spool)).sort()).toEqual(all("one").sort());
    look(tail);
    expect(tail.problems()).toEqual([]);
    expect(tail.files()).toEqual({ open: 64, idle: count - 64, leftOut: new Map() });
    for (let index = 0; index < count; index++) appendFileSync(nameOf(index), `${index} two\n`);
    for (let time = 0; time < 5; time++) look(tail);
    tail.close();
    spool.close();
    spool = openSpool();
    tail = beginWith(64);
    for (let time = 0; time < 40; time++) look(tail);
    expect((await bodies(spool)).sort()).toEqual(all("two").sort());
    tail.close();
    expect(openLogs()).toBe(0);
  });

  test("wait while all that are open have lines to come, and say of which pattern and how many", async () => {
    for (let index = 0; index < 5; index++) write(index, `${index} whole\n${index} begun`);
    const tail = beginWith(3);
    look(tail);
    expect((await bodies(spool)).sort()).toEqual(["2 whole", "3 whole", "4 whole"]);
    expect(tail.files().leftOut).toEqual(new Map([[join(logs, "*.log"), 2]]));
    const [problem = "", ...more] = tail.problems();
    expect(more).toEqual([]);
    expect(problem).toBe(
      `more than 3 log files are written to (log_files_max): 2 of 5 that match ${join(logs, "*.log")} wait`,
    );
    expect(codeOfProblem(problem)).toBe("tail");
    look(tail, NOW + 5_000);
    look(tail, NOW + 6_000);
    look(tail, NOW + 12_000);
    expect((await bodies(spool)).sort()).toEqual(
      ["0 begun", "0 whole", "1 begun", "1 whole", "2 begun", "3 begun", "4 begun"].sort(),
    );
    look(tail, NOW + 13_000);
    expect(tail.problems()).toEqual([]);
  });

  test("of a source that is read from its files' ends begin where they ended at the start, whenever they come in", async () => {
    for (let index = 0; index < 5; index++) write(index, `${index} before\n${index} be`);
    const tail = beginWith(2, { read_from: "end" });
    look(tail);
    expect(tail.files().leftOut).toEqual(new Map([[join(logs, "*.log"), 3]]));
    for (let index = 0; index < 5; index++) appendFileSync(nameOf(index), `gun\n${index} after\n`);
    for (let time = 0; time < 5; time++) look(tail);
    const given = Array.from({ length: 5 }, (_, index) => ["gun", `${index} after`]).flat();
    expect((await bodies(spool)).sort()).toEqual(given.sort());
  });

  test("are left out, and told, where the marks of more would not fit into the head of a segment", async () => {
    let deep = logs;
    for (let level = 0; level < 14; level++) deep = join(deep, `${level}`.padEnd(250, "d"));
    mkdirSync(deep, { recursive: true });
    const path = join(deep, "*.log");
    for (let index = 0; index < 160; index++) writeFileSync(join(deep, `${index}.log`), `${index} one\n`);
    const tail = beginWith(64, { path });
    for (let time = 0; time < 5; time++) look(tail);
    const read = (await bodies(spool)).length;
    const [problem = ""] = tail.problems();
    expect(read).toBeGreaterThan(100);
    expect(problem).toBe(
      `more than ${read} log files cannot be remembered: ${160 - read} of 160 that match ${path} wait`,
    );
    tail.close();
    spool.close();
    spool = openSpool();
    expect([...spool.marks.keys()]).toHaveLength(read);
  });
});

describe("a log file that rests", () => {
  const rest = (tail: Tail) => {
    look(tail);
    expect(openLogs()).toBe(2);
    look(tail, NOW + 5 * MINUTE_MS);
    expect(openLogs()).toBe(0);
    expect(tail.files()).toMatchObject({ open: 0, idle: 2 });
  };
  beforeEach(() => {
    write(1, "one\n");
    write(2, "");
  });

  test("is closed after five minutes, and read on when it grows", async () => {
    const tail = beginWith(64);
    rest(tail);
    appendFileSync(nameOf(1), "two\n");
    appendFileSync(nameOf(2), "first\n");
    look(tail, NOW + 6 * MINUTE_MS);
    expect((await bodies(spool)).sort()).toEqual(["first", "one", "two"]);
    expect(openLogs()).toBe(2);
    tail.close();
  });

  test("is found by its inode when it is written to and renamed before the next look", async () => {
    const tail = beginWith(64);
    rest(tail);
    appendFileSync(nameOf(1), "last words\n");
    renameSync(nameOf(1), `${nameOf(1)}.1`);
    write(1, "new\n");
    look(tail, NOW + 6 * MINUTE_MS);
    expect((await bodies(spool)).sort()).toEqual(["last words", "new", "one"]);
    tail.close();
  });

  test("is read from its beginning when its content is another, of the same size too", async () => {
    const tail = beginWith(64);
    rest(tail);
    writeFileSync(nameOf(1), "two\n");
    utimesSync(nameOf(1), NOW / 1000 + 100, NOW / 1000 + 100);
    look(tail, NOW + 6 * MINUTE_MS);
    expect(await bodies(spool)).toEqual(["one", "two"]);
    tail.close();
  });

  test("is forgotten when it is removed", () => {
    const tail = beginWith(64);
    rest(tail);
    unlinkSync(nameOf(1));
    unlinkSync(nameOf(2));
    look(tail, NOW + 6 * MINUTE_MS);
    expect(tail.files()).toMatchObject({ open: 0, idle: 0 });
    expect(spool.marks.size).toBe(0);
  });
});
