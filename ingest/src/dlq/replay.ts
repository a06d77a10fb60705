import { BatchError, type BusMessage, decodeBatch, type OutgoingMessage } from "@homeostat/schemas";
import { rowTimes, timeUnixMs } from "../telemetry/block-times.ts";
import { REPLAY_HEADER } from "../telemetry/dead-letter.ts";
import { type Piece, rebatch, rowReader } from "../telemetry/rebatch.ts";
import { letterId, letterOf } from "./letter.ts";

const DAY_MS = 86_400_000;
/** Tables are parted by day, and the engine takes a hundred parts in one insert: rows of more days than this are sent in several batches. */
const DAYS_PER_BATCH_MAX = 50;

/** What a reader says of a letter that was larger than a message may be. */
const CUT = /^cut to \d+ of \d+ bytes/;

/** The rows under a header of our own; null where they cannot be read. */
const readdress = (value: Uint8Array, producer: string): readonly Piece[] | null => {
  try {
    const batch = decodeBatch(value);
    const days = [...rowTimes(batch)].map((time) => Math.floor(timeUnixMs(batch.schema, time) / DAY_MS));
    const ranks = new Map([...new Set(days)].sort((a, b) => a - b).map((day, rank) => [day, rank]));
    const chunkOf = days.map((day) => Math.floor((ranks.get(day) ?? 0) / DAYS_PER_BATCH_MAX));
    const read = rowReader(batch);
    const done: Piece[] = [];
    for (let chunk = 0; chunk <= Math.max(...chunkOf); chunk++) {
      const rows = chunkOf.flatMap((of, row) => (of === chunk ? [read(row)] : []));
      const first = done.length;
      done.push(...rebatch(batch.schema, rows, (piece) => ({ producer, sequence: first + piece })));
    }
    return done;
  } catch (error) {
    if (error instanceof BatchError) return null;
    throw error;
  }
};

export interface Replay {
  readonly messages: readonly OutgoingMessage[];
  /** null where they cannot be counted. */
  readonly rows: number | null;
}

/**
 * A letter as messages to the topic that it comes from, or why it cannot be sent. Rows that can be read go under a producer made of the
 * letter's id and sequences from 0, to the partition that they came from: however often this is done, ingest takes them once. What cannot
 * be read goes byte for byte. A header says of which letter it is the replay; it lifts the late fence.
 */
export const replayOf = (message: BusMessage): Replay | string => {
  const { topic, partition, offset, value } = message;
  const { source_topic, source_partition, key, detail } = letterOf(message);
  if (source_topic === "") return "its headers do not say where it comes from";
  if (value === null) return "it has no value";
  if (CUT.test(detail)) return "it holds the beginning of its message alone";
  const pieces = readdress(value, `dlq:${topic}-${partition}-${offset}`);
  const values = pieces?.map((piece) => piece.value) ?? [value];
  const headers = { [REPLAY_HEADER]: letterId({ topic, partition, offset }) };
  return {
    messages: values.map((each) => ({ topic: source_topic, key, partition: source_partition, value: each, headers })),
    rows: pieces?.reduce((rows, { header }) => rows + header.row_count, 0) ?? null,
  };
};
