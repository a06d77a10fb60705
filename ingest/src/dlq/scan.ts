import { setTimeout as delay } from "node:timers/promises";
import type { AssignedPartition, Bus, BusMessage, PartitionHandler } from "@homeostat/schemas";

/** What is wanted of one partition: offsets from ≤ offset < to; null: nothing. */
export type Window = (
  partition: Pick<AssignedPartition, "topic" | "partition" | "earliestOffset" | "endOffset">,
) => { readonly from: number; readonly to: number } | null;

export interface Scan {
  readonly bus: Bus;
  /** Of this process alone; nothing is ever committed for it. */
  readonly group: string;
  readonly topics: readonly string[];
  readonly window: Window;
  /** In order within a partition; false: enough of this partition. */
  readonly visit: (message: BusMessage) => Promise<boolean> | boolean;
  readonly timeoutMs: number;
}

const MESSAGES_MAX = 64;
const BYTES_MAX = 4 * 1_048_576;
/** What was not over in time is waited for this long; then it ends by itself. */
const STOP_MS_MAX = 1000;

export interface Scanned {
  /** Everything that was wanted has been visited. */
  readonly isComplete: boolean;
  /** Of each partition (`topic/partition`) that was not read to its end: the offset of the last message that was visited; -1: none. */
  readonly left: ReadonlyMap<string, number>;
}

/** Reads what stands on the topics now, once. Bounded by their retention and by time. @throws when the bus or visiting does. */
export const scan = async ({ bus, group, topics, window, visit, timeoutMs }: Scan): Promise<Scanned> => {
  const over = Promise.withResolvers<void>();
  const timer = setTimeout(() => over.resolve(), timeoutMs);
  // Whoever waits hears of it; it may fail before anybody does.
  over.promise.catch(() => undefined);
  const left = new Map<string, number>();
  let isOver = false;
  let isComplete = false;
  const finish = (place: string): void => {
    if (isOver) return;
    left.delete(place);
    if (left.size > 0) return;
    isComplete = true;
    over.resolve();
  };
  const open = async (partition: AssignedPartition): Promise<PartitionHandler> => {
    const place = `${partition.topic}/${partition.partition}`;
    const wanted = window(partition);
    const from = Math.max(wanted?.from ?? 0, partition.earliestOffset);
    const to = Math.min(wanted?.to ?? 0, partition.endOffset);
    if (from >= to) finish(place);
    return {
      startOffset: from >= to ? partition.endOffset : from,
      receive: async (messages) => {
        for (const message of messages) {
          if (isOver || !left.has(place)) return;
          try {
            const isEnough = message.offset >= to || !(await visit(message));
            if (isEnough || message.offset === to - 1) finish(place);
            else left.set(place, message.offset);
          } catch (error) {
            over.reject(error);
            return;
          }
        }
      },
    };
  };
  const begun = (async () => {
    const counts = await Promise.all(topics.map(async (topic) => (await bus.lag(group, topic)).length));
    for (const [at, topic] of topics.entries())
      for (let partition = 0; partition < (counts[at] ?? 0); partition++) left.set(`${topic}/${partition}`, -1);
    return bus.consume({ group, topics, maxMessages: MESSAGES_MAX, maxBytes: BYTES_MAX, open });
  })();
  try {
    await Promise.race([over.promise, begun.then(() => over.promise)]);
  } finally {
    isOver = true;
    clearTimeout(timer);
    // A bus that does not answer may still be joined: it is left as soon as that has happened.
    const stopped = begun.then((consumer) => consumer.stop());
    if (isComplete) await stopped;
    else await Promise.race([stopped.catch(() => undefined), delay(STOP_MS_MAX, undefined, { ref: false })]);
  }
  return { isComplete, left: new Map(left) };
};
