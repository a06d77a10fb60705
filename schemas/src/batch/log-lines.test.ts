import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeBatch } from "./batch.ts";
import { BatchBuilder, type RowRun } from "./batch-builder.ts";
import { BatchError } from "./batch-error.ts";
import { decodeHeader } from "./batch-header.ts";
import { LogLines } from "./log-lines.ts";
import type { TelemetryRow } from "./telemetry-row.ts";

const NAME = { producer: "web-1/5f3a", sequence: 7 };
const NS_MAX = 5_000_000;
/** With so many nanoseconds more it is still within the 63 bits of them that a row has. */
const UNIX_MS_MAX = 9_223_372_036_853 - NS_MAX / 1e6;

const line = fc.record({
  unixMs: fc.oneof(fc.integer({ min: 1_700_000_000_000, max: 1_700_000_000_100 }), fc.nat(UNIX_MS_MAX)),
  ns: fc.oneof(fc.nat(999_999), fc.nat(NS_MAX)),
  severity: fc.nat(24),
  body: fc.string({ unit: "grapheme", maxLength: 200 }),
});
const sharedOf = (path: string): Omit<TelemetryRow<"logs">, "timestamp" | "severity_number" | "body"> => ({
  service_name: "checkout",
  host_name: "web-1",
  trace_id: "",
  span_id: "",
  attributes: { "log.file.path": path, other: "é" },
});

describe("lines that are gathered column by column", () => {
  it("make the same batch as the same rows one by one, whatever comes between them", () => {
    const part = fc.record({ path: fc.string({ maxLength: 150 }), isRows: fc.boolean(), lines: fc.array(line) });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
        fc.pre(parts.some(({ lines }) => lines.length > 0));
        const [one, other] = [new BatchBuilder("logs"), new BatchBuilder("logs")];
        const gathered = new LogLines({ rowsMax: 5, bodyBytesMax: 1_000 });
        for (const { path, isRows, lines } of parts) {
          const shared = sharedOf(path);
          for (const { unixMs, ns, severity, body } of lines) {
            const timestamp = BigInt(unixMs) * 1_000_000n + BigInt(ns);
            const row = { ...shared, timestamp, severity_number: severity, body };
            one.append(row);
            if (isRows) {
              other.append(row);
              continue;
            }
            const bytes = Buffer.from(`<${body}>`);
            const span = { bytes, from: 1, to: bytes.length - 1 };
            if (gathered.push({ unixMs, ns, severity }, span)) continue;
            other.appendRun(gathered.run(shared));
            gathered.reset();
            expect(gathered.push({ unixMs, ns, severity }, span)).toBe(true);
          }
          other.appendRun(gathered.run(shared));
          gathered.reset();
        }
        expect(other.rowCount).toBe(one.rowCount);
        expect(other.byteLength).toBe(one.byteLength);
        expect(other.block().equals(one.block())).toBe(true);
        const [header, expected] = [decodeHeader(other.finish(NAME)), decodeHeader(one.finish(NAME))];
        // Nanoseconds beyond a millisecond are the caller's to carry; of what it gave the milliseconds stand in the header.
        expect(Math.abs(header.time_max_unix_ms - expected.time_max_unix_ms)).toBeLessThanOrEqual(5);
        expect(Math.abs(header.time_min_unix_ms - expected.time_min_unix_ms)).toBeLessThanOrEqual(5);
      }),
    );
  });

  const cells = { severity_number: Uint8Array.of(1, 2), body: Uint8Array.of(1, 0x61, 1, 0x62) };
  const run = (over: Partial<RowRun<"logs">>): RowRun<"logs"> => ({
    rowCount: 2,
    timeMinUnixMs: 1,
    timeMaxUnixMs: 2,
    shared: { ...sharedOf("/x"), timestamp: 1_000_000n },
    cells,
    ...over,
  });

  it.each([
    ["a value that is none", run({ shared: { ...sharedOf("/x"), timestamp: -1n } }), "bad_value"],
    ["a map's cells", run({ cells: { ...cells, attributes: Uint8Array.of(1) } }), "bad_value"],
    ["cells for another number of rows", run({ cells: { ...cells, severity_number: Uint8Array.of(1) } }), "bad_value"],
    ["a column that is told nowhere", run({ shared: { timestamp: 1n } }), "bad_value"],
    ["more rows than a batch has", run({ rowCount: 10_001 }), "full"],
  ] as const)("are refused whole for %s", (_what, refused, code) => {
    const builder = new BatchBuilder("logs");
    builder.appendRun(run({}));
    const before = builder.block();
    const thrown = (() => {
      try {
        builder.appendRun(refused);
      } catch (error) {
        return error;
      }
      return null;
    })();
    expect(thrown instanceof BatchError ? thrown.code : thrown).toBe(code);
    expect(builder.block().equals(before)).toBe(true);
    builder.appendRun(run({}));
    const batch = decodeBatch(builder.finish(NAME));
    if (batch.schema !== "logs") throw new Error(batch.schema);
    expect(Array.from({ length: 4 }, (_, at) => String(batch.column("body").at(at)))).toEqual(["a", "b", "a", "b"]);
  });
});
