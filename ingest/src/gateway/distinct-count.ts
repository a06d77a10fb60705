import { hash32 } from "./text-hash.ts";

/** A power of two. Errors stay below 2 % up to some thousands of values; beyond about 30,000 it says "at least". */
const BITS = 4096;

/** How many distinct texts were seen, within 512 bytes: linear counting (Whang, Vander-Zanden, Taylor, ACM TODS 15(2), 1990). */
export class DistinctCount {
  readonly #bits = new Uint8Array(BITS / 8);
  #ones = 0;

  add(text: string): void {
    const bit = hash32(text) % BITS;
    const at = bit >>> 3;
    const mask = 1 << (bit & 7);
    const byte = this.#bits[at] ?? 0;
    if ((byte & mask) !== 0) return;
    this.#bits[at] = byte | mask;
    this.#ones++;
  }

  get estimate(): number {
    // A full map says no more than that there were about m ln m.
    const zeros = Math.max(1, BITS - this.#ones);
    return Math.round(-BITS * Math.log(zeros / BITS));
  }
}
