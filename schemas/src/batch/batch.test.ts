import { crc32, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MESSAGE_BYTES_MAX } from "../bus.ts";
import { BATCH_ROWS_MAX } from "../telemetry.ts";
import { decodeBatch } from "./batch.ts";
import { BatchBuilder } from "./batch-builder.ts";
import { BATCH_ERROR_CODES, BatchError, type BatchErrorCode } from "./batch-error.ts";
import { type BatchHeader, decodeHeader } from "./batch-header.ts";
import { BATCH_FLUSH_BYTES, BLOCK_BYTES_MAX, MAP_ENTRIES_MAX, STRING_BYTES_MAX } from "./batch-limits.ts";
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

const sample = (over: Partial<TelemetryRow<"metric_samples">> = {}): TelemetryRow<"metric_samples"> => ({
  metric_id: 11n,
  fingerprint: 12n,
  timestamp: 1_700_000_000_123,
  value: 0.5,
  ...over,
});

const logs = (rows: readonly TelemetryRow<"logs">[]): Uint8Array => {
  const builder = new BatchBuilder("logs");
  for (const row of rows) builder.append(row);
  return builder.finish(NAME);
};

const decodeLogs = (value: Uint8Array) => {
  const batch = decodeBatch(value);
  if (batch.schema !== "logs") throw new Error(`expected logs, got ${batch.schema}`);
  return batch;
};

const decodeSamples = (value: Uint8Array) => {
  const batch = decodeBatch(value);
  if (batch.schema !== "metric_samples") throw new Error(`expected metric_samples, got ${batch.schema}`);
  return batch;
};

const errorOf = (run: () => unknown): BatchError => {
  try {
    run();
  } catch (error) {
    if (error instanceof BatchError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
};

/** A value around any frame and header, with checksums that hold: what a broken or hostile producer could make. */
const forge = (header: Record<string, unknown>, frame: Uint8Array): Buffer => {
  const json = Buffer.from(JSON.stringify({ ...header, frame_bytes: frame.length, frame_crc32: crc32(frame) }));
  const prefix = Buffer.alloc(12);
  prefix.writeUInt32LE(0x184d2a50, 0);
  prefix.writeUInt32LE(json.length + 4, 4);
  prefix.writeUInt32LE(crc32(json), 8);
  return Buffer.concat([prefix, json, frame]);
};

const HEADER: Omit<BatchHeader, "frame_bytes" | "frame_crc32"> = {
  version: 1,
  schema: "metric_samples",
  row_count: 1,
  time_min_unix_ms: 1,
  time_max_unix_ms: 1,
  uncompressed_bytes: 1,
  ...NAME,
};

const forgeBlock = (block: Buffer, over: Partial<BatchHeader> = {}): Buffer =>
  forge({ ...HEADER, uncompressed_bytes: block.length, ...over }, zstdCompressSync(block));

const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
};

/** One row of metric_samples, by hand as the format's page describes it. */
const sampleColumns = [
  [text("metric_id"), text("UInt64"), u64(11n)],
  [text("fingerprint"), text("UInt64"), u64(12n)],
  [text("timestamp"), text("DateTime64(3)"), u64(1n)],
  [text("value"), text("Float64"), u64(0n)],
].map((parts) => Buffer.concat(parts));
const sampleBlock = Buffer.concat([Buffer.from([4, 1]), ...sampleColumns]);

const logColumns = (attributes: Buffer, body: Buffer = text("b")): Buffer =>
  Buffer.concat([
    Buffer.from([8, 1]),
    ...[text("timestamp"), text("DateTime64(9)"), u64(1_000_000n)],
    ...[text("severity_number"), text("UInt8"), Buffer.from([9])],
    ...["service_name", "host_name", "trace_id", "span_id"].flatMap((name) => [text(name), text("String"), text("")]),
    ...[text("body"), text("String"), body],
    ...[text("attributes"), text("Map(String, String)"), attributes],
  ]);

describe("a batch", () => {
  it("comes back as it was appended, whatever its strings are", () => {
    const word = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.constantFrom(
        "",
        "__proto__",
        "é".repeat(60),
        "😀".repeat(50),
        "a".repeat(127),
        "a".repeat(128),
        "ü".repeat(8200),
      ),
    );
    const row = fc.record({
      timestamp: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
      severity_number: fc.integer({ min: 0, max: 255 }),
      service_name: word,
      host_name: word,
      trace_id: word,
      span_id: word,
      body: word,
      attributes: fc.dictionary(word, word, { noNullPrototype: true, maxKeys: 6 }),
    });
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 20 }), (rows) => {
        const batch = decodeLogs(logs(rows));
        const times = rows.map((each) => Number(each.timestamp / 1_000_000n));
        expect(batch.header).toMatchObject({
          row_count: rows.length,
          time_min_unix_ms: Math.min(...times),
          time_max_unix_ms: Math.max(...times),
        });
        for (const [index, each] of rows.entries()) {
          expect(batch.column("timestamp")[index]).toBe(each.timestamp);
          expect(batch.column("severity_number")[index]).toBe(each.severity_number);
          expect(batch.column("attributes").at(index)).toEqual(each.attributes);
          for (const name of ["service_name", "host_name", "trace_id", "span_id", "body"] as const) {
            expect(batch.column(name).at(index)).toBe(each[name]);
            expect(Buffer.from(batch.column(name).bytesAt(index))).toEqual(Buffer.from(each[name]));
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it("keeps every bit of its numbers, NaN and the infinities among them", () => {
    const rows = [
      sample({ metric_id: 0n, fingerprint: 2n ** 64n - 1n, timestamp: 0, value: -0 }),
      sample({ timestamp: 9_223_372_036_854, value: Number.NaN }),
      sample({ value: Number.NEGATIVE_INFINITY }),
      sample({ value: Number.MIN_VALUE }),
    ];
    const builder = new BatchBuilder("metric_samples");
    for (const row of rows) builder.append(row);
    const batch = decodeSamples(builder.finish(NAME));
    expect([...batch.column("metric_id")]).toEqual(rows.map((row) => row.metric_id));
    expect([...batch.column("fingerprint")]).toEqual(rows.map((row) => row.fingerprint));
    expect([...batch.column("timestamp")].map(Number)).toEqual(rows.map((row) => row.timestamp));
    expect([...batch.column("value")]).toEqual(rows.map((row) => row.value));
  });

  it("is, uncompressed, byte for byte the Native block of the format's description", () => {
    const builder = new BatchBuilder("metric_samples");
    builder.append({ metric_id: 11n, fingerprint: 12n, timestamp: 1, value: 0 });
    expect(builder.block()).toEqual(sampleBlock);
    expect(decodeSamples(forgeBlock(sampleBlock)).column("fingerprint")[0]).toBe(12n);
  });

  it("says in its header what it holds, without being unpacked", () => {
    const value = logs([logRow(), logRow({ timestamp: 1_600_000_000_000_999_999n })]);
    expect(decodeHeader(value)).toMatchObject({
      version: 1,
      schema: "logs",
      row_count: 2,
      time_min_unix_ms: 1_600_000_000_000,
      time_max_unix_ms: 1_700_000_000_123,
      producer: "web-1/5f3a",
      sequence: 7,
    });
  });

  it("can be read out of the middle of a larger buffer", () => {
    const value = logs([logRow()]);
    for (const shift of [1, 3, 8]) {
      const larger = Buffer.concat([Buffer.alloc(shift), value, Buffer.alloc(5)]);
      expect(
        decodeLogs(larger.subarray(shift, shift + value.length))
          .column("body")
          .at(0),
      ).toBe("GET /orders/17 200");
    }
  });
});

describe("the builder", () => {
  it("is empty after finish and makes independent batches", () => {
    const builder = new BatchBuilder("logs");
    builder.append(logRow({ body: "first" }));
    const first = builder.finish(NAME);
    expect([builder.rowCount, builder.byteLength]).toEqual([0, 0]);
    builder.append(logRow({ body: "second" }));
    const second = builder.finish({ ...NAME, sequence: 8 });
    expect([decodeLogs(first).column("body").at(0), decodeLogs(second).column("body").at(0)]).toEqual([
      "first",
      "second",
    ]);
    expect(decodeHeader(second).sequence).toBe(8);
  });

  const refusals: readonly [string, BatchErrorCode, RegExp, Record<string, unknown>][] = [
    ["a number for a string", "bad_value", /logs\.body, row 1: expected a string, got number 5/, { body: 5 }],
    ["a missing column", "bad_value", /logs\.trace_id, row 1: .*undefined/, { trace_id: undefined }],
    [
      "a string beyond its cap",
      "too_long",
      /logs\.body, row 1: .*at most 1048576/,
      { body: "x".repeat(STRING_BYTES_MAX + 1) },
    ],
    ["a short string of many bytes", "too_long", /logs\.body/, { body: "€".repeat(STRING_BYTES_MAX / 3 + 1) }],
    ["a severity that is no byte", "bad_value", /logs\.severity_number.*256/, { severity_number: 256 }],
    ["a time before 1970", "bad_value", /logs\.timestamp/, { timestamp: -1n }],
    ["a time as number", "bad_value", /logs\.timestamp/, { timestamp: 1 }],
    ["a map with a number in it", "bad_value", /logs\.attributes.*a map value/, { attributes: { a: "1", b: 2 } }],
    ["an array for a map", "bad_value", /logs\.attributes/, { attributes: ["a"] }],
    ["null for a map", "bad_value", /logs\.attributes.*null/, { attributes: null }],
    [
      "too many attributes",
      "too_long",
      /logs\.attributes.*1025 entries/,
      { attributes: Object.fromEntries(Array.from({ length: MAP_ENTRIES_MAX + 1 }, (_, index) => [`k${index}`, ""])) },
    ],
  ];
  it.each(refusals)("refuses %s and stays as it was", (_name, code, message, over) => {
    const builder = new BatchBuilder("logs");
    builder.append(logRow({ body: "kept" }));
    const before = builder.byteLength;
    const error = errorOf(() => builder.append(logRow(over)));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect([builder.rowCount, builder.byteLength]).toEqual([1, before]);
    builder.append(logRow({ body: "after" }));
    const batch = decodeLogs(builder.finish(NAME));
    expect([batch.column("body").at(0), batch.column("body").at(1)]).toEqual(["kept", "after"]);
    expect(batch.column("attributes").at(1)).toEqual({ "http.method": "GET" });
  });

  it("takes a string of exactly the cap", () => {
    const body = "x".repeat(STRING_BYTES_MAX);
    expect(
      decodeLogs(logs([logRow({ body })]))
        .column("body")
        .at(0),
    ).toBe(body);
  });

  it("is full at the most rows a batch may have, and refuses one more", () => {
    const builder = new BatchBuilder("metric_samples");
    while (!builder.isFull) builder.append(sample());
    expect(builder.rowCount).toBe(BATCH_ROWS_MAX);
    expect(errorOf(() => builder.append(sample())).code).toBe("full");
    expect(decodeHeader(builder.finish(NAME)).row_count).toBe(BATCH_ROWS_MAX);
  });

  it("is full at the flush size", () => {
    const builder = new BatchBuilder("logs");
    while (!builder.isFull) builder.append(logRow({ body: "x".repeat(5000) }));
    expect(builder.byteLength).toBeGreaterThanOrEqual(BATCH_FLUSH_BYTES);
    expect(builder.byteLength).toBeLessThan(BATCH_FLUSH_BYTES + 6000);
  });

  it("never grows beyond what a decoder would take, even when nobody flushes it", () => {
    const builder = new BatchBuilder("logs");
    const row = logRow({ body: "x".repeat(STRING_BYTES_MAX) });
    let error: unknown;
    for (let count = 0; count < 40 && error === undefined; count++) {
      try {
        builder.append(row);
      } catch (thrown) {
        error = thrown;
      }
    }
    expect(error).toMatchObject({ name: "BatchError", code: "full" });
    expect(builder.block().length).toBeLessThanOrEqual(BLOCK_BYTES_MAX);
    expect(decodeLogs(builder.finish(NAME)).rowCount).toBe(31);
  });

  it("refuses to finish without rows", () => {
    expect(errorOf(() => new BatchBuilder("logs").finish(NAME)).code).toBe("empty");
  });

  it("refuses a producer or sequence that the decoder would refuse", () => {
    const builder = new BatchBuilder("logs");
    builder.append(logRow());
    expect(errorOf(() => builder.finish({ producer: "", sequence: 1 })).message).toMatch(/producer/);
    expect(errorOf(() => builder.finish({ producer: "a/b", sequence: -1 })).message).toMatch(/sequence/);
  });

  it("keeps the rows of a batch that is too large, and splits them in two that fit", () => {
    // Every byte a random letter of 128: seven bits of eight, which zstd cannot make much smaller.
    let state = 42;
    const noise = (length: number): string => {
      let letters = "";
      for (let index = 0; index < length; index++) {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        letters += String.fromCharCode((state >>> 16) & 0x7f);
      }
      return letters;
    };
    const bodies = Array.from({ length: 7 }, () => noise(100_000));
    const older = new BatchBuilder("logs");
    for (const body of bodies) older.append(logRow({ body }));
    expect(errorOf(() => older.finish(NAME)).code).toBe("too_large");
    expect(older.rowCount).toBe(7);
    const newer = older.split();
    const values = [older.finish(NAME), newer.finish({ ...NAME, sequence: 8 })];
    const read = values.flatMap((value) => {
      const batch = decodeLogs(value);
      return Array.from({ length: batch.rowCount }, (_, index) => batch.column("body").at(index));
    });
    expect(read).toEqual(bodies);
    expect(values.every((value) => value.length <= MESSAGE_BYTES_MAX)).toBe(true);
  });

  it("splits samples without changing them", () => {
    const older = new BatchBuilder("metric_samples");
    for (let index = 0; index < 3; index++) older.append(sample({ timestamp: 1000 + index, value: index }));
    const newer = older.split();
    expect([...decodeSamples(older.finish(NAME)).column("timestamp")]).toEqual([1000n, 1001n]);
    expect([...decodeSamples(newer.finish(NAME)).column("value")]).toEqual([2]);
  });
});

describe("the decoder refuses", () => {
  const good = logs([logRow()]);
  const flipped = (at: number): Uint8Array => {
    const copy = Uint8Array.from(good);
    copy[at] = (copy[at] ?? 0) ^ 0x10;
    return copy;
  };
  const frame = zstdCompressSync(sampleBlock);
  const header = { ...HEADER, uncompressed_bytes: sampleBlock.length };

  it("every single flipped bit", () => {
    for (let at = 0; at < good.length; at++) {
      expect(BATCH_ERROR_CODES).toContain(errorOf(() => decodeBatch(flipped(at))).code);
      expect(BATCH_ERROR_CODES).toContain(errorOf(() => decodeHeader(flipped(at))).code);
    }
  });

  it("every prefix", () => {
    for (let end = 0; end < good.length; end++) errorOf(() => decodeHeader(good.subarray(0, end)));
  });

  const bomb = zstdCompressSync(Buffer.alloc(BLOCK_BYTES_MAX + 1));
  const oneColumn = Buffer.concat([Buffer.from([1, 1]), ...sampleColumns.slice(0, 1)]);
  const swapped = Buffer.concat([
    Buffer.from([4, 1]),
    ...[1, 0, 2, 3].map((at) => sampleColumns[at] ?? Buffer.alloc(0)),
  ]);
  const fifth = Buffer.concat([Buffer.from([5, 1]), ...sampleColumns, text("extra"), text("UInt8"), Buffer.from([1])]);
  const wrongType = Buffer.concat([
    Buffer.from([4, 1]),
    ...sampleColumns.slice(0, 3),
    ...[text("value"), text("Float32"), Buffer.alloc(4)],
  ]);
  const asLogs = { schema: "logs", row_count: 1 } as const;
  const cases: readonly [string, BatchErrorCode, RegExp, Uint8Array][] = [
    ["nothing at all", "truncated", /0 bytes/, new Uint8Array(0)],
    ["something else", "bad_magic", /0x7b7b7b7b/, Buffer.alloc(64, "{")],
    ["a header that claims 4 GiB", "bad_header", /4294967295 bytes/, Buffer.from("502a4d18ffffffff0000000000", "hex")],
    ["an unknown version", "unsupported_version", /version is 2/, forge({ ...header, version: 2 }, frame)],
    ["an unknown schema", "bad_header", /schema/, forge({ ...header, schema: "traces" }, frame)],
    ["an unknown header field", "bad_header", /colour/, forge({ ...header, colour: "red" }, frame)],
    ["a header of no rows", "bad_header", /row_count/, forge({ ...header, row_count: 0 }, frame)],
    [
      "a header of too many rows",
      "bad_header",
      /row_count/,
      forge({ ...header, row_count: BATCH_ROWS_MAX + 1 }, frame),
    ],
    ["a time range backwards", "bad_header", /time_min/, forge({ ...header, time_min_unix_ms: 2 }, frame)],
    ["a value beyond a message's size", "too_large", /524289 bytes/, Buffer.alloc(MESSAGE_BYTES_MAX + 1)],
    ["two frames", "bad_frame", /ends at byte/, forge(header, Buffer.concat([frame, frame]))],
    ["a frame with a tail", "bad_frame", /ends at byte/, forge(header, Buffer.concat([frame, Buffer.from("x")]))],
    ["a frame cut short", "bad_frame", /cut short|ends at/, forge(header, frame.subarray(0, -2))],
    ["no frame", "bad_frame", /no zstd frame/, forge(header, Buffer.from("not zstd at all"))],
    ["a lie about the size", "bad_frame", /claims 5 uncompressed/, forge({ ...header, uncompressed_bytes: 5 }, frame)],
    ["a decompression bomb", "bad_frame", /33554433/, forge({ ...header, uncompressed_bytes: BLOCK_BYTES_MAX }, bomb)],
    [
      "a bomb that says so",
      "bad_header",
      /uncompressed_bytes/,
      forge({ ...header, uncompressed_bytes: BLOCK_BYTES_MAX + 1 }, bomb),
    ],
    ["a missing column", "missing_column", /without fingerprint, timestamp, value/, forgeBlock(oneColumn)],
    ["an unknown column", "unknown_column", /"extra"/, forgeBlock(fifth)],
    ["columns in another order", "unknown_column", /"fingerprint" stands where metric_id/, forgeBlock(swapped)],
    ["a column of another type", "wrong_type", /value has the type "Float32"/, forgeBlock(wrongType)],
    [
      "fewer rows than the header claims",
      "row_count_mismatch",
      /1 rows, the header claims 2/,
      forgeBlock(sampleBlock, { row_count: 2 }),
    ],
    ["the wrong schema", "missing_column", /4 columns/, forgeBlock(sampleBlock, asLogs)],
    [
      "bytes behind the block",
      "trailing_bytes",
      /1 bytes follow/,
      forgeBlock(Buffer.concat([sampleBlock, Buffer.from([0])])),
    ],
    ["a block cut short", "bad_block", /column value.*8 bytes are needed, 7/, forgeBlock(sampleBlock.subarray(0, -1))],
    [
      "a string longer than the block",
      "bad_block",
      /column body/,
      forgeBlock(logColumns(u64(0n), Buffer.from("ffffffff0f", "hex")), asLogs),
    ],
    [
      "a length that never ends",
      "bad_block",
      /column body.*32 bits/,
      forgeBlock(logColumns(u64(0n), Buffer.alloc(9, 0xff)), asLogs),
    ],
    [
      "a map of 2^60 entries",
      "bad_block",
      /column attributes.*ends at entry/,
      forgeBlock(logColumns(u64(2n ** 60n)), asLogs),
    ],
    [
      "maps that run backwards",
      "bad_block",
      /attributes.*row 1 ends at entry 0/,
      (() => {
        const rows = new BatchBuilder("logs");
        for (let count = 0; count < 2; count++) rows.append(logRow({ attributes: { a: "b" } }));
        const block = rows.block();
        block.writeBigUInt64LE(0n, block.length - 8 - 8);
        return forgeBlock(block, { ...asLogs, row_count: 2 });
      })(),
    ],
  ];
  it.each(cases)("%s", (_name, code, message, value) => {
    const error = errorOf(() => decodeBatch(value));
    expect({ code: error.code, message: error.message }).toEqual({ code, message: expect.stringMatching(message) });
  });

  it("nothing of every schema's smallest batch", () => {
    expect(
      decodeLogs(forgeBlock(logColumns(u64(0n)), asLogs))
        .column("attributes")
        .at(0),
    ).toEqual({});
  });
});

describe("a string that is given as bytes", () => {
  const built = (body: unknown): Buffer => {
    const builder = new BatchBuilder("logs");
    builder.append(logRow({ body } as Partial<TelemetryRow<"logs">>));
    return Buffer.from(builder.block());
  };

  it("is what it would be as a string, be it no UTF-8, half a surrogate pair, or cut in a character", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 60 }),
          fc.constantFrom("eda080", "ff", "c0af", "f4908080", "efbbbf61", "e282").map((hex) => Buffer.from(hex, "hex")),
        ),
        (bytes) => {
          expect(built(bytes).equals(built(Buffer.from(bytes).toString("utf8")))).toBe(true);
        },
      ),
    );
  });

  it("is refused when it is too long, also when it is so only once it has been put right", () => {
    expect(() => built(Buffer.alloc(STRING_BYTES_MAX + 1, 0x61))).toThrow(BatchError);
    expect(() => built(Buffer.alloc(STRING_BYTES_MAX, 0xff))).toThrow(BatchError);
  });
});
