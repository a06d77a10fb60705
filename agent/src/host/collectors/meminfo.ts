import { ascii, ProcFile } from "./proc-file.ts";

/** Reads some fields of /proc/meminfo, in bytes; NaN for one that this kernel does not have. */
export class Meminfo {
  readonly #file: ProcFile;
  readonly #prefixes: readonly Buffer[];
  readonly values: Float64Array;

  constructor(proc: string, fields: readonly string[]) {
    this.#file = new ProcFile(`${proc}/meminfo`);
    this.#prefixes = fields.map((field) => ascii(`${field}:`));
    this.values = new Float64Array(fields.length);
  }

  read(): boolean {
    if (!this.#file.read()) return false;
    this.values.fill(Number.NaN);
    let missing = this.#prefixes.length;
    for (; this.#file.hasMore && missing > 0; this.#file.nextLine()) {
      const field = this.#prefixes.findIndex((prefix) => this.#file.skip(prefix));
      if (field === -1) continue;
      this.values[field] = this.#file.number() * 1024;
      missing--;
    }
    return true;
  }

  close(): void {
    this.#file.close();
  }
}
