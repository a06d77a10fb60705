/**
 * From a 64-bit fingerprint, as its two halves stand in the column, to a small number: open addressing over typed arrays, so that looking up
 * a sample's series makes no BigInt and no string.
 */
export class FingerprintIndex {
  #low = new Uint32Array(64);
  #high = new Uint32Array(64);
  /** Plus one; 0 is free. */
  #numbers = new Uint32Array(64);
  #size = 0;

  /** -1 when it is not known. */
  get(low: number, high: number): number {
    const mask = this.#numbers.length - 1;
    for (let at = this.#start(low, high); ; at = (at + 1) & mask) {
      const number = this.#numbers[at] as number;
      if (number === 0) return -1;
      if (this.#low[at] === low && this.#high[at] === high) return number - 1;
    }
  }

  /** The fingerprint must not be there yet. */
  add(low: number, high: number, number: number): void {
    if ((this.#size + 1) * 2 > this.#numbers.length) this.#double();
    const mask = this.#numbers.length - 1;
    let at = this.#start(low, high);
    while (this.#numbers[at] !== 0) at = (at + 1) & mask;
    this.#low[at] = low;
    this.#high[at] = high;
    this.#numbers[at] = number + 1;
    this.#size++;
  }

  /** Fingerprints are parts of SHA-256: any bits of them do; both halves, lest somebody else's are not. */
  #start(low: number, high: number): number {
    return (Math.imul(low ^ (high >>> 7), 0x9e3779b1) >>> 7) & (this.#numbers.length - 1);
  }

  #double(): void {
    const [low, high, numbers] = [this.#low, this.#high, this.#numbers];
    this.#low = new Uint32Array(low.length * 2);
    this.#high = new Uint32Array(low.length * 2);
    this.#numbers = new Uint32Array(low.length * 2);
    this.#size = 0;
    for (let at = 0; at < numbers.length; at++) {
      const number = numbers[at] as number;
      if (number !== 0) this.add(low[at] as number, high[at] as number, number - 1);
    }
  }
}
