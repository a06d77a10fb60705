/** A token bucket: so much at once, and so much more each second. */
export class Allowance {
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #now: () => number;
  #left: number;
  #atMs: number;

  constructor(options: { burst: number; perSecond: number; now: () => number }) {
    this.#burst = options.burst;
    this.#perSecond = options.perSecond;
    this.#now = options.now;
    this.#left = options.burst;
    this.#atMs = options.now();
  }

  /** False: there is not that much left, and nothing was taken. */
  take(amount: number): boolean {
    const nowMs = this.#now();
    const refill = (Math.max(0, nowMs - this.#atMs) / 1000) * this.#perSecond;
    this.#atMs = nowMs;
    this.#left = Math.min(this.#burst, this.#left + refill);
    if (amount > this.#left) return false;
    this.#left -= amount;
    return true;
  }
}
