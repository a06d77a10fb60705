import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { quietLog } from "../quiet-log.fixture.ts";
import { Spool, type SpoolOptions, type WriteAt } from "./spool.ts";

const ALL = { recordsMax: 1000, bytesMax: 1e9 };

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "spool-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const open = (options: Partial<SpoolOptions> = {}) =>
  Spool.open({ dir, host: "web-1", bytesMax: 1_000_000, segmentBytes: 2000, log: quietLog, ...options });
/** Odd and even numbers of rows go to topics of their own. */
const TOPICS = ["telemetry.logs", "telemetry.metrics"];
const put = (spool: Spool, rows: number, bytes = 100, marks: Record<string, string | null> = {}) =>
  spool.append({ topic: TOPICS[rows % 2] ?? "", rows, value: Buffer.alloc(bytes, rows), marks });
const segments = () =>
  readdirSync(dir)
    .filter((name) => name.endsWith(".seg"))
    .sort();
const closes = (spool: Spool) => {
  const { produced, delivered, spooled, dropped } = spool.ledger();
  expect(delivered + spooled + Object.values(dropped).reduce((sum, rows) => sum + rows, 0)).toBe(produced);
  for (const rows of [produced, delivered, spooled, ...Object.values(dropped)]) expect(rows).toBeGreaterThanOrEqual(0);
  const topics = Object.values(spool.topicLedgers());
  for (const one of topics) {
    const lost = Object.values(one.dropped).reduce((sum, rows) => sum + rows, 0);
    expect(one.delivered + one.spooled + lost).toBe(one.produced);
    for (const rows of [one.delivered, one.spooled]) expect(rows).toBeGreaterThanOrEqual(0);
  }
  const sum = (name: "produced" | "delivered" | "spooled") => topics.reduce((rows, one) => rows + one[name], 0);
  expect([sum("produced"), sum("delivered"), sum("spooled")], "the topics together").toEqual([
    produced,
    delivered,
    spooled,
  ]);
};

describe("spool", () => {
  test("gives back what was appended, in order, until it is acked", async () => {
    const spool = open();
    for (const rows of [1, 2, 3]) expect(put(spool, rows)).toEqual({ appended: true });
    expect(spool.peek(ALL)).toEqual([]);
    await spool.sync();
    expect(spool.peek(ALL).map((record) => record.rows)).toEqual([1, 2, 3]);
    spool.ack(spool.peek({ recordsMax: 2, bytesMax: 1e9 }));
    expect(spool.peek(ALL).map((record) => [record.rows, record.sequence])).toEqual([[3, 3]]);
    expect(spool.ledger()).toEqual({ produced: 6, delivered: 3, spooled: 3, dropped: {} });
  });

  test("tells how far the bus has each topic's batches, also after a kill", async () => {
    const before = open();
    for (const rows of [1, 2, 3, 4]) put(before, rows);
    await before.sync();
    expect(before.checkpoints()).toEqual([]);
    before.ack(before.peek({ recordsMax: 3, bytesMax: 1e9 }));
    const told = [
      { topic: "telemetry.metrics", producer: before.producer, sequence: 3, rows: 4, since_sequence: 1 },
      { topic: "telemetry.logs", producer: before.producer, sequence: 2, rows: 2, since_sequence: 1 },
    ];
    expect(before.checkpoints()).toEqual(expect.arrayContaining(told));
    expect(open().checkpoints()).toEqual(expect.arrayContaining(told));
  });

  test("tells nothing of another producer's batches when it goes on under a new name", async () => {
    const before = open();
    for (const rows of [1, 3, 5]) put(before, rows);
    await before.sync();
    before.ack(before.peek({ recordsMax: 1, bytesMax: 1e9 }));
    const path = join(dir, segments()[0] ?? "");
    const bytes = readFileSync(path);
    bytes.fill(0xff, 0, 60);
    writeFileSync(path, bytes);
    const after = open();
    expect(after.producer).not.toBe(before.producer);
    await after.sync();
    after.ack(after.peek(ALL));
    expect(after.checkpoints()).toEqual([]);
    const sequence = after.nextSequence;
    put(after, 7);
    const again = open();
    await again.sync();
    again.ack(again.peek(ALL));
    expect(again.checkpoints()).toMatchObject([{ producer: after.producer, sequence, rows: 7 }]);
  });

  test("knows its producer, counts, marks and sequence again after a kill", async () => {
    const before = open();
    for (let rows = 1; rows <= 60; rows++) put(before, rows, 100, { file: `at ${rows}`, gone: rows < 50 ? "x" : null });
    await before.sync();
    before.ack(before.peek({ recordsMax: 30, bytesMax: 1e9 }));
    before.reject("not_a_number", 4, "telemetry.metrics");
    put(before, 61);
    expect(segments().length).toBeGreaterThan(2);

    const after = open();
    expect(after.producer).toBe(before.producer);
    expect(after.nextSequence).toBe(62);
    expect(after.ledger()).toEqual(before.ledger());
    expect(after.topicLedgers()).toEqual(before.topicLedgers());
    expect(after.topicLedgers()).toEqual({
      "telemetry.logs": { produced: 30 * 31, delivered: 15 * 16, spooled: 30 * 31 - 15 * 16, dropped: {} },
      "telemetry.metrics": {
        produced: 31 * 31 + 4,
        delivered: 15 * 15,
        spooled: 31 * 31 - 15 * 15,
        dropped: { not_a_number: 4 },
      },
    });
    expect(Object.fromEntries(after.marks)).toEqual({ file: "at 60" });
    await after.sync();
    expect(after.peek(ALL).map((record) => record.rows)).toEqual(Array.from({ length: 31 }, (_, index) => index + 31));
  });

  test("gives the newest batch, and finds nothing after it, without reading its segment", async () => {
    const spool = open();
    for (let round = 0; round < 3; round++) {
      put(spool, 5);
      await spool.sync();
      if (round === 0) for (const name of readdirSync(dir)) rmSync(join(dir, name));
      const records = spool.peek(ALL);
      expect(records.map((record) => [record.rows, record.sequence])).toEqual([[5, round + 1]]);
      spool.ack(records);
      expect(spool.peek(ALL)).toEqual([]);
    }
  });

  test("drops its oldest segment when it is full, and counts the rows", async () => {
    const spool = open({ bytesMax: 10_000 });
    for (let batch = 0; batch < 200; batch++) put(spool, 10);
    expect(spool.bytes).toBeLessThanOrEqual(10_500);
    await spool.sync();
    const kept = spool.peek(ALL).reduce((sum, record) => sum + record.rows, 0);
    expect(spool.ledger()).toEqual({
      produced: 2000,
      delivered: 0,
      spooled: kept,
      dropped: { spool_full: 2000 - kept },
    });
    expect(open({ bytesMax: 10_000 }).ledger()).toEqual(spool.ledger());
  });

  test("counts a batch as delivered that arrives after its segment was dropped", async () => {
    const spool = open({ bytesMax: 10_000 });
    put(spool, 10);
    await spool.sync();
    const onItsWay = spool.peek(ALL);
    for (let batch = 0; batch < 200; batch++) put(spool, 10);
    const dropped = spool.ledger().dropped.spool_full ?? 0;
    spool.ack(onItsWay);
    expect(spool.ledger().dropped.spool_full).toBe(dropped - 10);
    expect(spool.ledger().delivered).toBe(10);
    closes(spool);
  });

  test("does not use the sequence of a damaged record again, also when the disk is full at the next start", () => {
    const before = open();
    put(before, 1);
    const path = join(dir, segments()[0] ?? "");
    const bytes = readFileSync(path);
    bytes[bytes.length - 50] = 77;
    writeFileSync(path, bytes);
    const write: WriteAt = () => {
      throw Object.assign(new Error("full"), { code: "ENOSPC" });
    };
    open({ write });
    const after = open();
    expect(after.producer).toBe(before.producer);
    expect(after.nextSequence).toBeGreaterThan(1000);
  });

  test("sets a corrupt record aside, counts its rows and goes on with the next", async () => {
    const spool = open();
    for (const rows of [1, 2, 3]) put(spool, rows, 100);
    const path = join(dir, segments()[0] ?? "");
    const bytes = readFileSync(path);
    bytes[bytes.indexOf(Buffer.alloc(100, 2)) + 50] = 77;
    writeFileSync(path, bytes);

    const after = open();
    await after.sync();
    expect(after.peek(ALL).map((record) => record.rows)).toEqual([1, 3]);
    after.ack(after.peek(ALL));
    expect(after.ledger()).toEqual({ produced: 6, delivered: 4, spooled: 0, dropped: { corrupt: 2 } });
    expect(readdirSync(join(dir, "quarantine"))).toHaveLength(1);
  });

  test("cuts a torn end off and never uses its sequence again", async () => {
    const spool = open();
    put(spool, 1, 100, { file: "1" });
    put(spool, 2, 100, { file: "2" });
    const path = join(dir, segments()[0] ?? "");
    truncateSync(path, readFileSync(path).length - 5);
    const after = open();
    expect(after.marks.get("file")).toBe("1");
    expect(after.nextSequence).toBeGreaterThan(2);
    expect(after.ledger()).toEqual({ produced: 1, delivered: 0, spooled: 1, dropped: {} });
    put(after, 5);
    await after.sync();
    expect(after.peek(ALL).map((record) => record.rows)).toEqual([1, 5]);
  });

  test("gives no sequence twice, however much of its end is lost after a loss", () => {
    for (let lost = 1; lost <= 150; lost++) {
      const before = open();
      put(before, 1);
      put(before, 2);
      const cut = (bytes: number) => {
        const path = join(dir, segments().at(-1) ?? "");
        truncateSync(path, Math.max(0, readFileSync(path).length - bytes));
      };
      cut(1);
      open();
      cut(lost);
      const after = open();
      expect(after.producer !== before.producer || after.nextSequence > 2, `${lost} bytes`).toBe(true);
      rmSync(dir, { recursive: true });
    }
  });

  test("is a new producer when all of it is lost", () => {
    const before = open().producer;
    rmSync(dir, { recursive: true });
    expect(open().producer).not.toBe(before);
  });

  test("delivers what can still be read when the newest snapshot is destroyed", async () => {
    const spool = open();
    for (let rows = 1; rows <= 30; rows++) put(spool, rows, 100, { file: String(rows) });
    const newest = join(dir, segments().at(-1) ?? "");
    const bytes = readFileSync(newest);
    bytes.fill(0, 0, 30);
    writeFileSync(newest, bytes);
    for (const life of ["first", "second"]) {
      const after = open();
      expect(after.producer, life).toBe(spool.producer);
      expect(after.marks.get("file")).toBe("30");
      await after.sync();
      expect(after.peek(ALL)).toHaveLength(30);
    }
  });

  test("refuses appends on a full disk, says so, and recovers by itself", async () => {
    let isFull = false;
    const write: WriteAt = (fd, buffer, offset, length, position) => {
      if (!isFull) return writeSync(fd, buffer, offset, length, position);
      // A full disk takes part of a write before it refuses the rest.
      if (length > 60) return writeSync(fd, buffer, offset, 60, position);
      throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    };
    const spool = open({ write });
    put(spool, 1);
    isFull = true;
    expect(put(spool, 2)).toEqual({ appended: false, reason: "disk_full" });
    expect(spool.problem).toContain("ENOSPC");
    await spool.sync();
    spool.ack(spool.peek(ALL));
    isFull = false;
    put(spool, 3);
    expect(spool.problem).toBeNull();
    expect(open().ledger()).toEqual({ produced: 4, delivered: 1, spooled: 3, dropped: {} });
  });

  test("its ledger closes, also after kills, corruption, full disks and drops, and what it gives is in order and given once", async () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          do: fc.constant("append" as const),
          rows: fc.integer({ min: 1, max: 50 }),
          bytes: fc.integer({ min: 0, max: 900 }),
        }),
      },
      { weight: 3, arbitrary: fc.record({ do: fc.constant("ack" as const), records: fc.integer({ min: 1, max: 8 }) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("refuse" as const) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("reject" as const), rows: fc.integer({ min: 1, max: 9 }) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant("kill" as const) }) },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant("tear" as const), bytes: fc.integer({ min: 1, max: 300 }) }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("rot" as const), segment: fc.nat(), at: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("disk" as const), isFull: fc.boolean() }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        rmSync(dir, { recursive: true, force: true });
        let isFull = false;
        const write: WriteAt = (fd, buffer, offset, length, position) => {
          if (!isFull) return writeSync(fd, buffer, offset, length, position);
          throw Object.assign(new Error("full"), { code: "ENOSPC" });
        };
        const options = { bytesMax: 12_000, segmentBytes: 1500, write };
        let spool = open(options);
        const used = new Set<string>();
        for (const one of steps) {
          if (one.do === "append") {
            const sequence = `${spool.producer}:${spool.nextSequence}`;
            const isTaken = put(spool, one.rows, one.bytes).appended;
            if (isTaken) expect(used.has(sequence)).toBe(false);
            if (isTaken) used.add(sequence);
          }
          if (one.do === "ack") {
            await spool.sync();
            const records = spool.peek({ recordsMax: one.records, bytesMax: 1e9 });
            for (const [index, record] of records.entries())
              expect(record.sequence).toBeGreaterThan(records[index - 1]?.sequence ?? 0);
            spool.ack(records);
            expect(
              spool.peek({ recordsMax: 1, bytesMax: 1e9 })[0]?.sequence ?? Number.POSITIVE_INFINITY,
            ).toBeGreaterThan(records.at(-1)?.sequence ?? 0);
          }
          if (one.do === "refuse") {
            await spool.sync();
            const [record] = spool.peek({ recordsMax: 1, bytesMax: 1 });
            if (record) spool.refuse(record, "refused_by_bus");
          }
          if (one.do === "reject") spool.reject("not_a_number", one.rows, "telemetry.metrics");
          if (one.do === "disk") isFull = one.isFull;
          if (one.do === "kill") spool = open(options);
          if (one.do === "tear" || one.do === "rot") {
            const names = segments();
            const name = names[one.do === "tear" ? names.length - 1 : one.segment % Math.max(1, names.length)];
            if (name === undefined) continue;
            const bytes = readFileSync(join(dir, name));
            if (one.do === "rot") {
              const at = one.at % Math.max(1, bytes.length);
              bytes[at] = (bytes[at] ?? 0) ^ 0xff;
            }
            writeFileSync(
              join(dir, name),
              one.do === "tear" ? bytes.subarray(0, Math.max(0, bytes.length - one.bytes)) : bytes,
            );
            spool = open(options);
          }
          closes(spool);
        }
        isFull = false;
        for (let rounds = 0; spool.hasPending && rounds < 100; rounds++) {
          put(spool, 1);
          await spool.sync();
          spool.ack(spool.peek(ALL));
        }
        expect(spool.hasPending).toBe(false);
        closes(spool);
      }),
      { numRuns: 150 },
    );
  });
});
