import { performance } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import type { Retention } from "@homeostat/schemas";
import type { MessageStore } from "./message-store.ts";
import type { Partition } from "./partitions.ts";

// Deleting goes on for so long before the event loop gets its turn.
const SLICE_MS = 2;
// A message that a newer one supersedes stays this long, so that a reader who keeps up sees every state.
const COMPACTION_LAG_MS = 60_000;
// As Kafka's delete.retention.ms: a reader that starts over sees within a day that a key is gone.
const TOMBSTONE_MS = 86_400_000;
// What making room aims at, so that it is not asked for again at once.
const FREE_SHARE = 0.1;

export interface Housekeeping {
  readonly store: MessageStore;
  readonly retentionOf: (topic: string) => Retention;
  readonly now: () => number;
}

/** Runs `step` until it says that nothing is left, in transactions short enough to go unnoticed. */
const inSlices = async (store: MessageStore, step: () => boolean): Promise<void> => {
  for (;;) {
    const isDone = await store.transaction(() => {
      const start = performance.now();
      do if (!step()) return true;
      while (performance.now() - start < SLICE_MS);
      return false;
    });
    if (isDone) return;
    await setImmediate();
  }
};

const expireStep =
  (store: MessageStore, partition: Partition, oldestUnixMs: number, bytesMax: number) => (): boolean => {
    const head = store.head(partition, partition.earliest);
    if (head === null || (head.atUnixMs >= oldestUnixMs && partition.bytes <= bytesMax)) return false;
    store.deleteHead(partition, head);
    return true;
  };

const compactStep = (store: MessageStore, partition: Partition, newestUnixMs: number) => (): boolean => {
  const head = store.head(partition, store.cleanedTo(partition));
  if (head === null || head.atUnixMs > newestUnixMs) return false;
  store.compactTo(partition, head);
  return true;
};

/** Retention and compaction, once over all partitions. */
export const keepHouse = async ({ store, retentionOf, now }: Housekeeping): Promise<void> => {
  for (const partition of store.partitions) {
    const retention = retentionOf(partition.topic);
    if (retention.kind === "delete") {
      await inSlices(store, expireStep(store, partition, now() - retention.ms, retention.bytesPerPartition));
    } else {
      await inSlices(store, compactStep(store, partition, now() - COMPACTION_LAG_MS));
      await inSlices(store, () => store.deleteTombstone(partition, now() - TOMBSTONE_MS));
    }
  }
};

/** The oldest message that every group has read, of the topics that do not promise to keep it. */
const oldestRead = (store: MessageStore, partitions: readonly Partition[]) =>
  partitions
    .map((partition) => ({ partition, head: store.head(partition, partition.earliest) }))
    .filter(({ partition, head }) => head !== null && head.offset < (store.slowestCommitted(partition) ?? 0))
    .reduce<{ partition: Partition; head: NonNullable<ReturnType<MessageStore["head"]>> } | null>(
      (oldest, { partition, head }) =>
        head !== null && (oldest === null || head.atUnixMs < oldest.head.atUnixMs) ? { partition, head } : oldest,
      null,
    );

/** At the cap: what is due goes first, then what every group has read, oldest first. What somebody has yet to read stays. */
export const makeRoom = async (house: Housekeeping, bytesMax: number): Promise<void> => {
  await keepHouse(house);
  const { store } = house;
  const expendable = store.partitions.filter(({ topic }) => house.retentionOf(topic).kind === "delete");
  const enoughBytes = bytesMax * (1 - FREE_SHARE);
  await inSlices(store, () => {
    if (store.usedBytes() <= enoughBytes) return false;
    const oldest = oldestRead(store, expendable);
    if (oldest === null) return false;
    store.deleteHead(oldest.partition, oldest.head);
    return true;
  });
};
