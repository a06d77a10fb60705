import { constants, zstdCompressSync } from "node:zlib";
import { releaseBytes } from "../release-bytes.ts";
import { BATCH_ROWS_MAX, type Column, TELEMETRY, type TelemetrySchema, TIME_COLUMN } from "../telemetry.ts";
import { BatchError } from "./batch-error.ts";
import { BATCH_VERSION, encodeValue } from "./batch-header.ts";
import { BATCH_FLUSH_BYTES, BLOCK_BYTES_MAX } from "./batch-limits.ts";
import { readNativeBlock } from "./native-block-reader.ts";
import { type ColumnWriter, columnWriter, ZERO_OF } from "./native-column-writer.ts";
import type { AppendedRow, TelemetryRow } from "./telemetry-row.ts";
import { varuintBytes, writeVaruint } from "./varuint.ts";

/** The fastest level: higher ones gain a tenth of the size for twice the time. The header carries the checksum. */
const ZSTD_PARAMS = { [constants.ZSTD_c_compressionLevel]: 1 };

/**
 * Node's zlib makes its output in chunks of one size: for most batches one chunk that holds it all, however little it compresses
 * (zstd.h, ZSTD_COMPRESSBOUND), and for a batch of a second's metrics no more memory than it needs.
 */
const CHUNK_BYTES_MAX = 131_072;
const outputChunkBytes = (blockBytes: number): number =>
  Math.min(
    CHUNK_BYTES_MAX,
    blockBytes + (blockBytes >> 8) + ((CHUNK_BYTES_MAX - Math.min(CHUNK_BYTES_MAX, blockBytes)) >> 11) + 64,
  );

/** Counts, names and types of the widest schema take less. */
const NAMES_BYTES_MAX = 1024;

const NS_PER_MS = 1_000_000n;

interface Cell {
  readonly column: Column;
  readonly writer: ColumnWriter;
  /** For rows that leave the column out; undefined where they must not. */
  readonly zero: unknown;
}

/**
 * Gathers rows of one telemetry table and makes them a batch. Callers flush when `isFull`, or when they have waited long enough.
 * A row that is refused leaves the builder as it was.
 */
export class BatchBuilder<S extends TelemetrySchema> {
  readonly schema: S;
  readonly #cells: readonly Cell[];
  readonly #timeColumn: string;
  /** How many cells make the block: without the optional ones at its end while no row has said anything in them. */
  #written: number;
  #rowCount = 0;
  /** Asked for with every row, so it is kept. */
  #byteLength = 0;
  #timeMin: number | bigint = 0;
  #timeMax: number | bigint = 0;

  constructor(schema: S) {
    this.schema = schema;
    this.#cells = TELEMETRY[schema].map((column: Column) => ({
      column,
      writer: columnWriter(column.type),
      zero: column.optional === true ? ZERO_OF[column.type] : undefined,
    }));
    this.#timeColumn = TIME_COLUMN[schema];
    this.#written = this.#requiredCells();
  }

  #requiredCells(): number {
    return this.#cells.filter(({ zero }) => zero === undefined).length;
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  /** Of the rows so far, before compression. */
  get byteLength(): number {
    return this.#byteLength;
  }

  #measure(): number {
    let bytes = 0;
    for (let index = 0; index < this.#written; index++) bytes += this.#cells[index]?.writer.byteLength ?? 0;
    return bytes;
  }

  get isFull(): boolean {
    return this.#rowCount >= BATCH_ROWS_MAX || this.#byteLength >= BATCH_FLUSH_BYTES;
  }

  append(row: TelemetryRow<S> | AppendedRow<S>): void {
    if (this.#rowCount >= BATCH_ROWS_MAX) throw new BatchError("full", `the batch has ${BATCH_ROWS_MAX} rows already`);
    const values = row as Readonly<Record<string, unknown>>;
    this.#appendCells(values);
    const time = values[this.#timeColumn] as number | bigint;
    if (this.#rowCount === 0 || time < this.#timeMin) this.#timeMin = time;
    if (this.#rowCount === 0 || time > this.#timeMax) this.#timeMax = time;
    this.#rowCount++;
  }

  #appendCells(values: Readonly<Record<string, unknown>>): void {
    let taken = 0;
    try {
      for (const { column, writer, zero } of this.#cells) {
        const value = values[column.name];
        writer.append(value === undefined ? zero : value);
        if (zero !== undefined && value !== undefined) this.#written = this.#cells.length;
        taken++;
      }
    } catch (error) {
      this.#undoCells(taken);
      const column = this.#cells[taken]?.column.name ?? "";
      if (error instanceof BatchError) {
        throw new BatchError(error.code, `${this.schema}.${column}, row ${this.#rowCount}: ${error.message}`);
      }
      throw error;
    }
    const bytes = this.#measure();
    if (bytes + NAMES_BYTES_MAX <= BLOCK_BYTES_MAX) {
      this.#byteLength = bytes;
      return;
    }
    this.#undoCells(taken);
    throw new BatchError("full", `the row would take the batch beyond ${BLOCK_BYTES_MAX} bytes`);
  }

  #undoCells(count: number): void {
    for (const { writer } of this.#cells.slice(0, count)) writer.undo();
  }

  /** The batch as a message's value; the builder is empty again. When it throws `too_large` the rows stay: see `split`. */
  finish({ producer, sequence }: { readonly producer: string; readonly sequence: number }): Uint8Array {
    if (this.#rowCount === 0) throw new BatchError("empty", `a batch of ${this.schema} without rows`);
    const block = this.block();
    const frame = zstdCompressSync(block, { params: ZSTD_PARAMS, chunkSize: outputChunkBytes(block.length) });
    const value = encodeValue(
      {
        version: BATCH_VERSION,
        schema: this.schema,
        row_count: this.#rowCount,
        time_min_unix_ms: wholeMs(this.#timeMin),
        time_max_unix_ms: wholeMs(this.#timeMax),
        producer,
        sequence,
        uncompressed_bytes: block.length,
      },
      frame,
    );
    releaseBytes(block);
    releaseBytes(frame);
    this.reset();
    return value;
  }

  /** Moves the newer half of the rows into a builder of their own: what to do with a batch that `finish` found too large. */
  split(): BatchBuilder<S> {
    const rows = blockRows(this.schema, this.block(), this.#rowCount);
    const newer = new BatchBuilder(this.schema);
    this.reset();
    const half = Math.ceil(rows.length / 2);
    for (const [index, row] of rows.entries()) (index < half ? this : newer).append(row);
    return newer;
  }

  reset(): void {
    for (const { writer } of this.#cells) writer.reset();
    this.#rowCount = 0;
    this.#byteLength = 0;
    this.#written = this.#requiredCells();
  }

  /** One Native block (https://clickhouse.com/docs/interfaces/formats/Native): counts, then name, type and cells of each column. */
  block(): Buffer {
    const block = Buffer.allocUnsafe(this.#namesBytes() + this.byteLength);
    const cells = this.#cells.slice(0, this.#written);
    let at = writeVaruint(block, 0, cells.length);
    at = writeVaruint(block, at, this.#rowCount);
    for (const { column, writer } of cells) {
      at = writeName(block, at, column.name);
      at = writeName(block, at, column.type);
      at = writer.copyTo(block, at);
    }
    return block;
  }

  #namesBytes(): number {
    let bytes = varuintBytes(this.#written) + varuintBytes(this.#rowCount);
    for (const { column } of this.#cells.slice(0, this.#written)) bytes += 2 + column.name.length + column.type.length;
    return bytes;
  }
}

const blockRows = <S extends TelemetrySchema>(schema: S, block: Buffer, rowCount: number): TelemetryRow<S>[] => {
  const columns = [...readNativeBlock(block, TELEMETRY[schema], rowCount)];
  const isMs = new Set(
    TELEMETRY[schema].filter((column) => column.type === "DateTime64(3)").map((column) => column.name),
  );
  return Array.from({ length: rowCount }, (_, index) => {
    const cells = columns.map(([name, column]) => {
      const value = column.at(index);
      return [name, isMs.has(name as never) ? Number(value) : value];
    });
    return Object.fromEntries(cells) as TelemetryRow<S>;
  });
};

const wholeMs = (time: number | bigint): number => (typeof time === "bigint" ? Number(time / NS_PER_MS) : time);

/** Names and types are ASCII and shorter than 128 bytes. */
const writeName = (block: Buffer, at: number, name: string): number => {
  const textAt = writeVaruint(block, at, name.length);
  return textAt + block.write(name, textAt, "latin1");
};
