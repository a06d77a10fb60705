import { ascii, ProcFile } from "./proc-file.ts";

const FIELDS = [
  "MemTotal",
  "MemFree",
  "MemAvailable",
  "Buffers",
  "Cached",
  "SReclaimable",
  "SwapTotal",
  "SwapFree",
] as const;
const PREFIXES = FIELDS.map((field) => ascii(`${field}:`));
const NEWLINE = 0x0a;
const NOWHERE = -1;

/** In bytes; NaN for one that this kernel does not have. */
export type MeminfoValues = Record<(typeof FIELDS)[number], number>;

/** Reads some fields of /proc/meminfo, once for all who ask at the same time. */
export class Meminfo {
  readonly #file: ProcFile;
  readonly #values = Object.fromEntries(FIELDS.map((field) => [field, Number.NaN])) as MeminfoValues;
  /** Where each field's line began: the kernel pads numbers, so that it mostly begins there again. */
  readonly #lines = FIELDS.map(() => NOWHERE);
  #readAtUnixMs = Number.NaN;
  #isThere = false;

  constructor(proc: string) {
    this.#file = new ProcFile(`${proc}/meminfo`);
  }

  /** null when there is no such file. The same object each time. */
  read(nowUnixMs: number): Readonly<MeminfoValues> | null {
    if (nowUnixMs !== this.#readAtUnixMs) {
      this.#readAtUnixMs = nowUnixMs;
      this.#isThere = this.#file.read();
      if (this.#isThere) this.#parse();
    }
    return this.#isThere ? this.#values : null;
  }

  close(): void {
    this.#file.close();
    this.#readAtUnixMs = Number.NaN;
  }

  #parse(): void {
    for (const [index, field] of FIELDS.entries()) {
      const from = this.#lines[index] ?? NOWHERE;
      this.#values[field] = (this.#beginsLine(from) ? this.#numberAt(from, index) : null) ?? this.#find(index);
    }
  }

  /** Not in the middle of another line, which might hold the same word ("Cached" in "SwapCached"). */
  #beginsLine(at: number): boolean {
    return at === 0 || (at > 0 && this.#file.bytes[at - 1] === NEWLINE);
  }

  #find(index: number): number {
    for (this.#file.at = 0; this.#file.hasMore; this.#file.nextLine()) {
      const from = this.#file.at;
      const value = this.#numberAt(from, index);
      if (value === null) continue;
      this.#lines[index] = from;
      return value;
    }
    return Number.NaN;
  }

  /** null when another field's line, or none, begins there. */
  #numberAt(from: number, index: number): number | null {
    this.#file.at = from;
    const prefix = PREFIXES[index];
    return prefix !== undefined && this.#file.skip(prefix) ? this.#file.number() * 1024 : null;
  }
}
