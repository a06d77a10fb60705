import type { DatabaseSync } from "node:sqlite";
import type { Topic } from "@homeostat/schemas";
import { LAYOUT_VERSION } from "./open-database.ts";
import { number, text } from "./row.ts";

// A partition's offsets live in the low 40 bits of the row id, so one integer key orders all of them; 2^53 / 2^40 partitions fit.
const OFFSETS_PER_PARTITION = 2 ** 40;
const PARTITIONS_MAX = 2 ** 12;
const ALL = "SELECT id, topic, partition, earliest, next, bytes, cleaned FROM partitions ORDER BY topic, partition";

export interface Partition {
  readonly id: number;
  readonly topic: string;
  readonly partition: number;
  readonly isCompacted: boolean;
  /** Everything below was deleted. */
  readonly earliest: number;
  /** What readers may see: everything below is on the disk for good. */
  readonly end: number;
  /** What the messages take, without SQLite's own. */
  readonly bytes: number;
  /** All that has come to below `end` since the file was opened: tells a waiting reader how much is new. */
  readonly shownBytes: number;
}

/** As its store keeps it. */
export interface MutablePartition extends Partition {
  earliest: number;
  next: number;
  end: number;
  bytes: number;
  appendedBytes: number;
  shownBytes: number;
  cleaned: number;
}

/** Of a message's row. */
export const rowId = (partition: Partition, offset: number): number => partition.id * OFFSETS_PER_PARTITION + offset;

/** Makes the partitions that are missing. A topic never loses partitions: that would lose their messages. */
export const loadPartitions = (db: DatabaseSync, topics: readonly Topic[]): readonly MutablePartition[] => {
  const all = db.prepare(ALL);
  const add = db.prepare("INSERT INTO partitions (topic, partition) VALUES (?, ?)");
  const known = new Map<string, Set<number>>();
  for (const row of all.all()) {
    const of = known.get(text(row, "topic")) ?? new Set();
    known.set(text(row, "topic"), of.add(number(row, "partition")));
  }
  db.exec("BEGIN IMMEDIATE");
  for (const { name, partitions } of topics)
    for (let partition = 0; partition < partitions; partition += 1)
      if (!known.get(name)?.has(partition)) add.run(name, partition);
  // Also makes sure that the write-ahead log exists, for it is flushed through a handle of our own.
  db.exec(`PRAGMA user_version = ${LAYOUT_VERSION}; COMMIT`);

  const compacted = new Set(topics.filter((topic) => topic.retention.kind === "compact").map((topic) => topic.name));
  const configured = new Set(topics.map((topic) => topic.name));
  const loaded = all.all().map((row) => ({
    id: number(row, "id"),
    topic: text(row, "topic"),
    partition: number(row, "partition"),
    isCompacted: compacted.has(text(row, "topic")),
    earliest: number(row, "earliest"),
    next: number(row, "next"),
    end: number(row, "next"),
    bytes: number(row, "bytes"),
    appendedBytes: 0,
    shownBytes: 0,
    cleaned: number(row, "cleaned"),
  }));
  if (loaded.some(({ id }) => id >= PARTITIONS_MAX))
    throw new RangeError(`more than ${PARTITIONS_MAX} partitions in one file`);
  return loaded.filter(({ topic }) => configured.has(topic));
};
