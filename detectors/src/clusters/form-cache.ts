/** Masked lines that are recognised at once, in each of two generations: when the young one is full, it becomes the old one, and the old one is forgotten. */
const FORMS_MAX = 32_768;
/** Open addressing stays fast while no more than half of the places are taken. */
const PLACES = FORMS_MAX * 2;

interface Generation {
  size: number;
  readonly hashes: Int32Array;
  readonly others: Int32Array;
  /** The value plus one; 0 is free. */
  readonly values: Int32Array;
}

const makeGeneration = (): Generation => ({
  size: 0,
  hashes: new Int32Array(PLACES),
  others: new Int32Array(PLACES),
  values: new Int32Array(PLACES),
});

const find = ({ hashes, others, values }: Generation, hash: number, other: number): number => {
  let at = (hash ^ (hash >>> 16)) & (PLACES - 1);
  while (values[at] !== 0 && (hashes[at] !== hash || others[at] !== other)) at = (at + 1) & (PLACES - 1);
  return at;
};

/** From the 64 bits that stand for a masked line to its template's place; bounded, and what is asked for again stays. */
export class FormCache {
  #young = makeGeneration();
  #old = makeGeneration();

  /** -1: not known. */
  get(hash: number, other: number): number {
    const value = this.#young.values[find(this.#young, hash, other)] as number;
    if (value !== 0) return value - 1;
    if (this.#old.size === 0) return -1;
    const older = (this.#old.values[find(this.#old, hash, other)] as number) - 1;
    if (older >= 0) this.set(hash, other, older);
    return older;
  }

  set(hash: number, other: number, value: number): void {
    if (this.#young.size >= FORMS_MAX) {
      const fresh = this.#old;
      this.#old = this.#young;
      fresh.values.fill(0);
      fresh.size = 0;
      this.#young = fresh;
    }
    const young = this.#young;
    const at = find(young, hash, other);
    if (young.values[at] === 0) young.size++;
    young.hashes[at] = hash;
    young.others[at] = other;
    young.values[at] = value + 1;
  }

  /** Gives every form the place that its template moved to; a form whose template went is forgotten. */
  renumber(placeOf: (place: number) => number): void {
    const entries = this.entries();
    this.clear();
    for (let at = 0; at < entries.length; at += 3) {
      const place = placeOf(entries[at + 2] as number);
      if (place >= 0) this.set(entries[at] as number, entries[at + 1] as number, place);
    }
  }

  clear(): void {
    for (const generation of [this.#young, this.#old]) {
      generation.values.fill(0);
      generation.size = 0;
    }
  }

  /** Three numbers a form, the old generation first, so that setting them in this order makes the same cache. */
  entries(): Float64Array {
    const out = new Float64Array((this.#old.size + this.#young.size) * 3);
    let at = 0;
    for (const { hashes, others, values } of [this.#old, this.#young]) {
      for (let place = 0; place < PLACES; place++) {
        if (values[place] === 0) continue;
        out[at++] = hashes[place] as number;
        out[at++] = others[place] as number;
        out[at++] = (values[place] as number) - 1;
      }
    }
    return out;
  }
}
