import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  watch,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { begin, bodies, look, NOW, openFolder, type TailFolder, take } from "./tail.fixture.ts";

let root: string;
let logs: string;
let openSpool: TailFolder["openSpool"];
beforeEach(() => {
  ({ root, logs, openSpool } = openFolder());
});

describe("tail", () => {
  test("gives each whole line once, and a partial one when it is whole", async () => {
    const path = join(logs, "app.log");
    writeFileSync(path, "one\ntwo\r\n\nthr");
    const spool = openSpool();
    const tail = begin(spool, { path });
    look(tail);
    look(tail);
    expect(await bodies(spool)).toEqual(["one", "two"]);
    appendFileSync(path, "ee\nfour\n");
    look(tail);
    expect(await bodies(spool)).toEqual(["three", "four"]);
  });

  test("gives every line of many, of whatever length and kind, in their order", async () => {
    const path = join(logs, "app.log");
    const kinds = ["", "2026-03-01T12:00:00Z INFO ", "Mar  1 12:00:00 ", "é "];
    const lines = Array.from({ length: 6_000 }, (_, at) => `${kinds[at % 4]}${at} ${"x".repeat((at * 37) % 300)}`);
    // Lines that take a row of their own, and some of the greatest length, in between.
    for (let at = 500; at < lines.length; at += 1_000) lines[at] = `${at} ${"y".repeat(65_530)}`;
    for (let at = 700; at < lines.length; at += 1_000) lines[at] = `${at} ${"z".repeat(70_000)}`;
    writeFileSync(path, `${lines.join("\n")}\n`);
    writeFileSync(join(logs, "other.log"), "other\n".repeat(2_000));
    const spool = openSpool();
    look(begin(spool, { path: join(logs, "*.log") }));
    const given = await bodies(spool);
    expect(given.filter((body) => body !== "other")).toEqual(lines.map((line) => line.slice(0, 65_536)));
    expect(given).toHaveLength(lines.length + 2_000);
  });

  test("gives a partial line away after five idle seconds, and says that it is partial", async () => {
    const path = join(logs, "app.log");
    writeFileSync(path, "Segmentation fault");
    const spool = openSpool();
    const tail = begin(spool, { path });
    look(tail, NOW);
    look(tail, NOW + 4_999);
    expect(await take(spool)).toEqual([]);
    look(tail, NOW + 5_000);
    const [row] = await take(spool);
    expect(row).toMatchObject({ body: "Segmentation fault", attributes: { "log.partial": "true" } });
    appendFileSync(path, " (core dumped)\n");
    look(tail, NOW + 6_000);
    expect(await bodies(spool)).toEqual([" (core dumped)"]);
  });

  test("reads a renamed file to its end and the new one from its beginning", async () => {
    const path = join(logs, "app.log");
    writeFileSync(path, "old 1\n");
    const spool = openSpool();
    const tail = begin(spool, { path });
    look(tail);
    appendFileSync(path, "old 2\n");
    renameSync(path, `${path}.1`);
    writeFileSync(path, "new 1\n");
    look(tail);
    appendFileSync(`${path}.1`, "old 3, from a writer that has not noticed\n");
    look(tail, NOW + 1000);
    expect((await bodies(spool)).sort()).toEqual([
      "new 1",
      "old 1",
      "old 2",
      "old 3, from a writer that has not noticed",
    ]);
    look(tail, NOW + 20_000);
    look(tail, NOW + 21_000);
    expect([...spool.marks.keys()]).toHaveLength(1);
  });

  test("reads on in a file that was renamed while the agent was away", async () => {
    const path = join(logs, "app.log");
    writeFileSync(path, "old 1\n");
    const before = openSpool();
    look(begin(before, { path }));
    expect(await bodies(before)).toEqual(["old 1"]);
    appendFileSync(path, "old 2\n");
    renameSync(path, `${path}.1`);
    writeFileSync(path, "new 1\n");
    const after = openSpool();
    look(begin(after, { path }));
    expect((await bodies(after)).sort()).toEqual(["new 1", "old 2"]);
  });

  test("begins anew when a file is copied and truncated", async () => {
    const path = join(logs, "app.log");
    writeFileSync(path, "2026 old 1\n2026 old 2\n");
    const spool = openSpool();
    const tail = begin(spool, { path });
    look(tail);
    copyFileSync(path, `${path}.1`);
    truncateSync(path, 0);
    appendFileSync(path, "2026 new 1\n");
    look(tail);
    expect(await bodies(spool)).toEqual(["2026 old 1", "2026 old 2", "2026 new 1"]);
  });

  test("notices by the first bytes that a truncated file has grown beyond where it was", async () => {
    const path = join(logs, "app.log");
    writeFileSync(path, "old 1\n");
    const spool = openSpool();
    const tail = begin(spool, { path });
    look(tail);
    truncateSync(path, 0);
    appendFileSync(path, "new 1 and long\nnew 2\n");
    look(tail);
    expect(await bodies(spool)).toEqual(["old 1", "new 1 and long", "new 2"]);
  });

  test("waits for a file that has vanished and finds new ones by its pattern", async () => {
    const spool = openSpool();
    const tail = begin(spool, { path: join(logs, "*.log") });
    look(tail);
    writeFileSync(join(logs, "a.log"), "a 1\n");
    writeFileSync(join(logs, "b.txt"), "no\n");
    look(tail);
    unlinkSync(join(logs, "a.log"));
    look(tail);
    look(tail, NOW + 20_000);
    writeFileSync(join(logs, "a.log"), "a 2\n");
    writeFileSync(join(logs, "c.log"), "c 1\n");
    look(tail, NOW + 21_000);
    expect((await bodies(spool)).sort()).toEqual(["a 1", "a 2", "c 1"]);
  });

  test("cuts a line of 10 MB at 64 KiB, says how long it was, and needs little memory for it", async () => {
    const path = join(logs, "app.log");
    writeFileSync(path, `before\n${"x".repeat(10_000_000)}\nafter\n`);
    const spool = openSpool();
    const tail = begin(spool, { path });
    const before = process.memoryUsage().arrayBuffers;
    look(tail);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(3_000_000);
    const rows = await take(spool);
    expect(rows.map(({ body }) => body.length)).toEqual([6, 65_536, 5]);
    expect(rows[1]?.attributes).toMatchObject({ "log.truncated": "true", "log.original_length": "10000000" });
  });

  test("replaces what is no UTF-8", async () => {
    const path = join(logs, "app.log");
    writeFileSync(path, Buffer.from([0x61, 0xff, 0x62, 0x0a]));
    const spool = openSpool();
    look(begin(spool, { path }));
    expect(await bodies(spool)).toEqual(["a\uFFFDb"]);
  });

  test("reads severity and time from text and from JSON", async () => {
    const path = join(logs, "app.log");
    writeFileSync(path, "2026-03-01T12:00:00.250Z ERROR cannot connect\nplain\n");
    const json = join(logs, "app.json");
    writeFileSync(json, '{"level":40,"time":1772366400500,"msg":"slow","user":7,"trace_id":"ab"}\n{"broken\n');
    const spool = openSpool();
    look(begin(spool, { path }));
    look(begin(spool, { path: json, format: "json" }));
    const rows = await take(spool);
    expect(rows.map(({ body, severity, timestampMs }) => [body, severity, timestampMs])).toEqual([
      ["2026-03-01T12:00:00.250Z ERROR cannot connect", 17, 1_772_366_400_250],
      ["plain", 0, NOW],
      ["slow", 13, 1_772_366_400_500],
      ['{"broken', 0, NOW],
    ]);
    expect(rows[2]?.attributes.user).toBe("7");
  });

  test("loses no line to a full disk: it waits and reads again", async () => {
    let isFull = false;
    const spool = openSpool((fd, buffer, offset, length, position) => {
      if (isFull) throw Object.assign(new Error("full"), { code: "ENOSPC" });
      return writeSync(fd, buffer, offset, length, position);
    });
    const path = join(logs, "app.log");
    writeFileSync(path, "one\n");
    const tail = begin(spool, { path });
    look(tail);
    isFull = true;
    appendFileSync(path, "two\n");
    expect(look(tail)).toBe(false);
    appendFileSync(path, "three\n");
    expect(look(tail)).toBe(false);
    isFull = false;
    expect(look(tail)).toBe(true);
    expect(await bodies(spool)).toEqual(["one", "two", "three"]);
    expect(spool.ledger()).toEqual({ produced: 3, delivered: 3, spooled: 0, dropped: {} });
  });

  test("can begin at the end of a file that was there before, and remembers where that was", async () => {
    const path = join(logs, "app.log");
    writeFileSync(path, "history\n");
    const first = openSpool();
    look(begin(first, { path, read_from: "end" }));
    appendFileSync(path, "news\n");
    const second = openSpool();
    look(begin(second, { path, read_from: "end" }));
    expect(await bodies(second)).toEqual(["news"]);
  });
});

/** A writer that rotates on while an agent takes its time to start would leave more files than it has open. */
const AHEAD_ROUNDS_MAX = 30;

test("each line arrives exactly once, however often the agent is killed while files grow and rotate", async () => {
  const pattern = join(logs, "*.log");
  const output = join(root, "out");
  writeFileSync(output, "");
  const fixture = join(import.meta.dirname, "tail-process.fixture.ts");
  const start = () =>
    spawn(process.execPath, [fixture, join(root, "spool"), pattern, output], {
      stdio: ["ignore", "ignore", "inherit"],
    });
  const received = () => {
    const last = new Map<string, number>();
    const lines: string[] = [];
    for (const text of readFileSync(output, "utf8").split("\n")) {
      if (!text.endsWith("]}")) continue;
      const batch = JSON.parse(text) as { producer: string; sequence: number; lines: string[] };
      // As ingest does: what is not above the last inserted sequence of a producer is a repetition.
      if (batch.sequence <= (last.get(batch.producer) ?? -1)) continue;
      last.set(batch.producer, batch.sequence);
      lines.push(...batch.lines);
    }
    return lines;
  };
  const path = join(logs, "app.log");
  const written: string[] = [];
  let child: ChildProcess | null = null;
  const progress = watch(root);
  try {
    for (let life = 0; life < 5; life++) {
      child = start();
      const gone = once(child, "exit");
      let rounds = 0;
      // Killed at a moment that the data decides: some time after it has published for the first time in this life.
      const sizeBefore = statSync(output).size;
      const isSilent = () => statSync(output).size === sizeBefore;
      while (isSilent() || rounds % 7 !== life % 7) {
        if (isSilent() && rounds >= AHEAD_ROUNDS_MAX) {
          await once(progress, "change");
          continue;
        }
        const lines = Array.from(
          { length: 40 },
          (_, index) => `line ${written.length + index} ${"x".repeat(index * 7)}`,
        );
        written.push(...lines);
        appendFileSync(path, `${lines.join("\n")}\n`);
        if (++rounds % 5 === 0) renameSync(path, join(logs, `app-${life}-${rounds}.log`));
        if (!existsSync(path)) writeFileSync(path, "");
        await new Promise((resolve) => setTimeout(resolve, 3));
      }
      child.kill("SIGKILL");
      await gone;
    }
    child = start();
    // Counted by a mark that only the last line holds; the whole is read once.
    appendFileSync(path, "the end\n");
    while (!readFileSync(output, "utf8").includes("the end")) await once(progress, "change");
    while (new Set(received()).size <= written.length) await once(progress, "change");
    child.kill("SIGKILL");
    await once(child, "exit");
  } finally {
    child?.kill("SIGKILL");
    progress.close();
  }
  const counts = new Map<string, number>();
  for (const line of received().filter((one) => one !== "the end")) counts.set(line, (counts.get(line) ?? 0) + 1);
  expect({
    lost: written.filter((line) => !counts.has(line)),
    doubled: [...counts].filter(([, count]) => count > 1),
  }).toEqual({
    lost: [],
    doubled: [],
  });
  expect(written.length).toBeGreaterThan(1000);
});
