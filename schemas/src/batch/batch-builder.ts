import { constants, zstdCompressSync } from "node:zlib";
import { releaseBytes } from "../release-bytes.ts";
import { BATCH_ROWS_MAX, type Column, TELEMETRY, type TelemetrySchema, TIME_COLUMN } from "../telemetry.ts";
import { BatchError } from "./batch-error.ts";
import { BATCH_VERSION, encodeValue } from "./batch-header.ts";
import { BATCH_FLUSH_BYTES, BLOCK_BYTES_MAX } from "./batch-limits.ts";
import { readNativeBlock } from "./native-block-reader.ts";
import { type ColumnWriter, columnWriter, ZERO_OF } from "./native-column-writer.ts";
import type { AppendedRow, ColumnName, TelemetryRow } from "./telemetry-row.ts";
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

/** Rows that share much of what they say. A column is in one of the two; an optional one that is in neither has its type's zero. */
export interface RowRun<S extends TelemetrySchema> {
  readonly rowCount: number;
  readonly timeMinUnixMs: number;
  readonly timeMaxUnixMs: number;
  /** One value for all of them. */
  readonly shared: Partial<TelemetryRow<S>>;
  /** Their cells as they stand in a Native block; not for maps and arrays. Whoever has made them answers for what is in them. */
  readonly cells: { readonly [N in ColumnName<S>]?: Uint8Array };
}

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
  /** Undefined without rows that were appended one by one; those of runs are in milliseconds. */
  #timeMin: number | bigint | undefined;
  #timeMax: number | bigint | undefined;
  #runsMinMs = Number.POSITIVE_INFINITY;
  #runsMaxMs = Number.NEGATIVE_INFINITY;

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
    if (this.#timeMin === undefined || time < this.#timeMin) this.#timeMin = time;
    if (this.#timeMax === undefined || time > this.#timeMax) this.#timeMax = time;
    this.#rowCount++;
  }

  /** Many rows at once; taken whole or refused whole. */
  appendRun(run: RowRun<S>): void {
    const { rowCount } = run;
    if (rowCount === 0) return;
    if (this.#rowCount + rowCount > BATCH_ROWS_MAX)
      throw new BatchError("full", `the batch has ${this.#rowCount} rows already, ${rowCount} more are too many`);
    const shared: Readonly<Record<string, unknown>> = run.shared;
    const cells: Readonly<Record<string, Uint8Array | undefined>> = run.cells;
    let taken = 0;
    try {
      for (const { column, writer, zero } of this.#cells) {
        const ready = cells[column.name];
        const value = shared[column.name];
        if (ready !== undefined) writer.appendCells(ready, rowCount);
        else writer.appendShared(value === undefined ? zero : value, rowCount);
        if (zero !== undefined && (ready ?? value) !== undefined) this.#written = this.#cells.length;
        taken++;
      }
    } catch (error) {
      throw this.#refusal(error, taken);
    }
    this.#checkBlock(taken);
    this.#runsMinMs = Math.min(this.#runsMinMs, run.timeMinUnixMs);
    this.#runsMaxMs = Math.max(this.#runsMaxMs, run.timeMaxUnixMs);
    this.#rowCount += rowCount;
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
      throw this.#refusal(error, taken);
    }
    this.#checkBlock(taken);
  }

  /** What to throw once the columns that had taken theirs are as they were. */
  #refusal(error: unknown, taken: number): unknown {
    this.#undoCells(taken);
    if (!(error instanceof BatchError)) return error;
    const column = this.#cells[taken]?.column.name ?? "";
    return new BatchError(error.code, `${this.schema}.${column}, row ${this.#rowCount}: ${error.message}`);
  }

  #checkBlock(taken: number): void {
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
        time_min_unix_ms: Math.min(this.#runsMinMs, wholeMs(this.#timeMin ?? this.#runsMinMs)),
        time_max_unix_ms: Math.max(this.#runsMaxMs, wholeMs(this.#timeMax ?? this.#runsMaxMs)),
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
    this.#timeMin = this.#timeMax = undefined;
    this.#runsMinMs = Number.POSITIVE_INFINITY;
    this.#runsMaxMs = Number.NEGATIVE_INFINITY;
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
