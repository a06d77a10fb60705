import { zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BatchOf, decodeBatch } from "./batch.ts";
import { BatchBuilder } from "./batch-builder.ts";
import { encodeValue } from "./batch-header.ts";
import type { TelemetryRow } from "./telemetry-row.ts";

const NAME = { producer: "web-1/5f3a", sequence: 7 };

const logRow = (over: Partial<TelemetryRow<"logs">> = {}): TelemetryRow<"logs"> => ({
  timestamp: 1_700_000_000_123_456_789n,
  severity_number: 9,
  service_name: "checkout",
  host_name: "web-1",
  trace_id: "",
  span_id: "",
  body: "GET /orders/17 200",
  attributes: { "http.method": "GET" },
  ...over,
});

/** A block of two log rows as a message's value. */
const batchOf = (block: Buffer): Buffer =>
  encodeValue(
    {
      version: 1,
      schema: "logs",
      row_count: 2,
      time_min_unix_ms: 1_700_000_000_123,
      time_max_unix_ms: 1_700_000_000_123,
      ...NAME,
      uncompressed_bytes: block.length,
    },
    zstdCompressSync(block),
  );

const decodeLogs = (value: Uint8Array): BatchOf<"logs"> => {
  const batch = decodeBatch(value);
  if (batch.schema !== "logs") throw new Error(batch.schema);
  return batch;
};

describe("a batch's columns", () => {
  it("keeps arrays of numbers of every length, row by row", () => {
    const numbers = fc.array(fc.double({ noNaN: true }), { maxLength: 40 });
    fc.assert(
      fc.property(fc.array(numbers, { minLength: 1, maxLength: 20 }), (lists) => {
        const builder = new BatchBuilder("metric_histograms");
        for (const [index, bounds] of lists.entries()) {
          const times = { timestamp: index, count: 1, sum: 2, min: Number.NaN, max: 3 };
          builder.append({ metric_id: 1n, fingerprint: 2n, ...times, bounds, counts: Float64Array.from(bounds) });
        }
        const batch = decodeBatch(builder.finish(NAME));
        if (batch.schema !== "metric_histograms") throw new Error(batch.schema);
        for (const [index, list] of lists.entries()) {
          expect([...batch.column("bounds").at(index)]).toEqual(list);
          expect([...batch.column("counts").at(index)]).toEqual(list);
        }
        expect(batch.column("min")[0]).toBeNaN();
      }),
    );
  });

  it("of an older producer ends before the optional columns, which then read as zeros", () => {
    const builder = new BatchBuilder("logs");
    builder.append(logRow());
    builder.append(logRow({ resource_id: 9n, severity_text: "WARN" }));
    const whole = builder.block();
    const young = decodeLogs(batchOf(whole));
    expect([...young.column("resource_id")]).toEqual([0n, 9n]);
    expect([young.column("severity_text").at(0), young.column("severity_text").at(1)]).toEqual(["", "WARN"]);
    const cut = whole.indexOf("observed_timestamp") - 1;
    const short = Buffer.concat([Buffer.from([8]), whole.subarray(1, cut)]);
    const old = decodeLogs(batchOf(short));
    expect(old.column("body").at(0)).toBe("GET /orders/17 200");
    expect([old.column("resource_id")[0], old.column("severity_text").at(0)]).toEqual([0n, ""]);
    expect([old.column("observed_timestamp")[0], old.column("trace_flags")[0]]).toEqual([0n, 0]);
  });

  it.each([1, 5_000])("of %i rows gives its memory back when it is released, and its columns with it", (rowCount) => {
    const builder = new BatchBuilder("metric_samples");
    for (let row = 0; row < rowCount; row++)
      builder.append({ metric_id: 1n, fingerprint: 2n, timestamp: row, value: row });
    const value = builder.finish(NAME);
    const batch = decodeBatch(value);
    if (batch.schema !== "metric_samples") throw new Error(batch.schema);
    const values = batch.column("value");
    expect(values[rowCount - 1]).toBe(rowCount - 1);
    expect(batch.column("value")).toBe(values);
    const before = process.memoryUsage().arrayBuffers;
    batch.release();
    const freed = before - process.memoryUsage().arrayBuffers;
    if (rowCount > 1000) expect(freed).toBeGreaterThanOrEqual(batch.header.uncompressed_bytes);
    batch.release();
    expect(() => batch.column("value")).toThrow(/released/);
    expect(decodeBatch(value).header).toEqual(batch.header);
  });

  it("leaves the optional columns out while no row says anything in them", () => {
    const builder = new BatchBuilder("logs");
    builder.append(logRow());
    const short = builder.block();
    expect(short.includes("resource_id")).toBe(false);
    builder.append(logRow({ resource_id: 9n }));
    expect(builder.block().includes("resource_id")).toBe(true);
    builder.reset();
    builder.append(logRow());
    expect(builder.block()).toEqual(short);
  });
});
