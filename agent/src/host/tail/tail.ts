import { readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BatchBuilder, type Log, type TextSpan } from "@homeostat/schemas";
import type { LogSource } from "../config.ts";
import type { Spool } from "../spool/spool.ts";
import { type LogLine, parseJson, parseText } from "./log-line.ts";
import { LINE_BYTES_MAX, type RawLine, TailedFile, TailMark } from "./tailed-file.ts";
import { TextHeadReader } from "./text-head.ts";

export const TAILED_FILES_MAX = 256;
/** One slice of reading: small enough that collectors and commands need not wait (about 10 ms), fair between files. */
const SLICE_BYTES = 262_144;
/** Incompressible text at this size, and one more line of invalid bytes, still make a message that the bus takes. */
const BATCH_BYTES = 262_144;
const PARTIAL_IDLE_MS = 5_000;
/** A writer that still holds a rotated file has this long to finish. */
const ORPHAN_IDLE_MS = 5_000;
/** Between two slices while the agent is above its own limits, times how far it is slowed down. */
const REST_MS = 250;
const MARK_PREFIX = "tail:";

interface Tailed {
  readonly file: TailedFile;
  readonly source: LogSource;
  /** Of each line that has nothing to say of its own; the same object, so that it is encoded once. */
  attributes: Readonly<Record<string, string>>;
}

export interface TailOptions {
  readonly sources: readonly LogSource[];
  readonly host: string;
  readonly spool: Spool;
  readonly log: Log;
}

/**
 * Follows log files. How far a file has been read travels in the spool record that holds its lines, so that after a kill at any moment
 * each line is spooled exactly once. While the spool is nearly full, or its disk is, the lines stay where they are safe: in their files.
 */
export class Tail {
  readonly #options: TailOptions;
  readonly #tailed = new Map<string, Tailed>();
  readonly #builder = new BatchBuilder("logs");
  readonly #heads = new TextHeadReader();
  /** How far each file has been read into the builder. */
  readonly #reached = new Map<Tailed, number>();
  #tombstones: string[] = [];
  #isFirstScan = true;
  #problems = new Map<string, string>();
  #arrivalUnixMs = 0;
  #arrivals = 0;
  #restingUntilUnixMs = 0;

  constructor(options: TailOptions) {
    this.#options = options;
  }

  get hasRows(): boolean {
    return this.#builder.rowCount > 0;
  }

  problems(): string[] {
    return [...this.#problems.values()];
  }

  /** The directories where something of interest may happen. */
  directories(): string[] {
    return [...new Set(this.#options.sources.map((source) => dirname(source.path)))];
  }

  /** Looks for new, rotated and truncated files. */
  scan(nowUnixMs: number): void {
    const seen = new Set<string>();
    for (const source of this.#options.sources)
      for (const path of this.#expand(source)) {
        const key = this.#follow(path, source, nowUnixMs);
        if (key !== null) seen.add(key);
      }
    if (this.#isFirstScan) this.#findRotatedWhileAway(nowUnixMs);
    this.#isFirstScan = false;
    for (const { file } of this.#tailed.values()) {
      if (seen.has(file.key)) file.orphanedAtUnixMs = null;
      else file.orphanedAtUnixMs ??= nowUnixMs;
    }
  }

  /** Reads a slice of each file; says whether there is more. */
  read(nowUnixMs: number): boolean {
    if (this.#options.spool.isNearlyFull) {
      this.#problems.set("spool", "the spool is nearly full: reading of log files waits");
      return false;
    }
    this.#problems.delete("spool");
    const restMs = this.#restingUntilUnixMs - nowUnixMs;
    // A clock that went back must not make it a long rest.
    if (restMs > 0 && restMs <= REST_MS * this.#options.spool.slowdown) return false;
    if (nowUnixMs > this.#arrivalUnixMs) this.#arrivals = 0;
    this.#arrivalUnixMs = Math.max(nowUnixMs, this.#arrivalUnixMs);
    let hasMore = false;
    for (const tailed of [...this.#tailed.values()]) hasMore = this.#readFile(tailed, nowUnixMs) || hasMore;
    // Above the agent's own limits a slice for each look has to do, and fewer looks: the lines are safe where they are.
    if (this.#options.spool.slowdown > 1) this.#restingUntilUnixMs = nowUnixMs + REST_MS * this.#options.spool.slowdown;
    return hasMore && this.#options.spool.slowdown <= 1;
  }

  /** Spools what has been read. False when the spool refused: the lines will be read again. */
  flush(): boolean {
    const { spool } = this.#options;
    const marks = this.#marks();
    if (this.#builder.rowCount === 0) {
      if (Object.keys(marks).length === 0) return true;
      return this.#settle(spool.mark(marks).appended);
    }
    const rows = this.#builder.rowCount;
    const value = this.#builder.finish({ producer: spool.producer, sequence: spool.nextSequence });
    return this.#settle(spool.append({ topic: "telemetry.logs", rows, value, marks }).appended);
  }

  close(): void {
    this.flush();
    for (const { file } of this.#tailed.values()) file.close();
    this.#tailed.clear();
  }

  #marks(): Record<string, string | null> {
    const marks: Record<string, string | null> = {};
    for (const key of this.#tombstones) marks[MARK_PREFIX + key] = null;
    for (const [{ file }, offset] of this.#reached) marks[MARK_PREFIX + file.key] = JSON.stringify(file.mark(offset));
    return marks;
  }

  #settle(isSpooled: boolean): boolean {
    for (const [{ file }, offset] of this.#reached) {
      if (isSpooled) file.committed(offset);
      else file.rewind();
    }
    this.#reached.clear();
    if (isSpooled) this.#tombstones = [];
    return isSpooled;
  }

  #readFile(tailed: Tailed, nowUnixMs: number): boolean {
    const { file } = tailed;
    const take = (line: RawLine) => this.#take(tailed, line, nowUnixMs);
    const before = file.truncations;
    try {
      const hasMore = file.read({ budgetBytes: SLICE_BYTES, nowUnixMs, take });
      if (file.truncations > before)
        this.#options.log.info({ path: file.path }, "log file truncated: read from its beginning");
      file.flushPartial({ idleMs: PARTIAL_IDLE_MS, nowUnixMs, take });
      this.#problems.delete(file.key);
      if (!hasMore && this.#isDone(file, nowUnixMs)) this.#forget(tailed);
      return hasMore;
    } catch (error) {
      this.#problems.set(file.key, `cannot read ${file.path}: ${codeOf(error)}`);
      return false;
    }
  }

  #take(tailed: Tailed, line: RawLine, nowUnixMs: number): boolean {
    if (line.text.to > line.text.from) {
      this.#append(tailed, line, nowUnixMs);
      this.#reached.set(tailed, line.end);
      if (this.#builder.byteLength >= BATCH_BYTES || this.#builder.isFull) return this.flush();
      return true;
    }
    this.#reached.set(tailed, line.end);
    return true;
  }

  #append(tailed: Tailed, line: RawLine, nowUnixMs: number): void {
    const { file, source } = tailed;
    const isPlain = source.format === "text" && line.isUtf8 && !line.isPartial && line.lengthBytes <= LINE_BYTES_MAX;
    if (isPlain && this.#appendBytes(tailed, line.text)) return;
    const text = line.text.bytes.toString("utf8", line.text.from, line.text.to);
    const parsed: LogLine = source.format === "json" ? parseJson(text, nowUnixMs) : parseText(text, nowUnixMs);
    const attributes = parsed.attributes;
    attributes["log.file.path"] = file.path;
    if (line.lengthBytes > LINE_BYTES_MAX) {
      attributes["log.truncated"] = "true";
      attributes["log.original_length"] = String(line.lengthBytes);
    }
    if (line.isPartial) attributes["log.partial"] = "true";
    this.#builder.append({
      timestamp: parsed.timestampNs ?? this.#arrivalNs(),
      severity_number: parsed.severityNumber,
      service_name: source.service,
      host_name: this.#options.host,
      trace_id: parsed.traceId,
      span_id: parsed.spanId,
      body: parsed.body,
      attributes,
    });
  }

  /** Most lines: never made a string. False when the line's bytes do not tell its time plainly. */
  #appendBytes(tailed: Tailed, text: TextSpan): boolean {
    const head = this.#heads.read(text.bytes, text.from, text.to);
    if (!head.isKnown) return false;
    if (tailed.attributes["log.file.path"] !== tailed.file.path)
      tailed.attributes = Object.freeze({ "log.file.path": tailed.file.path });
    this.#builder.append({
      timestamp: BigInt(head.unixMs) * 1_000_000n + BigInt(head.ns),
      severity_number: head.severity,
      service_name: tailed.source.service,
      host_name: this.#options.host,
      trace_id: "",
      span_id: "",
      body: text,
      attributes: tailed.attributes,
    });
    return true;
  }

  /** Lines that arrive together keep their order: each is a nanosecond later than the one before. */
  #arrivalNs(): bigint {
    return BigInt(this.#arrivalUnixMs) * 1_000_000n + BigInt(this.#arrivals++);
  }

  #isDone(file: TailedFile, nowUnixMs: number): boolean {
    const { orphanedAtUnixMs } = file;
    if (orphanedAtUnixMs === null || nowUnixMs - orphanedAtUnixMs < ORPHAN_IDLE_MS) return false;
    return file.isIdleSince(nowUnixMs - ORPHAN_IDLE_MS);
  }

  #forget(tailed: Tailed): void {
    if (this.#reached.has(tailed) && !this.flush()) return;
    tailed.file.close();
    this.#tailed.delete(tailed.file.key);
    this.#tombstones.push(tailed.file.key);
  }

  #expand(source: LogSource): string[] {
    const pattern = basename(source.path);
    if (!pattern.includes("*")) return [source.path];
    const directory = dirname(source.path);
    const matches = new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*")}$`, "s");
    try {
      this.#problems.delete(source.path);
      return readdirSync(directory)
        .filter((name) => matches.test(name))
        .map((name) => join(directory, name));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") this.#problems.set(source.path, `cannot list ${directory}: ${codeOf(error)}`);
      return [];
    }
  }

  /** The key of the file at this path; null when there is none that can be read. */
  #follow(path: string, source: LogSource, nowUnixMs: number): string | null {
    try {
      const stat = statSync(path, { throwIfNoEntry: false });
      this.#problems.delete(path);
      if (stat === undefined || !stat.isFile()) return null;
      const known = this.#tailed.get(`${stat.dev}:${stat.ino}`);
      if (known === undefined) return this.#begin(path, source, nowUnixMs);
      known.file.path = path;
      return known.file.key;
    } catch (error) {
      // Between the look and the opening it may have gone: the next scan sees.
      if (codeOf(error) !== "ENOENT") this.#problems.set(path, `cannot open ${path}: ${codeOf(error)}`);
      return null;
    }
  }

  #begin(path: string, source: LogSource, nowUnixMs: number): string | null {
    if (this.#tailed.size >= TAILED_FILES_MAX) {
      this.#problems.set("files", `more than ${TAILED_FILES_MAX} log files: ${path} is not read`);
      return null;
    }
    const file = TailedFile.open(path, nowUnixMs);
    if (file === null) return null;
    const tailed: Tailed = { file, source, attributes: {} };
    this.#tailed.set(file.key, tailed);
    const mark = this.#markOf(file.key);
    const isResumed = mark !== null && file.resume(mark);
    if (!isResumed && mark === null && this.#isFirstScan && source.read_from === "end") {
      file.skipToEnd();
      this.#reached.set(tailed, file.position);
    }
    return file.key;
  }

  /** By device and inode, or by the inode alone: devices may be numbered anew with a reboot, and the fingerprint decides anyway. */
  #markOf(key: string): TailMark | null {
    const { marks } = this.#options.spool;
    const inode = key.slice(key.indexOf(":"));
    const renumbered = () => [...marks].find(([name]) => name.startsWith(MARK_PREFIX) && name.endsWith(inode))?.[1];
    const text = marks.get(MARK_PREFIX + key) ?? renumbered();
    return text === undefined ? null : TailMark.parse(JSON.parse(text));
  }

  /** A file that was renamed while the agent was away still has unread lines: it is found by its inode beside its old place. */
  #findRotatedWhileAway(nowUnixMs: number): void {
    for (const [mark, text] of this.#options.spool.marks) {
      const key = mark.slice(MARK_PREFIX.length);
      if (!mark.startsWith(MARK_PREFIX) || this.#tailed.has(key)) continue;
      const { path } = TailMark.parse(JSON.parse(text));
      const source = this.#options.sources.find((one) => dirname(one.path) === dirname(path));
      const found = source === undefined ? null : findByKey(dirname(path), key);
      if (source === undefined || found === null || !this.#finishRotated(found, source, nowUnixMs))
        this.#tombstones.push(key);
    }
  }

  #finishRotated(path: string, source: LogSource, nowUnixMs: number): boolean {
    const key = this.#begin(path, source, nowUnixMs);
    const tailed = key === null ? undefined : this.#tailed.get(key);
    if (key === null || tailed === undefined) return false;
    if (tailed.file.position > 0) return true;
    // Another file has taken the inode: it is none of ours.
    tailed.file.close();
    this.#tailed.delete(key);
    return false;
  }
}

const findByKey = (directory: string, key: string): string | null => {
  try {
    for (const name of readdirSync(directory)) {
      const path = join(directory, name);
      const stat = statSync(path, { throwIfNoEntry: false });
      if (stat?.isFile() && `${stat.dev}:${stat.ino}` === key) return path;
    }
    return null;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "EACCES") return null;
    throw error;
  }
};

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : String(error);
