import { DatabaseSync } from "node:sqlite";
import { BusError } from "@homeostat/schemas";
import { number } from "./row.ts";

// "HBUS": tells our file from any other SQLite database.
const APPLICATION_ID = 0x48425553;
export const LAYOUT_VERSION = 1;
// Values are large (a telemetry batch is some 100 KB): at 16 KiB writing is twice as fast as at 4 KiB; at 32 KiB small commits cost too much.
export const PAGE_BYTES = 16_384;
const CACHE_KIB = 4_096;
// SQLite writes the log back by itself, and stalls, only if it should grow far beyond what we let it (message-store.ts).
const WAL_BYTES_STALL = 33_554_432;

const TABLES = `
  CREATE TABLE partitions (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    earliest INTEGER NOT NULL DEFAULT 0,
    next INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    cleaned INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, partition)
  ) STRICT;
  CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    compacted INTEGER,
    at INTEGER NOT NULL,
    key TEXT NOT NULL,
    headers TEXT,
    value BLOB
  ) STRICT;
  CREATE INDEX messages_by_key ON messages (compacted, key) WHERE compacted IS NOT NULL;
  CREATE INDEX tombstones ON messages (compacted, at) WHERE compacted IS NOT NULL AND value IS NULL;
  CREATE TABLE offsets (
    "group" TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    PRIMARY KEY ("group", partition)
  ) STRICT, WITHOUT ROWID;
`;

/** For this process alone. Throws BusError `corrupt` when it is not ours, or of another layout; SQLite's own errors as they are. */
export const openDatabase = (file: string, bytesMax: number): DatabaseSync => {
  const db = new DatabaseSync(file, { timeout: 0 });
  try {
    lockAndPrepare(db, file, bytesMax);
    return db;
  } catch (thrown) {
    db.close();
    throw thrown;
  }
};

const pragma = (db: DatabaseSync, name: string): number => number(db.prepare(`PRAGMA ${name}`).get() ?? {}, name);

const lockAndPrepare = (db: DatabaseSync, file: string, bytesMax: number): void => {
  // Exclusive: the lock is the kernel's, so it goes with the process however that ends, and the log's index needs no shared memory.
  db.exec(`
    PRAGMA page_size = ${PAGE_BYTES};
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -${CACHE_KIB};
    PRAGMA mmap_size = 0;
    PRAGMA temp_store = MEMORY;
    PRAGMA wal_autocheckpoint = ${WAL_BYTES_STALL / PAGE_BYTES};
    PRAGMA journal_size_limit = ${WAL_BYTES_STALL};
    BEGIN EXCLUSIVE;
  `);
  const isNew = number(db.prepare("SELECT count(*) AS tables FROM sqlite_schema").get() ?? {}, "tables") === 0;
  if (isNew) db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${LAYOUT_VERSION}; ${TABLES}`);
  db.exec("COMMIT");
  if (pragma(db, "application_id") !== APPLICATION_ID)
    throw new BusError("corrupt", `${file} is a database, but not one of this bus: name another directory`, {
      retryable: false,
    });
  const version = pragma(db, "user_version");
  if (version !== LAYOUT_VERSION)
    throw new BusError("corrupt", `${file} has layout ${version}, this release reads ${LAYOUT_VERSION}`, {
      retryable: false,
    });
  // The hard end, with room for what must work even then: commits of offsets and deleting. Publishing ends before, at bytesMax.
  db.exec(`PRAGMA max_page_count = ${Math.ceil((bytesMax * 1.05) / PAGE_BYTES) + 64}`);
};
