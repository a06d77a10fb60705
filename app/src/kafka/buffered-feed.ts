import type { BusMessage } from "@homeostat/schemas";
import type { FeedLimits } from "../bus/feed-limits.ts";
import type { Delivery } from "../bus/serve-partition.ts";
import type { After } from "../bus/timers.ts";

interface FeedOptions {
  readonly limits: FeedLimits;
  readonly signal: AbortSignal;
  readonly after: After;
  /** There is room again after `isFull`. */
  onDrained(): void;
}

const sizeOf = (message: BusMessage): number => message.value?.length ?? 0;

/** What was fetched of one partition and not yet handed to its handler. */
export class BufferedFeed {
  readonly #options: FeedOptions;
  #messages: BusMessage[] = [];
  #bytes = 0;
  #endOffset = 0;
  #next: number | null = null;
  #wakers = new Set<() => void>();

  constructor(options: FeedOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => this.#wake(), { once: true });
  }

  /** Until this nothing is taken. */
  seek(offset: number): void {
    this.#next = offset;
  }

  /** False when the messages lie before what was asked for: the log has gone back, and the position no longer means anything. */
  push(messages: readonly BusMessage[], endOffset: number): boolean {
    if (this.#next === null || this.#options.signal.aborted) return true;
    const last = messages.at(-1);
    if (last === undefined) return true;
    if (last.offset < this.#next) return false;
    for (const message of messages) {
      if (message.offset < this.#next) continue;
      this.#messages.push(message);
      this.#bytes += sizeOf(message);
    }
    this.#next = last.offset + 1;
    this.#endOffset = endOffset;
    this.#wake();
    return true;
  }

  /** The next delivery waits already while one is being handled; what was fetched beyond it comes on top, once. */
  get isFull(): boolean {
    const { maxBytes, maxMessages } = this.#options.limits;
    return this.#bytes >= maxBytes || this.#messages.length >= maxMessages;
  }

  /** Waits for room, but not longer than `ms`. */
  async room(ms: number): Promise<void> {
    const { after, signal } = this.#options;
    let isOver = false;
    const cancel = after(ms, () => {
      isOver = true;
      this.#wake();
    });
    while (this.isFull && !isOver && !signal.aborted) await this.#change();
    cancel();
  }

  async next(): Promise<Delivery | null> {
    const { limits, signal, after, onDrained } = this.#options;
    while (this.#messages.length === 0 && !signal.aborted) await this.#change();
    const isShort = () => this.#bytes < limits.minBytes && this.#messages.length < limits.maxMessages;
    if (isShort() && !signal.aborted) {
      let isOver = false;
      const cancel = after(limits.maxWaitMs, () => {
        isOver = true;
        this.#wake();
      });
      while (isShort() && !isOver && !signal.aborted) await this.#change();
      cancel();
    }
    if (signal.aborted) return null;
    const wasFull = this.isFull;
    const messages = this.#take();
    if (wasFull && !this.isFull) onDrained();
    this.#wake();
    return { messages, endOffset: this.#endOffset };
  }

  #take(): readonly BusMessage[] {
    const { maxMessages, maxBytes } = this.#options.limits;
    let bytes = 0;
    let count = 0;
    for (const message of this.#messages) {
      if (count === maxMessages || (count > 0 && bytes + sizeOf(message) > maxBytes)) break;
      bytes += sizeOf(message);
      count += 1;
    }
    this.#bytes -= bytes;
    return this.#messages.splice(0, count);
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wakers.add(resolve));
  }

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = new Set();
    for (const waker of wakers) waker();
  }
}
