import { isUtf8 } from "node:buffer";
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { crc32 } from "node:zlib";
import type { TextSpan } from "@homeostat/schemas";
import { z } from "zod";

export const LINE_BYTES_MAX = 65_536;
const FINGERPRINT_BYTES = 256;
const CHUNK_BYTES = 262_144;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Shared by all files: a read never outlives the call. */
const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
const text = { bytes: chunk, from: 0, to: 0 };
const raw = { text, isUtf8: false, lengthBytes: 0, end: 0, isPartial: false };

/** What the spool remembers of a file. The fingerprint (CRC-32 of the first bytes) tells a file from another one in its inode, or from its own former content. */
export const TailMark = z.strictObject({
  path: z.string(),
  offset: z.int().min(0),
  fingerprint: z.strictObject({ bytes: z.int().min(0), crc32: z.int().min(0) }),
});
export type TailMark = z.infer<typeof TailMark>;

export interface RawLine {
  /** At most LINE_BYTES_MAX, without the line end; the same object for each line, and bytes that the next read overwrites. */
  readonly text: TextSpan;
  /** They are valid UTF-8 as they stand. */
  readonly isUtf8: boolean;
  /** As it stands in the file. */
  readonly lengthBytes: number;
  /** Where the next line begins. */
  readonly end: number;
  /** The writer has not ended the line; what follows will be a line of its own. */
  readonly isPartial: boolean;
}

/** Takes a line; false stops the reading in front of it. */
export type TakeLine = (line: RawLine) => boolean;

/** One open log file. It holds no bytes between reads: an unfinished line is read again when it has grown, a long one is only measured. */
export class TailedFile {
  readonly key: string;
  path: string;
  readonly #fd: number;
  #lineStart: number;
  /** Bytes from #lineStart that hold no line end. */
  #scanned = 0;
  #fingerprint: TailMark["fingerprint"] = { bytes: 0, crc32: 0 };
  #committed: number;
  #grewAtUnixMs: number;
  /** When no pattern matched it any more: renamed or removed. */
  orphanedAtUnixMs: number | null = null;
  truncations = 0;

  private constructor(fd: number, options: { key: string; path: string; nowUnixMs: number }) {
    this.#fd = fd;
    this.key = options.key;
    this.path = options.path;
    this.#grewAtUnixMs = options.nowUnixMs;
    this.#lineStart = 0;
    this.#committed = 0;
  }

  /** null when it is not a regular file (a pipe would block). */
  static open(path: string, nowUnixMs: number): TailedFile | null {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(fd);
    if (stat.isFile()) return new TailedFile(fd, { key: `${stat.dev}:${stat.ino}`, path, nowUnixMs });
    closeSync(fd);
    return null;
  }

  /** Goes on where a mark left off when this is still the same content; says whether it is. */
  resume(mark: TailMark): boolean {
    const { bytes, crc32: expected } = mark.fingerprint;
    if (bytes === 0 || fstatSync(this.#fd).size < mark.offset || this.#headCrc(bytes) !== expected) return false;
    this.#fingerprint = mark.fingerprint;
    this.#lineStart = mark.offset;
    this.#committed = mark.offset;
    return true;
  }

  /** Where the first line begins that has not been given. */
  get position(): number {
    return this.#lineStart;
  }

  /** How far it has been looked at, an unfinished line included. */
  get scannedTo(): number {
    return this.#lineStart + this.#scanned;
  }

  get isAtLineEnd(): boolean {
    return this.#scanned === 0;
  }

  skipTo(offset: number): void {
    this.#lineStart = offset;
    this.#committed = offset;
    this.#extendFingerprint(fstatSync(this.#fd).size);
  }

  mark(offset: number): TailMark {
    return { path: this.path, offset, fingerprint: this.#fingerprint };
  }

  committed(offset: number): void {
    this.#committed = offset;
  }

  /** Back to what has been spooled: what was read since will be read again. */
  rewind(): void {
    this.#lineStart = this.#committed;
    this.#scanned = 0;
  }

  /** Reads at most about `budgetBytes`; says whether there is more to read. */
  read(options: { budgetBytes: number; nowUnixMs: number; take: TakeLine }): boolean {
    const { size } = fstatSync(this.#fd);
    if (!this.#isSameContent(size)) this.#restart();
    if (size > this.#lineStart + this.#scanned) this.#grewAtUnixMs = options.nowUnixMs;
    for (let budget = options.budgetBytes; budget > 0; ) {
      if (size <= this.#lineStart + this.#scanned) return false;
      const before = this.#lineStart + this.#scanned;
      const isGoingOn = this.#scanned >= LINE_BYTES_MAX ? this.#measure(options.take) : this.#readLines(options.take);
      const read = this.#lineStart + this.#scanned - before;
      if (!isGoingOn || read <= 0) return false;
      budget -= read;
    }
    return true;
  }

  /** Gives an unfinished line away once nobody has written to the file for a while. */
  flushPartial(options: { idleMs: number; nowUnixMs: number; take: TakeLine }): void {
    if (this.#scanned === 0 || options.nowUnixMs - this.#grewAtUnixMs < options.idleMs) return;
    const end = this.#lineStart + this.#scanned;
    const bytes = this.#pread(this.#lineStart, Math.min(this.#scanned, LINE_BYTES_MAX));
    text.from = 0;
    text.to = bytes.length;
    if (!options.take({ text, isUtf8: isUtf8(bytes), lengthBytes: this.#scanned, end, isPartial: true })) return;
    this.#lineStart = end;
    this.#scanned = 0;
  }

  isIdleSince(unixMs: number): boolean {
    return this.#scanned === 0 && this.#grewAtUnixMs <= unixMs;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #isSameContent(size: number): boolean {
    if (size < this.#lineStart + this.#scanned) return false;
    const { bytes, crc32: expected } = this.#fingerprint;
    if (bytes > 0 && size !== this.#lineStart + this.#scanned && this.#headCrc(bytes) !== expected) return false;
    this.#extendFingerprint(size);
    return true;
  }

  #extendFingerprint(size: number): void {
    const bytes = Math.min(FINGERPRINT_BYTES, size);
    if (bytes > this.#fingerprint.bytes) this.#fingerprint = { bytes, crc32: this.#headCrc(bytes) };
  }

  /** Truncated in place (logrotate's copytruncate, or `> file`): new content from the beginning. */
  #restart(): void {
    this.truncations += 1;
    this.#lineStart = 0;
    this.#scanned = 0;
    this.#committed = 0;
    this.#fingerprint = { bytes: 0, crc32: 0 };
    this.#extendFingerprint(fstatSync(this.#fd).size);
  }

  #readLines(take: TakeLine): boolean {
    const base = this.#lineStart;
    const bytes = this.#pread(base, CHUNK_BYTES);
    let start = 0;
    // Asked once for all of them: no character reaches over a line end.
    const isValid = isUtf8(bytes.subarray(0, bytes.lastIndexOf(NEWLINE) + 1));
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, start)) {
      text.from = start;
      text.to = end;
      raw.lengthBytes = end - start;
      raw.end = base + end + 1;
      raw.isUtf8 = isValid;
      if (!this.#give(take)) return false;
      start = end + 1;
    }
    this.#scanned = bytes.length - start;
    return true;
  }

  /** A line beyond the limit: look for its end, then fetch its head. */
  #measure(take: TakeLine): boolean {
    const base = this.#lineStart + this.#scanned;
    const bytes = this.#pread(base, CHUNK_BYTES);
    const end = bytes.indexOf(NEWLINE);
    if (end === -1) {
      this.#scanned += bytes.length;
      return true;
    }
    raw.lengthBytes = this.#scanned + end;
    raw.end = base + end + 1;
    const head = this.#pread(this.#lineStart, LINE_BYTES_MAX);
    text.from = 0;
    text.to = head.length;
    raw.isUtf8 = isUtf8(head);
    return this.#give(take);
  }

  /** What stands in `raw` and `text`. */
  #give(take: TakeLine): boolean {
    const { from, to } = text;
    if (to > from && to - from === raw.lengthBytes && chunk[to - 1] === CARRIAGE_RETURN) {
      text.to -= 1;
      raw.lengthBytes -= 1;
    }
    if (text.to - from > LINE_BYTES_MAX) {
      text.to = from + LINE_BYTES_MAX;
      // A line that is cut may be cut within a character.
      raw.isUtf8 &&= isUtf8(chunk.subarray(from, text.to));
    }
    if (!take(raw)) return false;
    this.#lineStart = raw.end;
    this.#scanned = 0;
    return true;
  }

  #headCrc(bytes: number): number {
    return crc32(this.#pread(0, bytes));
  }

  #pread(position: number, length: number): Buffer {
    return chunk.subarray(0, readSync(this.#fd, chunk, 0, length, position));
  }
}
