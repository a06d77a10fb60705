/** About 20 MB of names at most. A fleet's partition sees a few hundred; each new spool is a new producer. */
export const PRODUCERS_MAX = 100_000;

/**
 * The last sequence of each producer of one partition. At the cap the producer that has been silent longest is forgotten;
 * only a batch that it repeats after all that time would pass for new.
 */
export class ProducerSequences {
  readonly #last: Map<string, number>;

  constructor(known: ReadonlyMap<string, number>) {
    this.#last = new Map(known);
    this.#forget();
  }

  get known(): ReadonlyMap<string, number> {
    return this.#last;
  }

  advance(producer: string, sequence: number): void {
    const before = this.#last.get(producer) ?? -1;
    this.#last.delete(producer);
    this.#last.set(producer, Math.max(before, sequence));
    this.#forget();
  }

  #forget(): void {
    for (const producer of this.#last.keys()) {
      if (this.#last.size <= PRODUCERS_MAX) return;
      this.#last.delete(producer);
    }
  }
}
