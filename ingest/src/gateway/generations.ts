/**
 * Entries by id in two generations: what is asked for moves to the young one; when that weighs half of `weightMax`, it becomes the old one and the
 * old one is forgotten. So at most `weightMax` is held, whatever comes, and what is in use stays. (A Map that loses its oldest entry each time one is
 * added has to step over the gaps: measured at about twice this.)
 */
export class Generations<Entry> {
  readonly #weightMax: number;
  readonly #weightOf: (entry: Entry) => number;
  #young = new Map<bigint, Entry>();
  #old = new Map<bigint, Entry>();
  #youngWeight = 0;

  constructor(weightMax: number, weightOf: (entry: Entry) => number) {
    this.#weightMax = weightMax;
    this.#weightOf = weightOf;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(id: bigint): Entry | undefined {
    const young = this.#young.get(id);
    if (young !== undefined) return young;
    const old = this.#old.get(id);
    if (old === undefined) return undefined;
    this.#old.delete(id);
    this.put(id, old);
    return old;
  }

  put(id: bigint, entry: Entry): void {
    const before = this.#young.get(id);
    this.#youngWeight += this.#weightOf(entry) - (before === undefined ? 0 : this.#weightOf(before));
    this.#young.set(id, entry);
    if (this.#youngWeight <= this.#weightMax / 2) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#youngWeight = 0;
  }
}
