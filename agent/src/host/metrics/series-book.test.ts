import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeBatch } from "@homeostat/schemas";
import { afterEach, beforeEach, expect, test } from "vitest";
import { quietLog } from "../quiet-log.fixture.ts";
import { Spool } from "../spool/spool.ts";
import { SERIES_MAX, SeriesBook } from "./series-book.ts";

const NOW = 1_800_000_000_000;
let dir: string;
let spool: Spool;
let book: SeriesBook;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "book-"));
  spool = Spool.open({ dir, host: "h", bytesMax: 8_000_000, log: quietLog });
  book = new SeriesBook({ host: "h", spool });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const take = async () => {
  await spool.sync();
  const records = spool.peek({ recordsMax: 1000, bytesMax: 1e9 });
  spool.ack(records);
  return records.map(({ value }) => {
    const batch = decodeBatch(value);
    if (batch.schema === "metric_samples")
      return {
        samples: Array.from({ length: batch.rowCount }, (_, row) => [
          Number(batch.column("timestamp").at(row)),
          batch.column("value").at(row),
        ]),
      };
    if (batch.schema === "metric_series")
      return {
        series: Array.from({ length: batch.rowCount }, (_, row) => [
          batch.column("metric_name").at(row),
          batch.column("attributes").at(row),
        ]),
      };
    throw new Error(batch.schema);
  });
};
const record = (at: number, value: number) => {
  book.tick(at);
  book.gauge("m", "1", { state: "used" }).record(value);
  book.flush();
};

test("tells a series before its samples, once, and again after ten minutes", async () => {
  record(NOW, 1);
  record(NOW + 1000, 2);
  record(NOW + 600_000, 3);
  const told = { series: [["m", { state: "used", "host.name": "h" }]] };
  expect(await take()).toEqual([
    told,
    { samples: [[NOW, 1]] },
    { samples: [[NOW + 1000, 2]] },
    told,
    { samples: [[NOW + 600_000, 3]] },
  ]);
});

test("drops what is no finite number, and counts it", async () => {
  record(NOW, Number.NaN);
  record(NOW + 1, Number.POSITIVE_INFINITY);
  record(NOW + 2, 7);
  expect((await take()).filter((batch) => "samples" in batch)).toEqual([{ samples: [[NOW + 2, 7]] }]);
  expect(spool.ledger().dropped).toEqual({ not_a_number: 2 });
});

test("never repeats a timestamp, and waits for a clock that went back", async () => {
  for (const at of [0, 0, 1000, -5000, 500, 1000, 2000]) record(NOW + at, at);
  const samples = (await take()).flatMap((batch) => batch.samples ?? []);
  expect(samples).toEqual([
    [NOW, 0],
    [NOW + 1000, 1000],
    [NOW + 2000, 2000],
  ]);
  expect(spool.ledger().dropped).toEqual({ clock_backwards: 4 });
});

test("goes on with the new time when the clock was wrong by more than ten minutes", async () => {
  record(NOW + 86_400_000, 1);
  record(NOW, 2);
  expect(book.clockProblem).toContain("86400 s");
  record(NOW + 1000, 3);
  expect(book.clockProblem).toBeNull();
  expect((await take()).flatMap((batch) => batch.samples ?? [])).toHaveLength(3);
});

test("has a cap of series, beyond which samples are dropped and counted", () => {
  book.tick(NOW);
  for (let index = 0; index < SERIES_MAX + 5; index++) book.gauge("m", "1", { index: String(index) }).record(1);
  book.flush();
  expect(book.isOverflowing).toBe(true);
  expect(spool.ledger().dropped).toEqual({ series_overflow: 5 });
});
