import type { AssignedPartition, Bus, BusMessage } from "@homeostat/schemas";

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

/** Reads what stands on the topics now, once. Bounded by their retention and by time. @throws when it takes longer, or when visiting does. */
export const scan = async ({ bus, group, topics, window, visit, timeoutMs }: Scan): Promise<void> => {
  const counts = await Promise.all(topics.map(async (topic) => (await bus.lag(group, topic)).length));
  const open = new Set(
    topics.flatMap((topic, at) => Array.from({ length: counts[at] ?? 0 }, (_, n) => `${topic}/${n}`)),
  );
  const over = Promise.withResolvers<void>();
  const finish = (place: string): void => {
    open.delete(place);
    if (open.size === 0) over.resolve();
  };
  const timer = setTimeout(
    () => over.reject(new Error(`the dead letters could not be read within ${timeoutMs / 1000} s`)),
    timeoutMs,
  );
  const consumer = await bus.consume({
    group,
    topics,
    maxMessages: MESSAGES_MAX,
    maxBytes: BYTES_MAX,
    open: async (partition) => {
      const place = `${partition.topic}/${partition.partition}`;
      const wanted = window(partition);
      const from = Math.max(wanted?.from ?? 0, partition.earliestOffset);
      const to = Math.min(wanted?.to ?? 0, partition.endOffset);
      if (from >= to) finish(place);
      return {
        startOffset: from >= to ? partition.endOffset : from,
        receive: async (messages) => {
          for (const message of messages) {
            if (!open.has(place)) return;
            try {
              if (message.offset >= to || !(await visit(message)) || message.offset === to - 1) finish(place);
            } catch (error) {
              over.reject(error);
              finish(place);
            }
          }
        },
      };
    },
  });
  try {
    await over.promise;
  } finally {
    clearTimeout(timer);
    await consumer.stop();
  }
};
