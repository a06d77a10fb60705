import { closeSync, fdatasync, fsyncSync, openSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { BusMessage, CommittedOffset, Topic } from "@homeostat/schemas";
import type { FeedLimits } from "../../bus/feed-limits.ts";
import type { CheckedMessage } from "../../bus/outgoing.ts";
import { asError } from "../../bus/retry.ts";
import { openDatabase, PAGE_BYTES } from "./open-database.ts";
import { loadPartitions, type MutablePartition, type Partition, rowId } from "./partitions.ts";
import { bytesOrNull, number, type Row, text } from "./row.ts";
import { busErrorOf } from "./sqlite-error.ts";
import { type ReadResult, Tail } from "./tail.ts";

// The write-ahead log is written back at about this size.
const WAL_BYTES = 4_194_304;
// What a transaction writes beside its messages: a few pages, whatever it does.
const TRANSACTION_WAL_BYTES = 4 * PAGE_BYTES;
const ROW_BYTES = "coalesce(octet_length(value), 0) + octet_length(key) + coalesce(octet_length(headers), 0)";

const SQL = {
  begin: "BEGIN IMMEDIATE",
  end: "COMMIT",
  savePartition: "UPDATE partitions SET earliest = ?, next = ?, bytes = ?, cleaned = ? WHERE id = ?",
  append: "INSERT INTO messages (id, compacted, at, key, headers, value) VALUES (?, ?, ?, ?, ?, ?)",
  read: "SELECT id, at, key, headers, value FROM messages WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
  head: `SELECT id, at, key, ${ROW_BYTES} AS bytes FROM messages WHERE id >= ? AND id < ? ORDER BY id LIMIT 1`,
  delete: "DELETE FROM messages WHERE id = ?",
  deleteSuperseded: `DELETE FROM messages WHERE compacted = ? AND key = ? AND id < ? RETURNING ${ROW_BYTES} AS bytes`,
  tombstone: `SELECT id, ${ROW_BYTES} AS bytes FROM messages
    WHERE compacted = ? AND value IS NULL AND at < ? AND id < ? ORDER BY at LIMIT 1`,
  commit: `INSERT INTO offsets ("group", partition, offset, metadata) VALUES (?, ?, ?, ?)
    ON CONFLICT ("group", partition) DO UPDATE SET offset = excluded.offset, metadata = excluded.metadata`,
  committed: `SELECT offset, metadata FROM offsets WHERE "group" = ? AND partition = ?`,
  slowest: "SELECT min(offset) AS offset FROM offsets WHERE partition = ?",
  pages: "SELECT page_count - freelist_count AS used FROM pragma_page_count(), pragma_freelist_count()",
} as const;

export interface Head {
  readonly offset: number;
  readonly atUnixMs: number;
  readonly key: string;
  readonly bytes: number;
}

const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({});

/**
 * The log on disk: one SQLite file, opened by one process. What does not return a promise is synchronous and short.
 *
 * Durability: SQLite runs with synchronous=NORMAL, where a commit appends to the write-ahead log without flushing it, and `sync`
 * flushes that file from a thread of the pool. The outcome is that of synchronous=FULL (the log is a prefix of what was committed, and
 * nobody is told or shown anything before it is flushed), but the event loop does not stand still meanwhile and concurrent publishes
 * share one flush. The write-ahead log goes back into the database in the same manner: see #checkpoint.
 */
export class MessageStore {
  readonly #file: string;
  readonly #db: DatabaseSync;
  /** Handles of our own, to flush through. Closing one of the database's would end SQLite's lock on it, so they go last. */
  readonly #dbHandle: number;
  readonly #walHandle: number;
  readonly #statements: Readonly<Record<keyof typeof SQL, StatementSync>>;
  readonly #partitions: readonly MutablePartition[];
  readonly #tail = new Tail();
  /** Appended to, and not shown up to their end. */
  readonly #unshown = new Set<MutablePartition>();
  /** What has changed, as it was before. */
  #inTransaction: Map<MutablePartition, MutablePartition> | null = null;
  #walBytes = 0;
  #failure: Error | null = null;
  #checkpointing: Promise<void> | null = null;

  private constructor(opened: {
    file: string;
    db: DatabaseSync;
    dbHandle: number;
    walHandle: number;
    statements: Readonly<Record<keyof typeof SQL, StatementSync>>;
    partitions: readonly MutablePartition[];
  }) {
    this.#file = opened.file;
    this.#db = opened.db;
    this.#dbHandle = opened.dbHandle;
    this.#walHandle = opened.walHandle;
    this.#statements = opened.statements;
    this.#partitions = opened.partitions;
  }

  /** Throws BusError: `unreachable` when another process has the file, `corrupt` when it is damaged or not ours. */
  static open({ file, topics, bytesMax }: { file: string; topics: readonly Topic[]; bytesMax: number }): MessageStore {
    let db: DatabaseSync | null = null;
    try {
      db = openDatabase(file, bytesMax);
      const statements = Object.fromEntries(
        Object.entries(SQL).map(([name, sql]) => [name, db?.prepare(sql)]),
      ) as Record<keyof typeof SQL, StatementSync>;
      const partitions = loadPartitions(db, topics);
      const walHandle = openSync(`${file}-wal`, "r+");
      const dbHandle = openSync(file, "r+");
      syncDirectory(dirname(file));
      return new MessageStore({ file, db, dbHandle, walHandle, statements, partitions });
    } catch (thrown) {
      db?.close();
      throw busErrorOf(thrown, file);
    }
  }

  get partitions(): readonly Partition[] {
    return this.#partitions;
  }

  /** What the database takes, free pages not counted, for they are used again. */
  usedBytes(): number {
    return this.#guard(() => number(this.#statements.pages.get() ?? {}, "used") * PAGE_BYTES);
  }

  /** All or nothing. Committed, but not flushed: see `sync`. Waits while the log is written back. */
  async transaction<T>(work: () => T): Promise<T> {
    while (this.#checkpointing !== null) await this.#checkpointing;
    const result = this.#transaction(work);
    if (this.#walBytes >= WAL_BYTES) this.#checkpointing = this.#checkpoint();
    return result;
  }

  #transaction<T>(work: () => T): T {
    const changed = new Map<MutablePartition, MutablePartition>();
    return this.#guard(() => {
      this.#statements.begin.run();
      this.#inTransaction = changed;
      try {
        const result = work();
        for (const partition of changed.keys()) this.#save(partition);
        this.#statements.end.run();
        this.#walBytes += TRANSACTION_WAL_BYTES;
        return result;
      } catch (thrown) {
        // SQLite rolls back by itself after some errors (a full disk), not after others.
        if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
        for (const [partition, before] of changed) Object.assign(partition, before);
        this.#tail.clear();
        throw thrown;
      } finally {
        this.#inTransaction = null;
      }
    });
  }

  /** Within a transaction. */
  append(partition: Partition, { message, headers, bytes }: CheckedMessage, atUnixMs: number): void {
    const own = this.#change(partition);
    this.#statements.append.run(
      rowId(own, own.next),
      own.isCompacted ? own.id : null,
      atUnixMs,
      message.key,
      headers,
      message.value,
    );
    this.#tail.add(own.id, {
      topic: own.topic,
      partition: own.partition,
      offset: own.next,
      key: message.key.toWellFormed(),
      value: message.value,
      headers: message.headers === undefined ? NO_HEADERS : { ...message.headers },
      timestampUnixMs: atUnixMs,
    });
    this.#unshown.add(own);
    own.next += 1;
    own.bytes += bytes;
    own.appendedBytes += bytes;
    this.#walBytes += bytes;
  }

  /** Within a transaction. */
  commit(group: string, partition: Partition, { offset, metadata }: CommittedOffset): void {
    this.#statements.commit.run(group, partition.id, offset, metadata);
  }

  /** Flushes what was committed before the call, then shows it to readers. Returns the partitions that have new messages. */
  async sync(): Promise<readonly Partition[]> {
    const flushed = [...this.#unshown].map((partition) => ({
      partition,
      end: partition.next,
      shownBytes: partition.appendedBytes,
    }));
    await flush(this.#walHandle);
    if (this.#failure !== null) throw this.#failure;
    return flushed.flatMap(({ partition, end, shownBytes }) => {
      if (end === partition.next) this.#unshown.delete(partition);
      if (end <= partition.end) return [];
      partition.end = end;
      partition.shownBytes = shownBytes;
      return [partition];
    });
  }

  committed(group: string, partition: Partition): CommittedOffset | null {
    const row = this.#guard(() => this.#statements.committed.get(group, partition.id));
    return row === undefined ? null : { offset: number(row, "offset"), metadata: text(row, "metadata") };
  }

  /** The least that any group has committed; null when none has. */
  slowestCommitted(partition: Partition): number | null {
    const row = this.#guard(() => this.#statements.slowest.get(partition.id));
    return row === undefined || row.offset === null ? null : number(row, "offset");
  }

  /** The messages from `offset` on that readers may see. The first one comes whatever its size. */
  read(
    partition: Partition,
    offset: number,
    { maxMessages, maxBytes }: Pick<FeedLimits, "maxMessages" | "maxBytes">,
  ): ReadResult {
    const kept = this.#tail.read(partition, Math.max(offset, partition.earliest), { maxMessages, maxBytes });
    if (kept !== null) return kept;
    const messages: BusMessage[] = [];
    let bytes = 0;
    return this.#guard(() => {
      const rows = this.#statements.read.iterate(
        rowId(partition, offset),
        rowId(partition, partition.end),
        maxMessages + 1,
      );
      for (const row of rows) {
        const value = bytesOrNull(row, "value");
        const size = value?.length ?? 0;
        if (messages.length === maxMessages || (messages.length > 0 && bytes + size > maxBytes))
          return { messages, bytes, reachedEnd: false };
        messages.push(messageOf(partition, row, value));
        bytes += size;
      }
      return { messages, bytes, reachedEnd: true };
    });
  }

  /** The first message at or above `offset` that readers may see. */
  head(partition: Partition, offset: number): Head | null {
    const row = this.#guard(() => this.#statements.head.get(rowId(partition, offset), rowId(partition, partition.end)));
    if (row === undefined) return null;
    return {
      offset: number(row, "id") - rowId(partition, 0),
      atUnixMs: number(row, "at"),
      key: text(row, "key"),
      bytes: number(row, "bytes"),
    };
  }

  /** Within a transaction: the oldest message goes. */
  deleteHead(partition: Partition, head: Head): void {
    const own = this.#change(partition);
    this.#tail.forget(own.id);
    this.#statements.delete.run(rowId(partition, head.offset));
    own.earliest = head.offset + 1;
    own.bytes -= head.bytes;
  }

  /** Below this, each key has one message. */
  cleanedTo(partition: Partition): number {
    return this.#own(partition).cleaned;
  }

  /** Within a transaction: what `head` supersedes goes. */
  compactTo(partition: Partition, head: Head): void {
    const own = this.#change(partition);
    this.#tail.forget(own.id);
    for (const row of this.#statements.deleteSuperseded.all(partition.id, head.key, rowId(partition, head.offset))) {
      own.bytes -= number(row, "bytes");
      // Superseded messages lie scattered: each has a page of its own.
      this.#walBytes += PAGE_BYTES;
    }
    own.cleaned = head.offset + 1;
  }

  /**
   * Within a transaction: one tombstone that is older than `atUnixMs` and supersedes nothing any more goes. False when there is none.
   * The newest message of a partition always stays, so that whoever replays up to the end finds it.
   */
  deleteTombstone(partition: Partition, atUnixMs: number): boolean {
    const own = this.#own(partition);
    const row = this.#statements.tombstone.get(
      partition.id,
      atUnixMs,
      rowId(partition, Math.min(own.cleaned, own.end - 1)),
    );
    if (row === undefined) return false;
    this.#tail.forget(own.id);
    this.#statements.delete.run(number(row, "id"));
    this.#change(partition).bytes -= number(row, "bytes");
    return true;
  }

  /** Flushes, writes the log back into the database, and lets the file go. */
  async close(): Promise<void> {
    while (this.#checkpointing !== null) await this.#checkpointing;
    try {
      this.#guard(() => this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)"));
    } finally {
      this.#db.close();
      closeSync(this.#walHandle);
      closeSync(this.#dbHandle);
    }
  }

  /**
   * Writes the log back into the database. SQLite would flush in the midst of it and the event loop would stand still, for a tenth of a
   * second on a busy disk. So the flushes are made from the pool: the log's before, the database's after, and no transaction runs in
   * between. Until the database is flushed the log is whole, and after a loss of power it is simply written back once more.
   */
  async #checkpoint(): Promise<void> {
    try {
      await flush(this.#walHandle);
      this.#guard(() => {
        this.#db.exec("PRAGMA synchronous = OFF");
        try {
          this.#db.exec("PRAGMA wal_checkpoint(PASSIVE)");
        } finally {
          this.#db.exec("PRAGMA synchronous = NORMAL");
        }
      });
      await flush(this.#dbHandle);
      this.#walBytes = 0;
    } catch (thrown) {
      this.#failure = asError(thrown);
    } finally {
      this.#checkpointing = null;
    }
  }

  #own(partition: Partition): MutablePartition {
    return partition as MutablePartition;
  }

  #change(partition: Partition): MutablePartition {
    if (this.#inTransaction === null) throw new Error("a change outside of a transaction");
    const own = this.#own(partition);
    if (!this.#inTransaction.has(own)) this.#inTransaction.set(own, { ...own });
    return own;
  }

  #save(partition: MutablePartition): void {
    const { earliest, next, bytes, cleaned, id } = partition;
    this.#statements.savePartition.run(earliest, next, bytes, cleaned, id);
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      throw busErrorOf(thrown, this.#file);
    }
  }
}

const messageOf = (partition: Partition, row: Row, value: Uint8Array | null): BusMessage => {
  const headers = row.headers;
  return {
    topic: partition.topic,
    partition: partition.partition,
    offset: number(row, "id") - rowId(partition, 0),
    key: text(row, "key"),
    value,
    headers: typeof headers === "string" ? (JSON.parse(headers) as Record<string, string>) : NO_HEADERS,
    timestampUnixMs: number(row, "at"),
  };
};

const flush = (handle: number): Promise<void> =>
  new Promise((resolve, reject) => fdatasync(handle, (error) => (error ? reject(error) : resolve())));

const syncDirectory = (directory: string): void => {
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
};
