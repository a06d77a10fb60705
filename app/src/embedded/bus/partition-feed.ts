import { setImmediate } from "node:timers/promises";
import type { FeedLimits } from "../../bus/feed-limits.ts";
import type { Delivery } from "../../bus/serve-partition.ts";
import type { After } from "../../bus/timers.ts";
import type { MessageStore } from "./message-store.ts";
import type { Partition } from "./partitions.ts";
import type { ReadResult } from "./tail.ts";

/** Who waits for messages of which partition. Nobody polls: a publish wakes them. */
export class Waiting {
  readonly #wakers = new Map<Partition, Set<() => void>>();

  wake(partitions: readonly Partition[]): void {
    for (const partition of partitions) for (const waker of [...(this.#wakers.get(partition) ?? [])]) waker();
  }

  /** Resolves upon the next message, and on abort. It may resolve for nothing: look again. */
  async next(partition: Partition, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const wakers = this.#wakers.get(partition) ?? new Set();
    this.#wakers.set(partition, wakers);
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    wakers.add(wake);
    signal.addEventListener("abort", wake, { once: true });
    await promise;
    wakers.delete(wake);
    signal.removeEventListener("abort", wake);
  }
}

interface FeedOptions {
  readonly store: MessageStore;
  readonly partition: Partition;
  readonly waiting: Waiting;
  readonly limits: FeedLimits;
  readonly signal: AbortSignal;
  readonly after: After;
}

type Gathered = Pick<ReadResult, "messages" | "bytes">;

const rest = (limits: FeedLimits, { messages, bytes }: Gathered): Pick<FeedLimits, "maxMessages" | "maxBytes"> => ({
  maxMessages: limits.maxMessages - messages.length,
  maxBytes: limits.maxBytes - bytes,
});

/** A read gives its first message whatever its size; behind others it must fit, or it is read again in its turn. */
const joined = (gathered: Gathered, more: Gathered, limits: FeedLimits): Gathered =>
  gathered.bytes + more.bytes > limits.maxBytes && gathered.messages.length > 0
    ? gathered
    : { messages: [...gathered.messages, ...more.messages], bytes: gathered.bytes + more.bytes };

const NOTHING: Gathered = { messages: [], bytes: 0 };

/** Reads one partition for one member, from an offset on. */
export class PartitionFeed {
  readonly #options: FeedOptions;
  #position = 0;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  seek(offset: number): void {
    const { earliest, end } = this.#options.partition;
    this.#position = Math.min(Math.max(offset, earliest), end);
  }

  async next(): Promise<Delivery | null> {
    const { store, partition, waiting, limits, signal } = this.#options;
    let gathered = NOTHING;
    while (!signal.aborted) {
      const { end } = partition;
      const from = (gathered.messages.at(-1)?.offset ?? this.#position - 1) + 1;
      if (gathered === NOTHING && from >= end) {
        await waiting.next(partition, signal);
        continue;
      }
      // With a backlog and a quick handler nothing else would get its turn.
      await setImmediate();
      const read = store.read(partition, from, rest(limits, gathered));
      const { messages, bytes } = joined(gathered, read, limits);
      const last = messages.at(-1);
      if (last === undefined) {
        this.#position = end;
        continue;
      }
      const isShort = read.reachedEnd && messages.length < limits.maxMessages && bytes < limits.minBytes;
      if (isShort && gathered === NOTHING) {
        gathered = { messages, bytes };
        await this.#gather(limits.minBytes - bytes);
        continue;
      }
      this.#position = last.offset + 1;
      return { messages, endOffset: partition.end };
    }
    return null;
  }

  async #gather(missingBytes: number): Promise<void> {
    const { partition, waiting, limits, signal, after } = this.#options;
    const enough = partition.shownBytes + missingBytes;
    let isOver = false;
    const cancel = after(limits.maxWaitMs, () => {
      isOver = true;
      waiting.wake([partition]);
    });
    while (!signal.aborted && !isOver && partition.shownBytes < enough) await waiting.next(partition, signal);
    cancel();
  }
}
