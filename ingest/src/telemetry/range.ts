import { crc32 } from "node:zlib";
import type { ReadMessage } from "./triage.ts";

/** Messages of one partition that are inserted together: those with start ≤ offset < end. */
export interface Range {
  readonly start: number;
  readonly end: number;
  readonly messages: readonly ReadMessage[];
}

/**
 * The most of one range, and so of one insert: what bounds our memory (per partition) and the engine's. In rows that is at most
 * a million, below the 1,048,449 at which the engine would cut an insert into blocks; the larger an insert, the less the engine does for a row.
 */
export const RANGE_MESSAGES_MAX = 100;
export const RANGE_BYTES_MAX = 8 * 1_048_576;
export const RANGE_UNCOMPRESSED_BYTES_MAX = 64 * 1_048_576;

/** How many of the first messages make the next range; one at least. */
export const rangeLength = (messages: readonly ReadMessage[]): number => {
  let bytes = 0;
  let uncompressedBytes = 0;
  const length = messages.slice(0, RANGE_MESSAGES_MAX).findIndex(({ message, header }, index) => {
    bytes += message.value?.length ?? 0;
    uncompressedBytes += header?.uncompressed_bytes ?? 0;
    const isOver = bytes > RANGE_BYTES_MAX || uncompressedBytes > RANGE_UNCOMPRESSED_BYTES_MAX;
    return isOver && index > 0;
  });
  return length === -1 ? Math.min(messages.length, RANGE_MESSAGES_MAX) : length;
};

/**
 * Names a range in deduplication tokens. Offsets alone would repeat when somebody empties the bus and keeps the store, and new
 * rows would be taken for old ones: so it carries a digest of who sent what, which is the same whenever the range is redone.
 */
export const rangeName = (at: string, { start, end, messages }: Range): string => {
  const senders = messages.map(({ header }) => (header === null ? "" : `${header.producer}#${header.sequence}`));
  return `${at}:${start}-${end}:${crc32(senders.join("\n")).toString(16)}`;
};
