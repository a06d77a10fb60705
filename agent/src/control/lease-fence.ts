import type { AssignedPartition } from "@homeostat/schemas";

/** A lease is handed on after seconds of silence at the least: to ask for it before each write would double the writes and tell no more. */
const FENCE_MS = 50;
/** From here on it is asked beside the write, so that in a steady stream of writes none waits for one more flush of the disk. */
const FENCE_AHEAD_MS = 20;

/** Stands before each write of a leader: who lost its lease without knowing is refused here, before it can write. */
export class LeaseFence {
  readonly #lease: Pick<AssignedPartition, "commit" | "endOffset">;
  readonly #now: () => number;
  readonly #signal: AbortSignal;
  #fencedAt = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | null = null;

  constructor(options: {
    readonly lease: Pick<AssignedPartition, "commit" | "endOffset">;
    readonly now: () => number;
    /** Aborts when the term is over. */
    readonly signal: AbortSignal;
  }) {
    this.#lease = options.lease;
    this.#now = options.now;
    this.#signal = options.signal;
  }

  /** Rejects when somebody else leads. Who was paused for a while, or whose clock was set back, asks again. */
  async pass(): Promise<void> {
    this.#throwIfOver();
    const age = this.#now() - this.#fencedAt;
    if (age < 0 || age >= FENCE_MS) {
      await this.#ask();
      this.#throwIfOver();
    } else if (age >= FENCE_AHEAD_MS) {
      // A refusal meets whoever has to ask itself.
      this.#ask().catch(() => undefined);
    }
  }

  #throwIfOver(): void {
    if (this.#signal.aborted) throw new Error("this control plane does not lead any more");
  }

  /** One question at a time, for all who want to know. */
  #ask(): Promise<void> {
    const ask = async (): Promise<void> => {
      const asked = this.#now();
      await this.#lease.commit(this.#lease.endOffset);
      this.#fencedAt = asked;
    };
    this.#asking ??= ask().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }
}
