/** Time that moves only when it is told to. */
export class VirtualClock {
  #now: number;
  #timers: { at: number; run: () => void }[] = [];
  constructor(startUnixMs: number) {
    this.#now = startUnixMs;
  }
  readonly now = (): number => this.#now;
  readonly after = (ms: number, run: () => void): (() => void) => {
    const timer = { at: this.#now + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };
  /** To the next timer, and runs it. */
  step(): void {
    const next = this.#timers.toSorted((a, b) => a.at - b.at)[0];
    if (next === undefined) throw new Error("nothing waits for time, so nothing more will happen");
    this.#timers = this.#timers.filter((timer) => timer !== next);
    this.#now = Math.max(this.#now, next.at);
    next.run();
  }
}
