import { closeSync, openSync, readSync } from "node:fs";

const ZERO = 0x30;
const NINE = 0x39;
const SPACE = 0x20;
const NEWLINE = 0x0a;
/** A file of /proc longer than this is read as far as it goes. */
const BYTES_MAX = 1_048_576;
/** The kernel writes a page at a time, and ends a read in front of the line that does not fit any more. */
const PAGE_BYTES = 4096;
/** No line of the tables that are read here is longer. Files that are written as a whole (stat, meminfo) are given whole when there is room. */
const LINE_BYTES_MAX = 1024;

/**
 * A file of /proc that is read again and again: opened once, always from position 0 (which makes the kernel write it anew), into one
 * buffer, and parsed in place. `at` is the cursor.
 */
export class ProcFile {
  readonly #path: string;
  #fd: number | null = null;
  bytes = Buffer.allocUnsafeSlow(4096);
  length = 0;
  at = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** False when the file is not there (any more); other failures are thrown. */
  read(): boolean {
    this.at = 0;
    this.length = 0;
    try {
      this.#fd ??= openSync(this.#path, "r");
      this.length = this.#fill(this.#fd);
      return true;
    } catch (error) {
      this.close();
      if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH"))
        return false;
      throw error;
    }
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  get hasMore(): boolean {
    return this.at < this.length;
  }

  nextLine(): void {
    const end = this.bytes.indexOf(NEWLINE, this.at);
    this.at = end === -1 || end >= this.length ? this.length : end + 1;
  }

  /** Whether the line at the cursor begins with this; steps over it when it does. */
  skip(prefix: Buffer): boolean {
    const end = this.at + prefix.length;
    if (end > this.length || prefix.compare(this.bytes, this.at, end) !== 0) return false;
    this.at = end;
    return true;
  }

  skipSpaces(): void {
    while (this.at < this.length && this.bytes[this.at] === SPACE) this.at++;
  }

  /** The word at the cursor, up to a space, a line end or `stop`. */
  word(stop = SPACE): string {
    this.skipSpaces();
    const from = this.at;
    while (this.at < this.length) {
      const byte = this.bytes[this.at];
      if (byte === SPACE || byte === NEWLINE || byte === stop) break;
      this.at++;
    }
    return this.bytes.toString("latin1", from, this.at);
  }

  skipWords(count: number): void {
    for (let word = 0; word < count; word++) {
      this.skipSpaces();
      while (this.at < this.length && this.bytes[this.at] !== SPACE && this.bytes[this.at] !== NEWLINE) this.at++;
    }
  }

  /** The number at the cursor, with a fraction if there is one; NaN when there is none on this line. */
  number(): number {
    this.skipSpaces();
    let value = 0;
    let digits = 0;
    let scale = 0;
    for (; this.at < this.length; this.at++) {
      const byte = this.bytes[this.at] ?? 0;
      if (byte >= ZERO && byte <= NINE) {
        value = value * 10 + (byte - ZERO);
        digits++;
        if (scale > 0) scale *= 10;
      } else if (byte === 0x2e && scale === 0) scale = 1;
      else break;
    }
    if (digits === 0) return Number.NaN;
    return scale > 1 ? value / scale : value;
  }

  #fill(fd: number): number {
    let length = 0;
    for (;;) {
      const room = this.bytes.length - length;
      const read = readSync(fd, this.bytes, length, room, length);
      length += read;
      // So much shorter than it could have been: that was all of it, and need not be asked for once more.
      if (read < Math.min(room, PAGE_BYTES) - LINE_BYTES_MAX) return length;
      if (read === 0 || this.bytes.length >= BYTES_MAX) return length;
      if (length < this.bytes.length) continue;
      const larger = Buffer.allocUnsafeSlow(this.bytes.length * 2);
      this.bytes.copy(larger, 0, 0, length);
      this.bytes = larger;
    }
  }
}

export const ascii = (text: string): Buffer => Buffer.from(text, "latin1");
