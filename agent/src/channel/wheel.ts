/** Something that wants to be asked every period whether a deadline of its own has passed. */
export interface Pulsed {
  onPulse(): void;
}

/**
 * One timer for all deadlines of all connections: a member is asked once in a period, and counts the periods. Members are spread over
 * slots, so that thousands of pings do not leave in the same moment.
 */
export class Wheel {
  readonly periodMs: number;
  readonly #slots: readonly Set<Pulsed>[];
  #adding = 0;
  #turning = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: { periodMs: number; slots: number }) {
    this.periodMs = options.periodMs;
    this.#slots = Array.from({ length: options.slots }, () => new Set());
  }

  add(member: Pulsed): void {
    this.#slots[this.#adding++ % this.#slots.length]?.add(member);
  }

  delete(member: Pulsed): void {
    for (const slot of this.#slots) if (slot.delete(member)) return;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.turn(), this.periodMs / this.#slots.length);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Asks the members of the next slot. */
  turn(): void {
    const slot = this.#slots[this.#turning++ % this.#slots.length];
    for (const member of slot ?? []) member.onPulse();
  }

  /** How many periods are at least this long. */
  periods(ms: number): number {
    return Math.ceil(ms / this.periodMs);
  }
}
