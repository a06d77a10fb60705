/** So many at once, and then one a second: enough to see what is wrong, and less than whoever floods this host would have to spend. */
const BURST = 32;
const REFILL_MS = 1_000;
/** Answers on their way. */
const UNDER_WAY_MAX = 32;

/**
 * What may be said of orders that cannot be verified, in the log and as results: anybody may have made them, and nothing of them is
 * remembered, so that each repetition would be told of again.
 */
export class UnverifiedBudget {
  readonly #monotonicMs: () => number;
  #left = BURST;
  #refilledMs: number;
  #withheld = 0;
  #underWay = 0;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
    this.#refilledMs = monotonicMs();
  }

  /** How many were passed over in silence since the one before; null when this one is. */
  take(): number | null {
    const earned = Math.floor((this.#monotonicMs() - this.#refilledMs) / REFILL_MS);
    if (earned > 0) {
      this.#left = Math.min(BURST, this.#left + earned);
      this.#refilledMs += earned * REFILL_MS;
    }
    if (this.#left === 0) {
      this.#withheld += 1;
      return null;
    }
    this.#left -= 1;
    const withheld = this.#withheld;
    this.#withheld = 0;
    return withheld;
  }

  /** Does it unless too much of this sort is under way. */
  async answer(publish: () => Promise<void>): Promise<void> {
    if (this.#underWay >= UNDER_WAY_MAX) return;
    this.#underWay += 1;
    try {
      await publish();
    } finally {
      this.#underWay -= 1;
    }
  }
}
