const NEWLINE = 0x0a;

/** Cuts a stream into lines. A line that is longer than the cap is skipped to its end, and told once. */
export class LineReader {
  readonly #options: { lineBytesMax: number; onLine: (line: string) => void; onTooLong: () => void };
  #parts: Buffer[] = [];
  #bytes = 0;
  #isSkipping = false;

  constructor(options: { lineBytesMax: number; onLine: (line: string) => void; onTooLong: () => void }) {
    this.#options = options;
  }

  push(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      this.#add(chunk.subarray(from, at));
      this.#endLine();
      from = at + 1;
    }
    this.#add(chunk.subarray(from));
  }

  /** What came without a newline at the end is a line too. */
  end(): void {
    if (this.#bytes > 0) this.#endLine();
  }

  #add(part: Buffer): void {
    if (this.#isSkipping || part.length === 0) return;
    if (this.#bytes + part.length > this.#options.lineBytesMax) {
      this.#isSkipping = true;
      this.#parts = [];
      this.#bytes = 0;
      this.#options.onTooLong();
      return;
    }
    this.#parts.push(part);
    this.#bytes += part.length;
  }

  #endLine(): void {
    const line = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    const isWhole = !this.#isSkipping;
    this.#parts = [];
    this.#bytes = 0;
    this.#isSkipping = false;
    if (isWhole && line !== undefined) this.#options.onLine(line.toString("utf8"));
  }
}
