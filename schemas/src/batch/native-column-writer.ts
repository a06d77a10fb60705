import { isUtf8 } from "node:buffer";
import type { ColumnType } from "../telemetry.ts";
import { BatchError } from "./batch-error.ts";
import { ARRAY_ENTRIES_MAX, MAP_ENTRIES_MAX, STRING_BYTES_MAX } from "./batch-limits.ts";
import { varuintBytes, writeVaruint } from "./varuint.ts";

/** The bytes of one growing column as they will stand in the Native block. `append` either takes the value or throws and takes nothing. */
export interface ColumnWriter {
  readonly byteLength: number;
  append(value: unknown): void;
  /** The same value for so many rows, one at least. */
  appendShared(value: unknown, rows: number): void;
  /** Cells of so many rows as they will stand: whoever has made them answers for what is in them. Not for maps and arrays, whose parts lie apart. */
  appendCells(cells: Uint8Array, rows: number): void;
  /** Forgets what was appended last, a row or many. */
  undo(): void;
  reset(): void;
  /** Copies the column and answers where it ends. */
  copyTo(target: Buffer, at: number): number;
}

/** Buffers that grew beyond this are not kept for the next batch. */
const KEPT_BYTES_MAX = 1_048_576;
const FIRST_BYTES = 1024;

const shown = (value: unknown): string => {
  const text = typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : String(value).slice(0, 40);
  return `${typeof value} ${text}`;
};

const wrong = (expected: string, value: unknown): BatchError =>
  new BatchError("bad_value", `expected ${expected}, got ${value === null ? "null" : shown(value)}`);

class GrowingBytes {
  bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  end = 0;

  reserve(more: number): void {
    const wanted = this.end + more;
    if (wanted <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(wanted, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.end);
    this.bytes = grown;
  }

  pushAll(cells: Uint8Array): void {
    this.reserve(cells.length);
    this.bytes.set(cells, this.end);
    this.end += cells.length;
  }

  /** What stands from here to the end, so many times in all. */
  multiply(from: number, times: number): void {
    const once = this.end - from;
    if (once === 0) return;
    const more = once * (times - 1);
    this.reserve(more);
    this.bytes.fill(this.bytes.subarray(from, this.end), this.end, this.end + more);
    this.end += more;
  }

  reset(): void {
    this.end = 0;
    if (this.bytes.length > KEPT_BYTES_MAX) this.bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  }
}

/** Below this many characters a loop beats the call into C++ (measured: equal at about 24). */
const SHORT_TEXT_LENGTH = 24;

const checkCells = (cells: Uint8Array, bytes: number): void => {
  if (cells.length !== bytes) throw wrong(`cells of ${bytes} bytes`, cells.length);
};

const noCells = (): never => {
  throw wrong("a value", "cells");
};

const checkText = (text: unknown, what: string): string => {
  if (typeof text !== "string") throw wrong(what, text);
  // A UTF-16 code unit takes at most three bytes of UTF-8.
  if (text.length * 3 > STRING_BYTES_MAX && Buffer.byteLength(text) > STRING_BYTES_MAX) {
    throw new BatchError(
      "too_long",
      `${what} of ${Buffer.byteLength(text)} bytes, at most ${STRING_BYTES_MAX} are allowed`,
    );
  }
  return text;
};

/** What is no UTF-8 becomes what it would have become as a string: each bad sequence one U+FFFD. */
const wellFormed = (bytes: Uint8Array): Uint8Array =>
  isUtf8(bytes) ? bytes : Buffer.from(Buffer.from(bytes).toString("utf8"));

const checkLength = (bytes: number): void => {
  if (bytes <= STRING_BYTES_MAX) return;
  throw new BatchError("too_long", `a string of ${bytes} bytes, at most ${STRING_BYTES_MAX} are allowed`);
};

/** VarUInt length and UTF-8 bytes, one after the other. */
class TextBytes extends GrowingBytes {
  push(text: string): void {
    this.reserve(text.length * 3 + 5);
    if (text.length > SHORT_TEXT_LENGTH || !this.#pushShortAscii(text)) this.#push(text);
  }

  /** Valid UTF-8 already. */
  pushBytes(text: Uint8Array): void {
    this.reserve(text.length + 5);
    this.end = writeVaruint(this.bytes, this.end, text.length);
    this.bytes.set(text, this.end);
    this.end += text.length;
  }

  #pushShortAscii(text: string): boolean {
    const { bytes, end } = this;
    const length = text.length;
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index);
      if (unit > 0x7f) return false;
      bytes[end + 1 + index] = unit;
    }
    bytes[end] = length;
    this.end = end + 1 + length;
    return true;
  }

  #push(text: string): void {
    const { bytes, end } = this;
    // Most text is ASCII: guess that the length in bytes takes as many bytes as the length in characters, and move when wrong.
    const guessed = varuintBytes(text.length);
    const length = bytes.write(text, end + guessed, "utf8");
    const needed = varuintBytes(length);
    if (needed !== guessed) bytes.copyWithin(end + needed, end + guessed, end + guessed + length);
    this.end = writeVaruint(bytes, end, length) + length;
  }
}

class StringColumnWriter implements ColumnWriter {
  #text = new TextBytes();
  #rowStart = 0;
  get byteLength(): number {
    return this.#text.end;
  }
  append(value: unknown): void {
    this.#rowStart = this.#text.end;
    if (typeof value === "string") this.#text.push(checkText(value, "a string"));
    else if (value instanceof Uint8Array) {
      const bytes = wellFormed(value);
      checkLength(bytes.length);
      this.#text.pushBytes(bytes);
    } else throw wrong("a string", value);
  }
  appendShared(value: unknown, rows: number): void {
    this.append(value);
    this.#text.multiply(this.#rowStart, rows);
  }
  appendCells(cells: Uint8Array): void {
    this.#rowStart = this.#text.end;
    this.#text.pushAll(cells);
  }
  undo(): void {
    this.#text.end = this.#rowStart;
  }
  reset(): void {
    this.#text.reset();
  }
  copyTo(target: Buffer, at: number): number {
    return at + this.#text.bytes.copy(target, at, 0, this.#text.end);
  }
}

/** A running total as UInt64; below 2^32, since a block is. */
const pushTotal = (totals: GrowingBytes, total: number): void => {
  totals.reserve(8);
  totals.bytes.writeUInt32LE(total, totals.end);
  totals.bytes.writeUInt32LE(0, totals.end + 4);
  totals.end += 8;
};

/** Running totals of entries as UInt64, then all keys, then all values. */
class MapColumnWriter implements ColumnWriter {
  #totals = new GrowingBytes();
  #keys = new TextBytes();
  #values = new TextBytes();
  #entries = 0;
  #rowStart = { entries: 0, totals: 0, keys: 0, values: 0 };

  get byteLength(): number {
    return this.#totals.end + this.#keys.end + this.#values.end;
  }

  append(value: unknown): void {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong("a map of strings", value);
    const map = value as Readonly<Record<string, unknown>>;
    const names = Object.keys(map);
    if (names.length > MAP_ENTRIES_MAX) {
      throw new BatchError("too_long", `a map of ${names.length} entries, at most ${MAP_ENTRIES_MAX} are allowed`);
    }
    for (const name of names) {
      checkText(name, "a map key");
      checkText(map[name], "a map value");
    }
    this.#rowStart.entries = this.#entries;
    this.#rowStart.totals = this.#totals.end;
    this.#rowStart.keys = this.#keys.end;
    this.#rowStart.values = this.#values.end;
    for (const name of names) {
      this.#keys.push(name);
      this.#values.push(map[name] as string);
    }
    this.#entries += names.length;
    pushTotal(this.#totals, this.#entries);
  }

  appendShared(value: unknown, rows: number): void {
    this.append(value);
    const { entries: before, keys, values } = this.#rowStart;
    const entries = this.#entries - before;
    for (let row = 1; row < rows; row++) {
      this.#entries += entries;
      pushTotal(this.#totals, this.#entries);
    }
    this.#keys.multiply(keys, rows);
    this.#values.multiply(values, rows);
  }

  appendCells = noCells;

  undo(): void {
    this.#entries = this.#rowStart.entries;
    this.#totals.end = this.#rowStart.totals;
    this.#keys.end = this.#rowStart.keys;
    this.#values.end = this.#rowStart.values;
  }

  reset(): void {
    this.#entries = 0;
    for (const part of [this.#totals, this.#keys, this.#values]) part.reset();
  }

  copyTo(target: Buffer, at: number): number {
    let end = at;
    for (const part of [this.#totals, this.#keys, this.#values]) end += part.bytes.copy(target, end, 0, part.end);
    return end;
  }
}

/** Running totals of entries as UInt64, then all numbers. */
class ArrayColumnWriter implements ColumnWriter {
  #totals = new GrowingBytes();
  #numbers = new GrowingBytes();
  #rowStart = { totals: 0, numbers: 0 };

  get byteLength(): number {
    return this.#totals.end + this.#numbers.end;
  }

  append(value: unknown): void {
    const numbers = checkNumbers(value);
    this.#rowStart.totals = this.#totals.end;
    this.#rowStart.numbers = this.#numbers.end;
    this.#numbers.reserve(numbers.length * 8);
    for (const number of numbers) this.#numbers.end = this.#numbers.bytes.writeDoubleLE(number, this.#numbers.end);
    pushTotal(this.#totals, this.#numbers.end / 8);
  }

  appendShared(value: unknown, rows: number): void {
    this.append(value);
    const { numbers } = this.#rowStart;
    const bytes = this.#numbers.end - numbers;
    for (let row = 2; row <= rows; row++) pushTotal(this.#totals, (numbers + bytes * row) / 8);
    this.#numbers.multiply(numbers, rows);
  }

  appendCells = noCells;

  undo(): void {
    this.#totals.end = this.#rowStart.totals;
    this.#numbers.end = this.#rowStart.numbers;
  }

  reset(): void {
    this.#totals.reset();
    this.#numbers.reset();
  }

  copyTo(target: Buffer, at: number): number {
    const end = at + this.#totals.bytes.copy(target, at, 0, this.#totals.end);
    return end + this.#numbers.bytes.copy(target, end, 0, this.#numbers.end);
  }
}

const checkNumbers = (value: unknown): readonly number[] => {
  if (!Array.isArray(value) && !(value instanceof Float64Array)) throw wrong("an array of numbers", value);
  if (value.length > ARRAY_ENTRIES_MAX) {
    throw new BatchError("too_long", `an array of ${value.length}, at most ${ARRAY_ENTRIES_MAX} are allowed`);
  }
  return Array.from(value, (number: unknown) => {
    if (typeof number !== "number") throw wrong("a number", number);
    return number;
  });
};

class ByteColumnWriter implements ColumnWriter {
  #cells = new GrowingBytes();
  #rowStart = 0;
  get byteLength(): number {
    return this.#cells.end;
  }
  append(value: unknown): void {
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 255) {
      throw wrong("a whole number from 0 to 255", value);
    }
    this.#rowStart = this.#cells.end;
    this.#cells.reserve(1);
    this.#cells.bytes[this.#cells.end++] = value;
  }
  appendShared(value: unknown, rows: number): void {
    this.append(value);
    this.#cells.multiply(this.#rowStart, rows);
  }
  appendCells(cells: Uint8Array, rows: number): void {
    checkCells(cells, rows);
    this.#rowStart = this.#cells.end;
    this.#cells.pushAll(cells);
  }
  undo(): void {
    this.#cells.end = this.#rowStart;
  }
  reset(): void {
    this.#cells.reset();
  }
  copyTo(target: Buffer, at: number): number {
    return at + this.#cells.bytes.copy(target, at, 0, this.#cells.end);
  }
}

/** The same memory as each type that a cell of eight bytes may have; little-endian, as all machines are that Node runs on for us. */
class Cells {
  readonly bytes: Uint8Array;
  readonly u64: BigUint64Array;
  readonly f64: Float64Array;
  readonly u32: Uint32Array;
  constructor(length: number) {
    const buffer = new ArrayBuffer(length * 8);
    this.bytes = new Uint8Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.u32 = new Uint32Array(buffer);
  }
}

/** Throws for a value outside the column's range, before it writes. */
type Put = (cells: Cells, at: number, value: unknown) => void;

/** Storing into a typed array takes a twentieth of the time of Buffer's writeBigUInt64LE. */
class CellColumnWriter implements ColumnWriter {
  #cells = new Cells(FIRST_BYTES / 8);
  #count = 0;
  #countBefore = 0;
  readonly #put: Put;
  constructor(put: Put) {
    this.#put = put;
  }
  get byteLength(): number {
    return this.#count * 8;
  }
  append(value: unknown): void {
    if (this.#count === this.#cells.u64.length) this.#grow(1);
    this.#put(this.#cells, this.#count, value);
    this.#countBefore = this.#count++;
  }
  appendShared(value: unknown, rows: number): void {
    this.append(value);
    this.#grow(rows - 1);
    const { u64 } = this.#cells;
    u64.fill(u64[this.#countBefore] ?? 0n, this.#count, this.#count + rows - 1);
    this.#count += rows - 1;
  }
  appendCells(cells: Uint8Array, rows: number): void {
    checkCells(cells, rows * 8);
    this.#grow(rows);
    this.#cells.bytes.set(cells, this.byteLength);
    this.#countBefore = this.#count;
    this.#count += rows;
  }
  #grow(more: number): void {
    const wanted = this.#count + more;
    const { length } = this.#cells.u64;
    if (wanted <= length) return;
    const grown = new Cells(Math.max(wanted, length * 2));
    grown.bytes.set(this.#cells.bytes);
    this.#cells = grown;
  }
  undo(): void {
    this.#count = this.#countBefore;
  }
  reset(): void {
    this.#count = 0;
    if (this.#cells.bytes.length > KEPT_BYTES_MAX) this.#cells = new Cells(FIRST_BYTES / 8);
  }
  copyTo(target: Buffer, at: number): number {
    target.set(this.#cells.bytes.subarray(0, this.byteLength), at);
    return at + this.byteLength;
  }
}

const INT64_MAX = 0x7fff_ffff_ffff_ffffn;
const UINT64_MAX = 0xffff_ffff_ffff_ffffn;

const putUInt64: Put = (cells, at, value) => {
  if (typeof value !== "bigint" || value < 0n || value > UINT64_MAX)
    throw wrong("a bigint of 64 bits, unsigned", value);
  cells.u64[at] = value;
};

/** NaN and the infinities are values of Float64 and pass; whether to send them is the producer's choice. */
const putFloat64: Put = (cells, at, value) => {
  if (typeof value !== "number") throw wrong("a number", value);
  cells.f64[at] = value;
};

/** The year 2262, where 64 bits of nanoseconds end. */
const MS_MAX = 9_223_372_036_854;

const putMilliseconds: Put = (cells, at, value) => {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > MS_MAX) {
    throw wrong(`whole milliseconds from 0 to ${MS_MAX}`, value);
  }
  // Not by %, which takes ten times as long for numbers of this size.
  const high = Math.floor(value / 0x1_0000_0000);
  cells.u32[at * 2] = value - high * 0x1_0000_0000;
  cells.u32[at * 2 + 1] = high;
};

const putNanoseconds: Put = (cells, at, value) => {
  if (typeof value !== "bigint" || value < 0n || value > INT64_MAX) {
    throw wrong("nanoseconds as a bigint from 0 to 2^63 - 1", value);
  }
  cells.u64[at] = value;
};

const WRITERS: Readonly<Record<ColumnType, () => ColumnWriter>> = {
  UInt8: () => new ByteColumnWriter(),
  UInt64: () => new CellColumnWriter(putUInt64),
  Float64: () => new CellColumnWriter(putFloat64),
  "DateTime64(3)": () => new CellColumnWriter(putMilliseconds),
  "DateTime64(9)": () => new CellColumnWriter(putNanoseconds),
  String: () => new StringColumnWriter(),
  "Map(String, String)": () => new MapColumnWriter(),
  "Array(Float64)": () => new ArrayColumnWriter(),
};

/** What an optional column has where a row leaves it out. */
export const ZERO_OF: Readonly<Record<ColumnType, unknown>> = {
  UInt8: 0,
  UInt64: 0n,
  Float64: 0,
  "DateTime64(3)": 0,
  "DateTime64(9)": 0n,
  String: "",
  "Map(String, String)": {},
  "Array(Float64)": [],
};

export const columnWriter = (type: ColumnType): ColumnWriter => WRITERS[type]();
