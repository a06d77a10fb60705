import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { renderedMigrations, type Store, StoreConfig } from "../../analytics/src/index.ts";
import { BatchBuilder, metricId, seriesFingerprint } from "../../schemas/src/index.ts";
import { DAY_MS, NOON } from "./store-rows.ts";

interface Setting {
  readonly store: Store;
  ask<T>(query: string, params?: Record<string, unknown>): Promise<T[]>;
}

const bitsOf = (values: Iterable<number>): string[] =>
  [...new BigUint64Array(Float64Array.from(values).buffer)].map((bits) => bits.toString(16)).sort();

const NAME = "any.number";
const SERIES = { metric_id: metricId(NAME), fingerprint: seriesFingerprint(NAME, {}) };

let sequence = 0;

const storedBits = async ({ store, ask }: Setting, values: readonly number[]): Promise<string[]> => {
  const batch = new BatchBuilder("metric_samples");
  sequence += 1;
  for (const value of values) batch.append({ ...SERIES, timestamp: NOON - DAY_MS + sequence, value });
  await store.insertNative({
    table: "metric_samples",
    frames: [batch.finish({ producer: "host-1/values", sequence })],
    dedupToken: `values-${sequence}`,
    rowCount: values.length,
  });
  const rows = await ask<{ bits: string }>(
    "SELECT lower(hex(reinterpretAsUInt64(value))) AS bits FROM metric_samples WHERE metric_id = {id:UInt64} AND timestamp = fromUnixTimestamp64Milli({at:Int64})",
    { id: SERIES.metric_id.toString(), at: NOON - DAY_MS + sequence },
  );
  return rows.map(({ bits }) => bits.replace(/^0+(?=.)/, "")).sort();
};

/** A table that stores whole numbers and decimals apart from others must not show it. */
export const describeValues = (setting: () => Setting): void => {
  describe("values of samples", () => {
    it("come back with every bit that went in", async () => {
      const decimal = fc.tuple(fc.integer(), fc.integer({ min: 0, max: 6 })).map(([n, places]) => n / 10 ** places);
      const special = fc.constantFrom(0, -0, Number.NaN, Infinity, -Infinity, 2 ** 53, -(2 ** 63), 2 ** 64, 5e-324);
      const number = fc.oneof(fc.double(), decimal, special, fc.maxSafeInteger());
      await fc.assert(
        fc.asyncProperty(fc.array(number, { minLength: 1, maxLength: 500 }), async (values) => {
          expect(await storedBits(setting(), values)).toEqual(bitsOf(values));
        }),
        { numRuns: 10 },
      );
    });

    it("are few bytes where they are decimals", async () => {
      await storedBits(setting(), [1, 2.5, 1 / 3]);
      const rows = await setting().ask<{ divisor: number; value: number }>(
        "SELECT divisor, value FROM metric_samples WHERE metric_id = {id:UInt64} AND timestamp = fromUnixTimestamp64Milli({at:Int64}) ORDER BY value",
        { id: SERIES.metric_id.toString(), at: NOON - DAY_MS + sequence },
      );
      expect(rows).toEqual([
        { divisor: 0, value: 1 / 3 },
        { divisor: 1, value: 1 },
        { divisor: 100, value: 2.5 },
      ]);
    });
  });
};

/** Tables as the first four migrations left them, with rows in them, in a database that nobody has migrated yet. */
export const describeOlderDatabase = (
  open: () => { readonly database: string; readonly store: Store; ask: Setting["ask"] },
): void => {
  it("takes a database of an older version along, with what is in it", async () => {
    const { database, store, ask } = open();
    const all = await renderedMigrations(StoreConfig.parse({ database }));
    const first = all.slice(
      0,
      all.findIndex((statement) => statement.includes("ALTER TABLE")),
    );
    for (const statement of first) await ask(statement);
    await ask(
      `INSERT INTO ${database}.metric_samples SELECT 1, number, now64(3) - 60, if(number = 0, 41.5, nan) FROM numbers(2)`,
    );
    await ask(`INSERT INTO ${database}.logs (timestamp, body) SELECT now64(9) - 60, 'An older LINE'`);
    await store.migrate();
    expect(await ask(`SELECT value FROM ${database}.metric_samples ORDER BY fingerprint`)).toEqual([
      { value: 41.5 },
      { value: null },
    ]);
    const found = "SELECT body FROM logs WHERE hasToken(lower(body), 'line')";
    expect(await ask(found.replace("logs", `${database}.logs`))).toEqual([{ body: "An older LINE" }]);
  });
};
