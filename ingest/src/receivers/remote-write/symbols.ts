import { RequestError } from "../../gateway/receiver-route.ts";

/** What one request may hold. */
const REQUEST_SYMBOLS_MAX = 500_000;
/** Symbols that are remembered in all. */
const SYMBOLS_MAX = 262_144;
const SYMBOL_BYTES_MAX = 32 * 1_048_576;

/** Numbers for symbols, the same from request to request, as long as they are remembered. */
export class SymbolNumbers {
  readonly #numbers = new Map<string, number>();
  #bytes = 0;

  /** Forgets everything when there may be no room for so many more; what is keyed by numbers must be forgotten with them. */
  makeRoom(symbols: number, bytes: number): "kept" | "forgotten" {
    if (this.#numbers.size + symbols <= SYMBOLS_MAX && this.#bytes + bytes <= SYMBOL_BYTES_MAX) return "kept";
    this.#numbers.clear();
    this.#bytes = 0;
    return "forgotten";
  }

  /** `bytes` is a string of one character for each byte. */
  numberOf(bytes: string): number {
    const known = this.#numbers.get(bytes);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    this.#numbers.set(bytes, number);
    this.#bytes += bytes.length;
    return number;
  }
}

/** One request's table of symbols: where each stands in the body. */
export class SymbolTable {
  readonly #body: Buffer;
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  /** Numbers of the symbols that were asked for; -1 where none was yet. */
  readonly #numbers: number[] = [];

  constructor(body: Buffer) {
    this.#body = body;
  }

  get size(): number {
    return this.#starts.length;
  }

  add(start: number, end: number): void {
    if (this.#starts.length === REQUEST_SYMBOLS_MAX) {
      throw new RequestError(400, `more than ${REQUEST_SYMBOLS_MAX} symbols in one request`);
    }
    this.#starts.push(start);
    this.#ends.push(end);
    this.#numbers.push(-1);
  }

  /** The symbol's bytes, or null when there is none of this reference. */
  bytes(ref: number): Uint8Array | null {
    const start = this.#starts[ref];
    return start === undefined ? null : this.#body.subarray(start, this.#ends[ref]);
  }

  /** -1 when there is no symbol of this reference. */
  numberOf(ref: number, numbers: SymbolNumbers): number {
    const known = this.#numbers[ref];
    if (known === undefined) return -1;
    if (known >= 0) return known;
    const number = numbers.numberOf(this.#body.toString("latin1", this.#starts[ref], this.#ends[ref]));
    this.#numbers[ref] = number;
    return number;
  }

  text(ref: number): string {
    return this.#body.toString("utf8", this.#starts[ref] ?? 0, this.#ends[ref] ?? 0);
  }
}
