import {
  type Bus,
  type BusMessage,
  IncidentRecord,
  type Log,
  Notification,
  RemediationRecord,
} from "@homeostat/schemas";
import type { z } from "zod";
import { emptyWorld, type MutableWorld } from "./draft.ts";

const JOURNALS = ["incidents.journal", "remediation.journal", "notify.outbox"] as const;

const decode = <T>(message: BusMessage, record: z.ZodType<T>): T | null => {
  try {
    return record.parse(JSON.parse(Buffer.from(message.value ?? []).toString("utf8")));
  } catch {
    return null;
  }
};

/** The last record of a key is its truth; a tombstone takes the key away. False when the value cannot be read. */
const fold = (world: MutableWorld, message: BusMessage): boolean => {
  const key = message.key ?? "";
  if (message.topic === "incidents.journal") {
    world.incidents.delete(key);
    const record = message.value === null ? null : decode(message, IncidentRecord);
    if (record !== null) world.incidents.set(key, record.incident);
    return message.value === null || record !== null;
  }
  if (message.topic === "remediation.journal") {
    world.runs.delete(key);
    const record = message.value === null ? null : decode(message, RemediationRecord);
    if (record !== null) world.runs.set(key, record.run);
    return message.value === null || record !== null;
  }
  world.notifications.delete(key);
  const notification = message.value === null ? null : decode(message, Notification);
  if (notification !== null) world.notifications.set(key, notification);
  return message.value === null || notification !== null;
};

/**
 * The world as the journals tell it, each read from its beginning to where it ended when the reading began. Read in a group of its own,
 * so that all partitions are ours and nothing is committed.
 */
export const replay = async (
  bus: Bus,
  { group, log, signal }: { readonly group: string; readonly log: Log; readonly signal: AbortSignal },
): Promise<MutableWorld> => {
  const world = emptyWorld();
  const failed = Promise.withResolvers<never>();
  const ends = new Map<string, PromiseWithResolvers<void>>(
    JOURNALS.map((topic) => [topic, Promise.withResolvers<void>()]),
  );
  const onAbort = () => failed.reject(new Error("the lease ended while the journals were read"));
  signal.addEventListener("abort", onAbort, { once: true });
  const consumer = await bus.consume({
    group,
    topics: JOURNALS,
    open: async ({ topic, earliestOffset, endOffset }) => {
      if (earliestOffset >= endOffset) ends.get(topic)?.resolve();
      return {
        startOffset: earliestOffset,
        receive: async (messages) => {
          for (const message of messages) {
            if (!fold(world, message)) {
              log.error(
                { topic, key: message.key, offset: message.offset },
                "a journal record cannot be read and is left out",
              );
            }
          }
          if ((messages.at(-1)?.offset ?? 0) + 1 >= endOffset) ends.get(topic)?.resolve();
        },
      };
    },
    onError: (error) => log.warn({ err: error }, "reading the journals failed, trying again"),
  });
  try {
    await Promise.race([Promise.all([...ends.values()].map(({ promise }) => promise)), failed.promise]);
    return world;
  } finally {
    signal.removeEventListener("abort", onAbort);
    await consumer.stop();
  }
};
