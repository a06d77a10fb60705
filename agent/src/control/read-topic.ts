import type { Bus, BusMessage, Log } from "@homeostat/schemas";

/**
 * Reads a topic of one partition from `from` (an offset, or so many before the end) to where it ends when the reading begins, in a group of
 * its own, so that nothing is committed. `take` may say false to be given no more.
 */
export const readTopic = async (
  bus: Bus,
  {
    topic,
    group,
    from,
    take,
    signal,
    log,
  }: {
    readonly topic: string;
    readonly group: string;
    readonly from: number | { readonly last: number };
    readonly take: (message: BusMessage) => boolean;
    readonly signal: AbortSignal;
    readonly log: Log;
  },
): Promise<void> => {
  const end = Promise.withResolvers<void>();
  const onAbort = () => end.reject(new Error(`gave up reading ${topic}`));
  signal.addEventListener("abort", onAbort, { once: true });
  end.promise.catch(() => undefined);
  if (signal.aborted) onAbort();
  const consumer = await bus.consume({
    group,
    topics: [topic],
    maxMessages: 1_000,
    open: async ({ earliestOffset, endOffset }) => {
      const startOffset = Math.max(earliestOffset, typeof from === "number" ? from : endOffset - from.last);
      let isDone = startOffset >= endOffset;
      if (isDone) end.resolve();
      return {
        startOffset,
        receive: async (messages) => {
          for (const message of messages) {
            if (isDone) break;
            isDone = !take(message) || message.offset + 1 >= endOffset;
          }
          if (isDone) end.resolve();
        },
      };
    },
    onError: (error) => log.warn({ err: error, topic }, "reading a topic failed, trying again"),
  });
  try {
    await end.promise;
  } finally {
    signal.removeEventListener("abort", onAbort);
    await consumer.stop();
  }
};

export const jsonOf = (value: Uint8Array | null): unknown => {
  try {
    return JSON.parse(Buffer.from(value ?? []).toString("utf8"));
  } catch {
    return null;
  }
};
