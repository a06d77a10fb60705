import type { Column } from "../telemetry.ts";
import { BatchError } from "./batch-error.ts";

/** Strings of a column, decoded one by one when asked for. Bytes that are not UTF-8 come out as U+FFFD; `bytesAt` has them as they are. */
export class StringColumn {
  readonly length: number;
  readonly #bytes: Buffer;
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  constructor(bytes: Buffer, starts: Uint32Array, ends: Uint32Array) {
    this.#bytes = bytes;
    this.#starts = starts;
    this.#ends = ends;
    this.length = starts.length;
  }
  at(index: number): string {
    const start = this.#starts[index];
    if (start === undefined) throw new RangeError(`no row ${index} in a column of ${this.length}`);
    return this.#bytes.toString("utf8", start, this.#ends[index]);
  }
  /** A view, not a copy. */
  bytesAt(index: number): Uint8Array {
    const start = this.#starts[index];
    if (start === undefined) throw new RangeError(`no row ${index} in a column of ${this.length}`);
    return this.#bytes.subarray(start, this.#ends[index]);
  }
}

export class MapColumn {
  readonly length: number;
  readonly #totals: Uint32Array;
  readonly #keys: StringColumn;
  readonly #values: StringColumn;
  constructor(totals: Uint32Array, keys: StringColumn, values: StringColumn) {
    this.#totals = totals;
    this.#keys = keys;
    this.#values = values;
    this.length = totals.length;
  }
  at(index: number): Record<string, string> {
    const end = this.#totals[index];
    if (end === undefined) throw new RangeError(`no row ${index} in a column of ${this.length}`);
    const map: Record<string, string> = {};
    for (let entry = index === 0 ? 0 : (this.#totals[index - 1] ?? 0); entry < end; entry++) {
      set(map, this.#keys.at(entry), this.#values.at(entry));
    }
    return map;
  }
}

/** Assigning `__proto__` would set the prototype and lose the entry. */
const set = (map: Record<string, string>, key: string, value: string): void => {
  if (key !== "__proto__") map[key] = value;
  else Object.defineProperty(map, key, { value, enumerable: true, writable: true, configurable: true });
};

/** Arrays of numbers, row by row. */
export class ArrayColumn {
  readonly length: number;
  readonly #totals: Uint32Array;
  readonly #numbers: Float64Array;
  constructor(totals: Uint32Array, numbers: Float64Array) {
    this.#totals = totals;
    this.#numbers = numbers;
    this.length = totals.length;
  }
  /** A view, not a copy. */
  at(index: number): Float64Array {
    const end = this.#totals[index];
    if (end === undefined) throw new RangeError(`no row ${index} in a column of ${this.length}`);
    return this.#numbers.subarray(index === 0 ? 0 : this.#totals[index - 1], end);
  }
}

export type DecodedColumn =
  | Uint8Array
  | BigUint64Array
  | BigInt64Array
  | Float64Array
  | StringColumn
  | MapColumn
  | ArrayColumn;

/** Reads forward through a block; every step checks what is left before it allocates or moves. */
class BlockCursor {
  readonly bytes: Buffer;
  at: number;
  place: string;
  constructor(bytes: Buffer, at = 0, place = "the block's counts") {
    this.bytes = bytes;
    this.at = at;
    this.place = place;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  bad(message: string): BatchError {
    return new BatchError("bad_block", `${this.place}, byte ${this.at}: ${message}`);
  }

  /** At most 32 bits. */
  varuint(): number {
    let value = 0;
    for (let scale = 1, count = 0; count < 5; count++, scale *= 0x80) {
      const byte = this.bytes[this.at];
      if (byte === undefined) throw this.bad("the block is cut short in a length");
      this.at++;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > 0xffff_ffff) break;
        return value;
      }
    }
    throw this.bad("a length of more than 32 bits");
  }

  take(bytes: number): number {
    if (bytes > this.left) throw this.bad(`${bytes} bytes are needed, ${this.left} are left`);
    const start = this.at;
    this.at += bytes;
    return start;
  }

  name(): string {
    const length = this.varuint();
    if (length > 256) throw this.bad(`a name of ${length} bytes`);
    const start = this.take(length);
    return this.bytes.toString("utf8", start, start + length);
  }
}

/** A typed array over the block where its alignment allows, else over one copy. Little-endian hosts only, as all that Node supports of ours are. */
const cells = (cursor: BlockCursor, bytes: number): { buffer: ArrayBufferLike; offset: number } => {
  const start = cursor.take(bytes);
  const offset = cursor.bytes.byteOffset + start;
  if (offset % 8 === 0) return { buffer: cursor.bytes.buffer, offset };
  const copy = new Uint8Array(bytes);
  copy.set(cursor.bytes.subarray(start, start + bytes));
  return { buffer: copy.buffer, offset: 0 };
};

const readStrings = (cursor: BlockCursor, count: number): StringColumn => {
  // Every string has at least its length's byte, so a lying count stops here.
  if (count > cursor.left) throw cursor.bad(`${count} strings in ${cursor.left} bytes`);
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  const { bytes } = cursor;
  for (let index = 0; index < count; index++) {
    // Most strings are shorter than 128 bytes: their length is one byte, read here without a call.
    const first = bytes[cursor.at];
    let length: number;
    if (first !== undefined && first < 0x80) {
      length = first;
      cursor.at++;
    } else {
      length = cursor.varuint();
    }
    if (length > bytes.length - cursor.at) throw cursor.bad(`${length} bytes are needed, ${cursor.left} are left`);
    starts[index] = cursor.at;
    cursor.at += length;
    ends[index] = cursor.at;
  }
  return new StringColumn(cursor.bytes, starts, ends);
};

/** Where each row's entries end; an entry has at least `entryBytes` bytes. */
const readTotals = (cursor: BlockCursor, rowCount: number, entryBytes: number): Uint32Array => {
  const start = cursor.take(rowCount * 8);
  const totals = new Uint32Array(rowCount);
  let before = 0;
  for (let row = 0; row < rowCount; row++) {
    const at = start + row * 8;
    const total = cursor.bytes.readUInt32LE(at) + cursor.bytes.readUInt32LE(at + 4) * 0x1_0000_0000;
    if (total < before || total * entryBytes > cursor.left) throw cursor.bad(`row ${row} ends at entry ${total}`);
    totals[row] = total;
    before = total;
  }
  return totals;
};

const readMaps = (cursor: BlockCursor, rowCount: number): MapColumn => {
  // Two bytes at least: the lengths of the key and of the value.
  const totals = readTotals(cursor, rowCount, 2);
  const entries = totals[rowCount - 1] ?? 0;
  return new MapColumn(totals, readStrings(cursor, entries), readStrings(cursor, entries));
};

const readArrays = (cursor: BlockCursor, rowCount: number): ArrayColumn => {
  const totals = readTotals(cursor, rowCount, 8);
  const entries = totals[rowCount - 1] ?? 0;
  const { buffer, offset } = cells(cursor, entries * 8);
  return new ArrayColumn(totals, new Float64Array(buffer, offset, entries));
};

const readCells = (cursor: BlockCursor, { type }: Column, rowCount: number): DecodedColumn => {
  if (type === "String") return readStrings(cursor, rowCount);
  if (type === "Map(String, String)") return readMaps(cursor, rowCount);
  if (type === "Array(Float64)") return readArrays(cursor, rowCount);
  if (type === "UInt8") {
    const start = cursor.take(rowCount);
    return cursor.bytes.subarray(start, start + rowCount);
  }
  const { buffer, offset } = cells(cursor, rowCount * 8);
  if (type === "Float64") return new Float64Array(buffer, offset, rowCount);
  if (type === "UInt64") return new BigUint64Array(buffer, offset, rowCount);
  return new BigInt64Array(buffer, offset, rowCount);
};

/** Passes over strings as readStrings reads them, and notes nothing. */
const passStrings = (cursor: BlockCursor, count: number): void => {
  const { bytes } = cursor;
  for (let index = 0; index < count; index++) {
    const first = bytes[cursor.at];
    let length: number;
    if (first !== undefined && first < 0x80) {
      length = first;
      cursor.at++;
    } else {
      length = cursor.varuint();
    }
    if (length > bytes.length - cursor.at) throw cursor.bad(`${length} bytes are needed, ${cursor.left} are left`);
    cursor.at += length;
  }
};

/** Passes over a column's cells with the checks of readCells, so that reading them afterwards finds nothing amiss. */
const passCells = (cursor: BlockCursor, { type }: Column, rowCount: number): void => {
  if (type === "String") {
    passStrings(cursor, rowCount);
  } else if (type === "Map(String, String)") {
    const entries = readTotals(cursor, rowCount, 2)[rowCount - 1] ?? 0;
    passStrings(cursor, entries);
    passStrings(cursor, entries);
  } else if (type === "Array(Float64)") {
    cursor.take((readTotals(cursor, rowCount, 8)[rowCount - 1] ?? 0) * 8);
  } else {
    cursor.take(type === "UInt8" ? rowCount : rowCount * 8);
  }
};

/** Checks a column, and leaves the reading of its cells for when somebody asks: who only passes a batch on never does. */
const openColumn = (cursor: BlockCursor, column: Column, rowCount: number): (() => DecodedColumn) => {
  cursor.place = `column ${column.name}`;
  const name = cursor.name();
  if (name !== column.name) {
    throw new BatchError("unknown_column", `column ${JSON.stringify(name)} stands where ${column.name} belongs`);
  }
  const type = cursor.name();
  if (type !== column.type) {
    throw new BatchError("wrong_type", `column ${name} has the type ${JSON.stringify(type)}, not ${column.type}`);
  }
  const { bytes, at, place } = cursor;
  passCells(cursor, column, rowCount);
  return () => readCells(new BlockCursor(bytes, at, place), column, rowCount);
};

/** What an optional column that a block ends before is read as. */
const absent = ({ type }: Column, rowCount: number): DecodedColumn => {
  const nowhere = new Uint32Array(rowCount);
  const texts = new StringColumn(Buffer.alloc(0), nowhere, nowhere);
  if (type === "String") return texts;
  if (type === "Map(String, String)") return new MapColumn(nowhere, texts, texts);
  if (type === "Array(Float64)") return new ArrayColumn(nowhere, new Float64Array(0));
  if (type === "UInt8") return new Uint8Array(rowCount);
  if (type === "Float64") return new Float64Array(rowCount);
  return type === "UInt64" ? new BigUint64Array(rowCount) : new BigInt64Array(rowCount);
};

/** Reads a column by its name, at each call anew; undefined where there is none of that name. */
export type ReadColumn = (name: string) => DecodedColumn | undefined;

/**
 * The columns of exactly one Native block, which must be `columns` in their order, with `rowCount` rows. A block may end before an optional
 * column: its producer is older than the column. The whole block is checked here and now.
 */
export const openNativeBlock = (bytes: Buffer, columns: readonly Column[], rowCount: number): ReadColumn => {
  const cursor = new BlockCursor(bytes);
  const columnCount = cursor.varuint();
  const rows = cursor.varuint();
  if (rows !== rowCount) {
    throw new BatchError("row_count_mismatch", `the block has ${rows} rows, the header claims ${rowCount}`);
  }
  const missing = columns.slice(columnCount).filter((column) => column.optional !== true);
  if (missing.length > 0) {
    const names = missing.map((column) => column.name).join(", ");
    throw new BatchError("missing_column", `the block has ${columnCount} columns, without ${names}`);
  }
  const opened = new Map<string, () => DecodedColumn>();
  for (const [index, column] of columns.entries()) {
    opened.set(column.name, index < columnCount ? openColumn(cursor, column, rows) : () => absent(column, rows));
  }
  if (columnCount > columns.length) {
    cursor.place = `column ${columns.length}`;
    throw new BatchError("unknown_column", `column ${JSON.stringify(cursor.name())} is not of this schema`);
  }
  if (cursor.left > 0) throw new BatchError("trailing_bytes", `${cursor.left} bytes follow the block`);
  return (name) => opened.get(name)?.();
};

/** All columns of a block, read. */
export const readNativeBlock = (
  bytes: Buffer,
  columns: readonly Column[],
  rowCount: number,
): ReadonlyMap<string, DecodedColumn> => {
  const read = openNativeBlock(bytes, columns, rowCount);
  return new Map(
    columns.flatMap(({ name }) => {
      const column = read(name);
      return column === undefined ? [] : [[name, column] as const];
    }),
  );
};
