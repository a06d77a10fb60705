import { closeSync, fdatasync, fsync, ftruncateSync, openSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Log } from "@homeostat/schemas";
import type { Extent } from "./row-counts.ts";

export interface Position {
  readonly index: number;
  readonly offset: number;
}

export interface Segment {
  readonly index: number;
  readonly path: string;
  bytes: number;
  /** At its end. */
  extent: Extent;
}

export type AppendOutcome = { readonly appended: true } | { readonly appended: false; readonly reason: string };
export type WriteAt = (fd: number, buffer: Uint8Array, offset: number, length: number, position: number) => number;

/** What a start found on disk. */
export interface FoundSegments {
  /** Oldest first. */
  readonly segments: Segment[];
  /** The newest begins with a snapshot and ends with a record, so that it can be written on. */
  readonly isNewestSound: boolean;
}

interface SegmentsOptions {
  readonly dir: string;
  readonly segmentBytes: number;
  readonly write: WriteAt;
  readonly log: Log;
}

const NOTHING: Extent = { appendedThrough: 0, through: {} };

export const segmentName = (index: number): string => String(index).padStart(10, "0");

const segmentAt = (dir: string, index: number): Segment => ({
  index,
  path: join(dir, `${segmentName(index)}.seg`),
  bytes: 0,
  extent: NOTHING,
});

export const findSegments = (dir: string): Segment[] => {
  const names = readdirSync(dir).filter((name) => /^\d{10}\.seg$/.test(name));
  const segments = names.sort().map((name) => segmentAt(dir, Number(name.slice(0, 10))));
  for (const segment of segments) segment.bytes = statSync(segment.path).size;
  return segments;
};

/** The spool's files, written at their end and removed at their beginning. A failed write leaves them as they were. */
export class Segments {
  readonly #options: SegmentsOptions;
  /** Oldest first; the last is written to. */
  readonly #list: Segment[];
  #activeFd: number | null = null;
  #unsynced: number[];
  #isDirUnsynced: boolean;
  #problem: string | null = null;

  constructor(options: SegmentsOptions, { segments, isNewestSound }: FoundSegments) {
    this.#options = options;
    this.#list = segments;
    this.#unsynced = segments.map(({ path }) => openSync(path, "r+"));
    this.#isDirUnsynced = segments.length > 0;
    if (isNewestSound) this.#activeFd = this.#unsynced.pop() ?? null;
  }

  get list(): readonly Segment[] {
    return this.#list;
  }

  get bytes(): number {
    return this.#list.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /** Where the next record is written; index 0 when there is no segment. */
  get end(): Position {
    const newest = this.#list.at(-1);
    return newest === undefined ? { index: 0, offset: 0 } : { index: newest.index, offset: newest.bytes };
  }

  get isWritable(): boolean {
    return this.#activeFd !== null;
  }

  /** The next record begins a segment of its own. */
  get isFull(): boolean {
    return this.#activeFd === null || this.#newest().bytes >= this.#options.segmentBytes;
  }

  /** Why the disk refuses us; null when it does not. */
  get problem(): string | null {
    return this.#problem;
  }

  oldest(): Segment {
    const oldest = this.#list[0];
    if (oldest === undefined) throw new Error("the spool has no segment");
    return oldest;
  }

  /** At the end; `extent` is what it has then. */
  write(bytes: Buffer, extent?: Extent): AppendOutcome {
    const active = this.#newest();
    const fd = this.#activeFd;
    if (fd === null) return { appended: false, reason: "write_error" };
    try {
      this.#writeAll(fd, bytes, active.bytes);
    } catch (error) {
      return this.#writeFailed(error, () => ftruncateSync(fd, active.bytes));
    }
    active.bytes += bytes.length;
    if (extent !== undefined) active.extent = extent;
    this.#problem = null;
    return { appended: true };
  }

  /** Begins a segment. */
  roll(snapshot: Buffer, extent: Extent): AppendOutcome {
    const segment = segmentAt(this.#options.dir, this.end.index + 1);
    let fd: number | null = null;
    try {
      fd = openSync(segment.path, "w+", 0o600);
      this.#writeAll(fd, snapshot, 0);
    } catch (error) {
      const opened = fd;
      return this.#writeFailed(error, () => {
        if (opened === null) return;
        closeSync(opened);
        rmSync(segment.path, { force: true });
      });
    }
    if (this.#activeFd !== null) this.#unsynced.push(this.#activeFd);
    this.#activeFd = fd;
    this.#isDirUnsynced = true;
    this.#list.push({ ...segment, bytes: snapshot.length, extent });
    return { appended: true };
  }

  removeOldest(): void {
    const oldest = this.#list.shift();
    if (oldest !== undefined) rmSync(oldest.path, { force: true });
  }

  /** Makes durable what has been written so far. */
  async sync(): Promise<void> {
    const sealed = this.#unsynced.splice(0);
    const active = this.#activeFd;
    const isDirUnsynced = this.#isDirUnsynced;
    this.#isDirUnsynced = false;
    try {
      for (const fd of sealed) await fdatasyncAsync(fd);
      // A roll during the wait puts this descriptor among the unsynced, which closes it only in the next call.
      if (active !== null) await fdatasyncAsync(active);
      if (isDirUnsynced) await syncDir(this.#options.dir);
    } catch (error) {
      // A disk that cannot sync is just when telemetry matters: publish all the same, and say so.
      this.#problem = `the spool cannot sync: ${String(error)}`;
    } finally {
      for (const fd of sealed) closeSync(fd);
    }
  }

  close(): void {
    for (const fd of this.#unsynced.splice(0)) closeSync(fd);
    if (this.#activeFd !== null) closeSync(this.#activeFd);
    this.#activeFd = null;
  }

  #newest(): Segment {
    const newest = this.#list.at(-1);
    if (newest === undefined) throw new Error("the spool has no segment");
    return newest;
  }

  #writeAll(fd: number, bytes: Buffer, position: number): void {
    for (let done = 0; done < bytes.length; )
      done += this.#options.write(fd, bytes, done, bytes.length - done, position + done);
  }

  #writeFailed(error: unknown, undo: () => void): AppendOutcome {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    try {
      undo();
    } catch (undoError) {
      // What stays behind is overwritten by the next record, or found torn at the next start.
      this.#options.log.warn({ error: String(undoError) }, "could not undo a failed write to the spool");
    }
    if (this.#problem === null) this.#options.log.error({ code, error: String(error) }, "the spool cannot write");
    this.#problem = `the spool cannot write: ${code}`;
    return { appended: false, reason: code === "ENOSPC" || code === "EDQUOT" ? "disk_full" : "write_error" };
  }
}

const fdatasyncAsync = promisify(fdatasync);
const fsyncAsync = promisify(fsync);

const syncDir = async (dir: string): Promise<void> => {
  const fd = openSync(dir, "r");
  try {
    await fsyncAsync(fd);
  } finally {
    closeSync(fd);
  }
};
