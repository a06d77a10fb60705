/** What the ledger knows of a producer on one partition: its last sequence, and its account since `sinceSequence`. */
export interface ProducerAccount {
  readonly lastSequence: number;
  /** The first sequence that the totals include. */
  readonly sinceSequence: number;
  /** Rows that were inserted, and rows of letters whose header could be read. */
  readonly rows: number;
  readonly deadRows: number;
}

/** About 20 MB of names at most. A fleet's partition sees a few hundred; each new spool is a new producer. */
export const PRODUCERS_MAX = 100_000;

/**
 * The last sequence and the account of each producer of one partition. At the cap the producer that has been silent longest is forgotten;
 * only a batch that it repeats after all that time would pass for new, and its account begins anew.
 */
export class ProducerSequences {
  readonly #last = new Map<string, number>();
  readonly #accounts = new Map<string, ProducerAccount>();

  constructor(known: ReadonlyMap<string, ProducerAccount>) {
    for (const [producer, account] of known) {
      this.#last.set(producer, account.lastSequence);
      this.#accounts.set(producer, account);
    }
    this.#forget();
  }

  get known(): ReadonlyMap<string, number> {
    return this.#last;
  }

  account(producer: string): ProducerAccount | null {
    return this.#accounts.get(producer) ?? null;
  }

  advance(producer: string, account: ProducerAccount): void {
    const before = this.#last.get(producer) ?? -1;
    this.#last.delete(producer);
    this.#accounts.delete(producer);
    this.#last.set(producer, Math.max(before, account.lastSequence));
    this.#accounts.set(producer, account);
    this.#forget();
  }

  #forget(): void {
    for (const producer of this.#last.keys()) {
      if (this.#last.size <= PRODUCERS_MAX) return;
      this.#last.delete(producer);
      this.#accounts.delete(producer);
    }
  }
}
