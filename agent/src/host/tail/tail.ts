import { dirname } from "node:path";
import type { Log } from "@homeostat/schemas";
import type { LogSource } from "../config.ts";
import type { Spool } from "../spool/spool.ts";
import { LineBatch, type Origin } from "./line-batch.ts";
import { codeOf, findByKey, type Match, matchesOf, withMore } from "./matches.ts";
import { type RawLine, TailedFile, TailMark } from "./tailed-file.ts";

/** One slice of reading: small enough that collectors and commands need not wait (about 10 ms), fair between files. */
const SLICE_BYTES = 262_144;
const PARTIAL_IDLE_MS = 5_000;
/** A writer that still holds a rotated file has this long to finish. */
const ORPHAN_IDLE_MS = 5_000;
/** A file that has not grown for so long is closed until it does. */
const PUT_AWAY_IDLE_MS = 300_000;
/** Between two slices while the agent is above its own limits, times how far it is slowed down. */
const REST_MS = 250;
const MARK_PREFIX = "tail:";
/** All marks stand in the head of each of the spool's segments: half of what a record's head may hold (META_BYTES_MAX). */
const MARKS_BYTES_MAX = 524_288;
/** Of a mark, beside its path. */
const MARK_BYTES = 128;

interface Tailed {
  readonly file: TailedFile;
  origin: Origin;
  mtimeMs: number;
  /** There may be something to read. */
  isDue: boolean;
  /** How far it has been read into the batch; null: no further than has been spooled. */
  reached: number | null;
}

/** A file that was read to its end and closed: as it stood then. Where to go on is told by its mark. */
type Away = Pick<Match, "size" | "mtimeMs">;

export interface TailOptions {
  readonly sources: readonly LogSource[];
  /** Open at a time. */
  readonly filesMax: number;
  readonly host: string;
  readonly spool: Spool;
  readonly log: Log;
}

/** How many of the log files there are. */
export interface LogFileCounts {
  readonly open: number;
  /** Read to their ends and closed until they grow. */
  readonly idle: number;
  /** By the path or pattern that names them: those that there is no room to read now. */
  readonly leftOut: ReadonlyMap<string, number>;
}

/**
 * Follows log files. How far a file has been read travels in the spool record that holds its lines, so that after a kill at any moment
 * each line is spooled exactly once. While the spool is nearly full, or its disk is, the lines stay where they are safe: in their files.
 *
 * A file that does not grow is closed; once it does, it is opened again and read on from its mark, as after a restart. No more than
 * `filesMax` are open: for one that has grown, whichever was read to its end and has rested longest gives way, and where there is none, the most
 * recently written come first and the others wait, which is told.
 */
export class Tail {
  readonly #options: TailOptions;
  readonly #tailed = new Map<string, Tailed>();
  readonly #away = new Map<string, Away>();
  readonly #batch: LineBatch;
  /** Files with lines in the batch. */
  readonly #read = new Set<Tailed>();
  readonly #leftOut = new Map<string, number>();
  readonly #tombstones = new Set<string>();
  /** Where to begin in files that were there before us, of sources that are read from their ends. */
  readonly #startAt = new Map<string, number>();
  #isFirstScan = true;
  #matchCount = 0;
  /** Of this scan: open files that may give way, the one that has rested longest last. */
  #resting: Tailed[] | null = null;
  /** Of the last scan, and of the files that are read by their keys. */
  #scanProblems: string[] = [];
  readonly #readProblems = new Map<string, string>();
  #isWaiting = false;
  #marksBytes = 0;
  #areMarksFull = false;
  #restingUntilUnixMs = 0;

  constructor(options: TailOptions) {
    this.#options = options;
    this.#batch = new LineBatch(options.host);
  }

  problems(): string[] {
    const unread = withMore([...this.#readProblems.values()]);
    return [
      ...(this.#isWaiting ? ["the spool is nearly full: reading of log files waits"] : []),
      ...this.#scanProblems,
      ...(unread === null ? [] : [unread]),
    ];
  }

  files(): LogFileCounts {
    return { open: this.#tailed.size, idle: this.#away.size, leftOut: this.#leftOut };
  }

  /** A look at all files takes some microseconds for each: so long apart, looks take less than a hundredth of a core. */
  get scanEveryMs(): number {
    return this.#matchCount;
  }

  /** The directories where something of interest may happen. */
  directories(): string[] {
    return [...new Set(this.#options.sources.map((source) => dirname(source.path)))];
  }

  /** Looks for new, grown, rotated and truncated files. */
  scan(nowUnixMs: number): void {
    this.#scanProblems = [];
    const matches = new Map<string, Match>();
    const unseen = new Set<string>();
    for (const source of this.#options.sources) {
      const { files, problem } = matchesOf(source);
      if (problem !== null) {
        this.#scanProblems.push(problem);
        unseen.add(dirname(source.path));
      }
      for (const match of files) if (!matches.has(match.key)) matches.set(match.key, match);
    }
    this.#matchCount = matches.size;
    const wanted = [...matches.values()].filter((match) => this.#isWanted(match));
    if (this.#isFirstScan)
      for (const { key, source, size } of wanted) if (source.read_from === "end") this.#startAt.set(key, size);
    this.#isFirstScan = false;
    this.#resting = null;
    this.#noticeOrphans(matches, unseen, nowUnixMs);
    for (const tailed of this.#tailed.values())
      if (isAtRest(tailed) && tailed.file.isIdleSince(nowUnixMs - PUT_AWAY_IDLE_MS)) this.#putAway(tailed);
    this.#admit(wanted, nowUnixMs);
    for (const [pattern, count] of this.#leftOut) {
      const all = [...matches.values()].filter(({ source }) => source.path === pattern).length;
      this.#scanProblems.push(`${this.#limit()}: ${count} of ${all} that match ${pattern} wait`);
    }
  }

  /** Reads a slice of each file that has something to read; says whether there is more. */
  read(nowUnixMs: number): boolean {
    const { spool } = this.#options;
    this.#isWaiting = spool.isNearlyFull;
    if (this.#isWaiting) return false;
    const restMs = this.#restingUntilUnixMs - nowUnixMs;
    // A clock that went back must not make it a long rest.
    if (restMs > 0 && restMs <= REST_MS * spool.slowdown) return false;
    this.#batch.arriveAt(nowUnixMs);
    let hasMore = false;
    for (const tailed of [...this.#tailed.values()])
      if (tailed.isDue) hasMore = this.#readFile(tailed, nowUnixMs) || hasMore;
    // Above the agent's own limits a slice for each look has to do, and fewer looks: the lines are safe where they are.
    if (spool.slowdown > 1) this.#restingUntilUnixMs = nowUnixMs + REST_MS * spool.slowdown;
    return hasMore && spool.slowdown <= 1;
  }

  /** Spools what has been read. False when the spool refused: the lines will be read again. */
  flush(): boolean {
    const { spool } = this.#options;
    const marks = this.#marks();
    const rows = this.#batch.rowCount;
    if (rows === 0) {
      if (Object.keys(marks).length === 0) return true;
      return this.#settle(spool.mark(marks).appended);
    }
    const value = this.#batch.finish({ producer: spool.producer, sequence: spool.nextSequence });
    return this.#settle(spool.append({ topic: "telemetry.logs", rows, value, marks }).appended);
  }

  close(): void {
    this.flush();
    for (const { file } of this.#tailed.values()) file.close();
    this.#tailed.clear();
  }

  #marks(): Record<string, string | null> {
    const marks: Record<string, string | null> = {};
    for (const mark of this.#tombstones) marks[mark] = null;
    for (const { file, reached } of this.#read)
      if (reached !== null) marks[MARK_PREFIX + file.key] = JSON.stringify(file.mark(reached));
    return marks;
  }

  #settle(isSpooled: boolean): boolean {
    for (const tailed of this.#read) {
      if (isSpooled && tailed.reached !== null) tailed.file.committed(tailed.reached);
      else {
        tailed.file.rewind();
        tailed.isDue = true;
      }
      tailed.reached = null;
    }
    this.#read.clear();
    if (isSpooled) this.#tombstones.clear();
    return isSpooled;
  }

  #readFile(tailed: Tailed, nowUnixMs: number): boolean {
    const { file } = tailed;
    const take = (line: RawLine) => this.#take(tailed, line, nowUnixMs);
    const before = file.truncations;
    tailed.isDue = false;
    try {
      const hasMore = file.read({ budgetBytes: SLICE_BYTES, nowUnixMs, take });
      if (file.truncations > before)
        this.#options.log.info({ path: file.path }, "log file truncated: read from its beginning");
      file.flushPartial({ idleMs: PARTIAL_IDLE_MS, nowUnixMs, take });
      this.#touch(tailed);
      this.#readProblems.delete(file.key);
      // A flush that was refused meanwhile has made it due, too.
      tailed.isDue ||= hasMore || !file.isAtLineEnd || file.orphanedAtUnixMs !== null;
      if (!hasMore && this.#isDone(file, nowUnixMs)) this.#forget(tailed);
      return hasMore;
    } catch (error) {
      this.#touch(tailed);
      tailed.isDue = true;
      this.#readProblems.set(file.key, `cannot read ${file.path}: ${codeOf(error)}`);
      return false;
    }
  }

  #take(tailed: Tailed, line: RawLine, nowUnixMs: number): boolean {
    tailed.reached = line.end;
    if (line.text.to === line.text.from) return true;
    this.#batch.append(tailed.origin, line, nowUnixMs);
    if (!this.#batch.isFull) return true;
    this.#read.add(tailed);
    return this.flush();
  }

  /** Lines of it, or empty ones, may have been read. */
  #touch(tailed: Tailed): void {
    if (tailed.reached === null) return;
    tailed.reached = tailed.file.position;
    this.#read.add(tailed);
  }

  // ——— which files are open

  /** It has to be opened; what is known of those that are open, or at rest as they were, is brought up to date. */
  #isWanted(match: Match): boolean {
    const tailed = this.#tailed.get(match.key);
    if (tailed === undefined) {
      const away = this.#away.get(match.key);
      return away === undefined || away.size !== match.size || away.mtimeMs !== match.mtimeMs;
    }
    const { file, origin } = tailed;
    if (origin.path !== match.path) tailed.origin = { ...origin, path: match.path };
    file.path = match.path;
    file.orphanedAtUnixMs = null;
    tailed.mtimeMs = match.mtimeMs;
    tailed.isDue ||= match.size !== file.scannedTo;
    return false;
  }

  /** Files that no source names any more: renamed or removed. Those of a directory that could not be looked at are left as they are. */
  #noticeOrphans(matches: ReadonlyMap<string, Match>, unseen: ReadonlySet<string>, nowUnixMs: number): void {
    for (const tailed of this.#tailed.values()) {
      const { file } = tailed;
      if (matches.has(file.key) || unseen.has(dirname(file.path))) continue;
      file.orphanedAtUnixMs ??= nowUnixMs;
      tailed.isDue = true;
    }
    const { marks } = this.#options.spool;
    const vanished = [...marks].filter(([mark]) => {
      const key = mark.slice(MARK_PREFIX.length);
      return mark.startsWith(MARK_PREFIX) && !matches.has(key) && !this.#tailed.has(key) && !this.#tombstones.has(mark);
    });
    const inodes = new Set(vanished.length === 0 ? [] : [...matches.keys()].map(inodeOf));
    for (const [mark, text] of vanished) {
      const key = mark.slice(MARK_PREFIX.length);
      // Devices may be numbered anew with a reboot: whether it is the file with its inode is found when that one is opened.
      if (inodes.has(inodeOf(key))) continue;
      const { path } = TailMark.parse(JSON.parse(text));
      if (unseen.has(dirname(path)) || this.#findRotated(path, key, nowUnixMs)) continue;
      this.#away.delete(key);
      this.#tombstones.add(mark);
    }
    for (const key of this.#startAt.keys()) if (!matches.has(key)) this.#startAt.delete(key);
    // Empty ones have no mark.
    for (const key of this.#away.keys()) if (!matches.has(key) && !marks.has(MARK_PREFIX + key)) this.#away.delete(key);
  }

  /** A file that was renamed while it was closed may have unread lines: it is found by its inode beside its old place. False: it is gone. */
  #findRotated(path: string, key: string, nowUnixMs: number): boolean {
    const source = this.#options.sources.find((one) => dirname(one.path) === dirname(path));
    const found = source === undefined ? null : findByKey(dirname(path), key);
    if (source === undefined || found === null) return false;
    // Not now: its mark stays.
    if (!this.#makeRoom()) return true;
    const tailed = this.#open({ path: found, source, mtimeMs: 0 }, nowUnixMs);
    if (tailed === null) return false;
    tailed.file.orphanedAtUnixMs = nowUnixMs;
    if (tailed.file.position > 0) return true;
    // Another file has taken the inode: it is none of ours.
    this.#close(tailed);
    return false;
  }

  /** Opens what is wanted, the most recently written first, as far as there is room. */
  #admit(wanted: Match[], nowUnixMs: number): void {
    this.#leftOut.clear();
    if (wanted.length === 0) return;
    const refused: string[] = [];
    this.#marksBytes = this.#countMarksBytes();
    this.#areMarksFull = false;
    for (const match of wanted.sort((one, other) => other.mtimeMs - one.mtimeMs)) {
      if (!this.#makeMark(match) || !this.#makeRoom()) {
        this.#leftOut.set(match.source.path, (this.#leftOut.get(match.source.path) ?? 0) + 1);
        continue;
      }
      try {
        this.#open(match, nowUnixMs);
      } catch (error) {
        // Between the look and the opening it may have gone: the next scan sees.
        if (codeOf(error) !== "ENOENT") refused.push(`cannot open ${match.path}: ${codeOf(error)}`);
      }
    }
    const problem = withMore(refused);
    if (problem !== null) this.#scanProblems.push(problem);
  }

  #limit(): string {
    return this.#areMarksFull
      ? `more than ${this.#tailed.size + this.#away.size} log files cannot be remembered`
      : `more than ${this.#options.filesMax} log files are written to (log_files_max)`;
  }

  /** False when there is no room to remember one file more. */
  #makeMark({ key, path }: Match): boolean {
    if (this.#away.has(key) || this.#options.spool.marks.has(MARK_PREFIX + key)) return true;
    const bytes = MARK_BYTES + Buffer.byteLength(path);
    const isRoom = this.#marksBytes + bytes <= MARKS_BYTES_MAX;
    if (isRoom) this.#marksBytes += bytes;
    else this.#areMarksFull = true;
    return isRoom;
  }

  /** Of all marks that there are or will be. */
  #countMarksBytes(): number {
    let bytes = 0;
    const { marks } = this.#options.spool;
    for (const [mark, text] of marks) bytes += mark.length + text.length;
    for (const { file } of this.#tailed.values())
      if (!marks.has(MARK_PREFIX + file.key)) bytes += MARK_BYTES + Buffer.byteLength(file.path);
    return bytes;
  }

  /** False when all that may be open are, and none of them can give way. */
  #makeRoom(): boolean {
    if (this.#tailed.size < this.#options.filesMax) return true;
    if (this.#resting === null) {
      this.flush();
      const resting = [...this.#tailed.values()].filter(isAtRest);
      this.#resting = resting.sort((one, other) => other.mtimeMs - one.mtimeMs);
    }
    const longest = this.#resting.pop();
    if (longest === undefined) return false;
    this.#putAway(longest);
    return true;
  }

  #putAway(tailed: Tailed): void {
    this.#away.set(tailed.file.key, { size: tailed.file.position, mtimeMs: tailed.mtimeMs });
    this.#close(tailed);
  }

  #close(tailed: Tailed): void {
    tailed.file.close();
    this.#tailed.delete(tailed.file.key);
    this.#read.delete(tailed);
    this.#readProblems.delete(tailed.file.key);
  }

  /** It has been read to its end, and nobody names it any more. */
  #forget(tailed: Tailed): void {
    if (this.#read.has(tailed) && !this.flush()) return;
    this.#close(tailed);
    this.#tombstones.add(MARK_PREFIX + tailed.file.key);
  }

  #isDone(file: TailedFile, nowUnixMs: number): boolean {
    const { orphanedAtUnixMs } = file;
    if (orphanedAtUnixMs === null || nowUnixMs - orphanedAtUnixMs < ORPHAN_IDLE_MS) return false;
    return file.isIdleSince(nowUnixMs - ORPHAN_IDLE_MS);
  }

  /** null when it is no regular file, or open already. */
  #open({ path, source, mtimeMs }: Pick<Match, "path" | "source" | "mtimeMs">, nowUnixMs: number): Tailed | null {
    const file = TailedFile.open(path, nowUnixMs);
    if (file === null) return null;
    if (this.#tailed.has(file.key)) {
      file.close();
      return null;
    }
    const tailed: Tailed = { file, origin: { path, source }, mtimeMs, isDue: true, reached: null };
    this.#tailed.set(file.key, tailed);
    this.#away.delete(file.key);
    const startAt = this.#startAt.get(file.key);
    this.#startAt.delete(file.key);
    if (!this.#resume(tailed) && startAt !== undefined) {
      file.skipTo(startAt);
      tailed.reached = startAt;
      this.#read.add(tailed);
    }
    return tailed;
  }

  /** False when nothing is known of it. A mark is found by device and inode, or by the inode alone: the fingerprint decides anyway. */
  #resume(tailed: Tailed): boolean {
    const { marks } = this.#options.spool;
    const own = MARK_PREFIX + tailed.file.key;
    const inode = inodeOf(tailed.file.key);
    const isSame = (name: string) => name.startsWith(MARK_PREFIX) && inodeOf(name.slice(MARK_PREFIX.length)) === inode;
    const name = marks.has(own) ? own : [...marks.keys()].find(isSame);
    const text = name === undefined ? undefined : marks.get(name);
    if (name === undefined || text === undefined) return false;
    if (!tailed.file.resume(TailMark.parse(JSON.parse(text))) || name === own) return true;
    // Under its new name from now on.
    this.#tombstones.add(name);
    tailed.reached = tailed.file.position;
    this.#read.add(tailed);
    return true;
  }
}

const isAtRest = ({ file, isDue, reached }: Tailed): boolean =>
  !isDue && reached === null && file.isAtLineEnd && file.orphanedAtUnixMs === null;

const inodeOf = (key: string): string => key.slice(key.indexOf(":"));
