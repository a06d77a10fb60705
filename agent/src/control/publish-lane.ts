import { type Bus, MESSAGE_BYTES_MAX, type OutgoingMessage } from "@homeostat/schemas";

/** What one publish takes at most: a crash repeats no more than this, and nobody waits long behind it. */
const BATCH_MESSAGES_MAX = 2_000;
const BATCH_BYTES_MAX = 16_777_216;
/** Of messages that wait; beyond, `push` rejects and its caller says so. */
const WAITING_BYTES_MAX = 134_217_728;

/** Of one message: it is durable, or it may be there or not. */
export type Published = { readonly ok: true } | { readonly ok: false; readonly thrown: unknown };

interface Waiting {
  readonly message: OutgoingMessage;
  readonly bytes: number;
  readonly then: (published: Published) => void;
}

const DURABLE: Published = { ok: true };

export class LaneFullError extends Error {
  override readonly name = "LaneFullError";
}

/**
 * Publishes what gathers while the publish before is under way as one batch, in order: a message costs microseconds, a call a
 * transaction. `before` runs ahead of each call (the fence, or a wait in which more may come).
 */
export class PublishLane {
  readonly #bus: Bus;
  readonly #before: () => Promise<void>;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #running: Promise<void> | null = null;

  constructor(bus: Bus, before: () => Promise<void> = async () => undefined) {
    this.#bus = bus;
    this.#before = before;
  }

  /** Resolves when the message is durable; after a rejection it may be there none the less. */
  push(message: OutgoingMessage): Promise<void> {
    return new Promise((resolve, reject) => {
      this.add(message, (published) => (published.ok ? resolve() : reject(published.thrown)));
    });
  }

  /** As `push`, without a promise for each message: `then` must not throw. @throws LaneFullError */
  add(message: OutgoingMessage, then: (published: Published) => void): void {
    const bytes = message.value?.byteLength ?? 0;
    if (bytes > MESSAGE_BYTES_MAX)
      throw new LaneFullError(`a record of ${bytes} bytes: ${message.topic} takes ${MESSAGE_BYTES_MAX}`);
    if (this.#waitingBytes + bytes > WAITING_BYTES_MAX)
      throw new LaneFullError(`${this.#waitingBytes} bytes wait for the bus already`);
    this.#waiting.push({ message, bytes, then });
    this.#waitingBytes += bytes;
    this.#running ??= this.#run();
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  async #run(): Promise<void> {
    // What else is pushed in this turn goes with it.
    await null;
    while (this.#waiting.length > 0) {
      let batch: readonly Waiting[] = [];
      let published = DURABLE;
      try {
        await this.#before();
        batch = this.#next();
        await this.#bus.publish(batch.map(({ message }) => message));
      } catch (thrown) {
        published = { ok: false, thrown };
        if (batch.length === 0) batch = this.#next();
      }
      for (const { then } of batch) then(published);
    }
    this.#running = null;
  }

  #next(): readonly Waiting[] {
    let [count, bytes] = [0, 0];
    for (const waiting of this.#waiting) {
      if (count > 0 && (count >= BATCH_MESSAGES_MAX || bytes + waiting.bytes > BATCH_BYTES_MAX)) break;
      count += 1;
      bytes += waiting.bytes;
    }
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }
}
