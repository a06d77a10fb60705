import type { AssignedPartition, BusMessage, PartitionHandler } from "@homeostat/schemas";
import { asError, type Retry, retryUntilAborted } from "./retry.ts";

export interface Delivery {
  /** At least one. */
  readonly messages: readonly BusMessage[];
  readonly endOffset: number;
}

/** What a make of the bus knows of one partition that a member owns. */
export interface PartitionSource {
  /** Fresh facts: asked again before each attempt to open. */
  assign(): Promise<AssignedPartition>;
  /** Where reading begins: called once, after open. */
  seek(startOffset: number): void;
  /** Waits for messages; null once the partition must be given back. */
  next(): Promise<Delivery | null>;
}

export interface ServePartition {
  readonly source: PartitionSource;
  readonly open: (partition: AssignedPartition) => Promise<PartitionHandler>;
  readonly retry: Retry;
}

/** The life of one partition at one member: open, receive until the signal aborts, close. Never rejects: failures are retried and reported. */
export const servePartition = async ({ source, open, retry }: ServePartition): Promise<void> => {
  const handler = await retryUntilAborted(async () => open(await source.assign()), retry);
  if (handler === null) return;
  source.seek(handler.startOffset);
  while (!retry.signal.aborted) {
    const delivery = await retryUntilAborted(() => source.next(), retry);
    if (delivery === null || retry.signal.aborted) break;
    await retryUntilAborted(() => handler.receive(delivery.messages, delivery.endOffset), retry);
  }
  try {
    await handler.close?.();
  } catch (thrown) {
    retry.onFailure(asError(thrown), 1);
  }
};
