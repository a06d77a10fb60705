import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { Log } from "@homeostat/schemas";
import { z } from "zod";
import { crcHex, isForgotten, type Journal, JournalEntry, KEPT_OUTPUT_CHARS, shorten } from "./journal.ts";

/** When all of them may still be delivered again, further commands are refused. */
export const JOURNAL_ENTRIES_MAX = 20_000;
/** Of output, for repetitions of what the platform has already: beyond it, the oldest keep none. */
const KEPT_OUTPUT_CHARS_IN_ALL_MAX = 4 * 1_048_576;
const COMPACT_BYTES = 4 * 1_048_576;
/** Written ahead as zeros: a full disk, which a command may be about to clear, must not keep the command from being written down. */
const RESERVE_BYTES = 262_144;

/** When it is full: looking through all of it costs milliseconds. */
const FORGET_EVERY_MS = 1_000;
/** How long a result may be in the file without being confirmed. */
const CONFIRM_NOTES_MS = 100;

const sync = promisify(fdatasync);
/** No command's id: of those that are forgotten, the one that was valid longest. */
const FORGOTTEN = "";
/** In place of an entry: the platform has the result of the one before. */
const REPORTED = "reported";

/** A line that the disk has not confirmed yet. */
interface Unsynced {
  readonly key: string;
  readonly before: JournalEntry | undefined;
  readonly entry: JournalEntry;
  /** null: nobody waits for it, and it is remembered whatever becomes of the line. */
  readonly wait: PromiseWithResolvers<void> | null;
}

/**
 * A file of lines. Lines of many commands that come together are confirmed by one fdatasync, which runs beside the event loop; the lines
 * that come meanwhile wait for the next.
 */
export class FileJournal implements Journal {
  readonly #path: string;
  readonly #log: Log;
  readonly #entriesMax: number;
  readonly #entries = new Map<string, JournalEntry>();
  /** Reported ones that still hold output, oldest first. */
  readonly #withOutput = new Map<string, number>();
  #keptChars = 0;
  #forgotUnixMs = -Infinity;
  /** null once closed: the number may belong to another file by then. */
  #fd: number | null;
  #end = 0;
  #size = 0;
  #compactAbove = COMPACT_BYTES;
  #unsynced: Unsynced[] = [];
  #refusals = 0;
  #soon: NodeJS.Timeout | null = null;
  #pending: { readonly line: Buffer; readonly unsynced: Unsynced }[] = [];
  /** Until where all of the file is confirmed. */
  #syncedEnd = 0;
  #isFlushing = false;
  #flushed: Promise<void> = Promise.resolve();
  /** Behind the end may lie lines that were refused: they must go before anything is written after them. */
  #hasRefusedLines = false;
  /** The file has its name since a rename that the directory has not confirmed yet. */
  #isRenameToSync = false;

  private constructor(path: string, log: Log, entriesMax: number) {
    this.#path = path;
    this.#log = log;
    this.#entriesMax = entriesMax;
    closeSync(openSync(path, "a+", 0o600));
    this.#fd = openSync(path, "r+");
    this.#size = fstatSync(this.#fd).size;
  }

  static open(options: { dir: string; log: Log; nowUnixMs: number; entriesMax?: number }): FileJournal {
    mkdirSync(options.dir, { recursive: true, mode: 0o700 });
    const path = join(options.dir, "commands.journal");
    const journal = new FileJournal(path, options.log, options.entriesMax ?? JOURNAL_ENTRIES_MAX);
    journal.#load();
    journal.#forgetExpired(options.nowUnixMs);
    journal.#reserve();
    return journal;
  }

  get(key: string): JournalEntry | undefined {
    return this.#entries.get(key);
  }

  entries(): [string, JournalEntry][] {
    return [...this.#entries].filter(([key]) => key !== FORGOTTEN);
  }

  mayHaveForgotten(notAfterUnixMs: number): boolean {
    const last = this.#entries.get(FORGOTTEN);
    return last?.state === "done" && notAfterUnixMs <= last.not_after_unix_ms;
  }

  hasRoom(nowUnixMs: number, of: "command" | "end" = "command"): boolean {
    const entriesMax = of === "command" ? this.#entriesMax : 2 * this.#entriesMax;
    if (this.#count >= entriesMax && Math.abs(nowUnixMs - this.#forgotUnixMs) >= FORGET_EVERY_MS)
      this.#forgetExpired(nowUnixMs);
    return this.#count < entriesMax;
  }

  get #count(): number {
    return this.#entries.size - (this.#entries.has(FORGOTTEN) ? 1 : 0);
  }

  async write(key: string, entry: JournalEntry): Promise<void> {
    this.#open();
    const wait = Promise.withResolvers<void>();
    const line = encode(key, entry);
    this.#pending.push({ line, unsynced: { key, before: this.#entries.get(key), entry, wait } });
    this.#entries.set(key, entry);
    this.#flush();
    return wait.promise;
  }

  note(key: string, noted: JournalEntry): void {
    const before = this.#entries.get(key);
    const isOnlyReported =
      noted.state === "done" && noted.is_reported && before?.state === "done" && before.result === noted.result;
    const entry = isOnlyReported ? shorten(noted, KEPT_OUTPUT_CHARS) : noted;
    this.#entries.set(key, entry);
    this.#countKept(key, entry);
    if (this.#fd === null) return;
    const line = isOnlyReported ? encode(key, REPORTED) : encode(key, entry);
    this.#pending.push({ line, unsynced: { key, before, entry, wait: null } });
    if (isOnlyReported) {
      this.#flush();
    } else {
      // What is in the file survives a kill.
      this.#append();
      this.#flushSoon();
    }
  }

  tend(nowUnixMs: number): void {
    this.#forgetExpired(nowUnixMs);
    if (!this.#isFlushing) this.#reserve();
  }

  async close(): Promise<void> {
    if (this.#fd === null) return;
    if (this.#soon !== null) clearTimeout(this.#soon);
    this.#flush();
    await this.#flushed;
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  #open(): number {
    if (this.#fd === null) throw new Error("the journal of commands is closed");
    return this.#fd;
  }

  // ——— writing

  #flush(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    this.#flushed = this.#flushAll().finally(() => {
      this.#isFlushing = false;
    });
  }

  async #flushAll(): Promise<void> {
    // All that is asked for in this turn goes together.
    await null;
    while (this.#pending.length > 0 || this.#unsynced.length > 0) {
      if (!this.#append()) continue;
      const [count, end, refusals] = [this.#unsynced.length, this.#end, this.#refusals];
      try {
        if (this.#unsynced.some(isToSync)) await sync(this.#open());
        this.#syncRename();
      } catch (error) {
        this.#refuseUnsynced(error);
        continue;
      }
      if (this.#refusals !== refusals) continue;
      this.#syncedEnd = end;
      for (const { wait } of this.#unsynced.splice(0, count)) wait?.resolve();
      if (this.#end > this.#compactAbove) this.#compact();
    }
  }

  /** A result that nobody waits for: in the file at once, confirmed a little later, with others if there are any. */
  #flushSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      this.#flush();
    }, CONFIRM_NOTES_MS).unref();
  }

  /** False when it failed: then nothing is left that waits. */
  #append(): boolean {
    const pending = this.#pending;
    if (pending.length === 0) return true;
    this.#pending = [];
    for (const { unsynced } of pending) this.#unsynced.push(unsynced);
    try {
      if (this.#hasRefusedLines) this.#clearBehindEnd();
      const bytes = Buffer.concat(pending.map(({ line }) => line));
      writeAll(this.#open(), bytes, this.#end);
      this.#end += bytes.length;
      this.#size = Math.max(this.#size, this.#end);
      return true;
    } catch (error) {
      this.#refuseUnsynced(error);
      return false;
    }
  }

  /** Everything since the last confirmation is as if it had never been written; what was only noted stays remembered. */
  #refuseUnsynced(error: unknown): void {
    const refused = this.#unsynced;
    this.#unsynced = [];
    this.#refusals += 1;
    this.#end = this.#syncedEnd;
    this.#hasRefusedLines = true;
    this.#tryToClear();
    for (const { key, before, entry, wait } of refused.toReversed()) {
      if (wait === null) continue;
      if (this.#entries.get(key) === entry) {
        if (before === undefined) this.#entries.delete(key);
        else this.#entries.set(key, before);
      }
      wait.reject(error);
    }
    this.#log.error({ error: String(error), lines: refused.length }, "cannot write the journal of commands");
  }

  /** At once if it can be, and otherwise before the next line. */
  #tryToClear(): void {
    try {
      this.#clearBehindEnd();
    } catch (error) {
      this.#log.warn({ error: String(error) }, "what was refused is still in the journal of commands");
    }
  }

  /** A whole line of an older state must never lie behind a newer one. */
  #clearBehindEnd(): void {
    const length = fstatSync(this.#open()).size - this.#end;
    if (length > 0) writeAll(this.#open(), Buffer.alloc(length), this.#end);
    this.#hasRefusedLines = false;
  }

  // ——— loading and forgetting

  #load(): void {
    const bytes = readFileSync(this.#path);
    for (let at = 0; at < bytes.length && bytes[at] !== 0; ) {
      const end = bytes.indexOf(0x0a, at);
      const decoded = end === -1 ? null : decode(bytes.subarray(at, end));
      if (decoded === null) this.#log.warn({ at }, "a torn or corrupt line in the journal of commands");
      else this.#apply(decoded.key, decoded.entry);
      if (end === -1) break;
      at = end + 1;
      this.#end = at;
    }
    this.#syncedEnd = this.#end;
    // A torn line must not lie behind the next one.
    if (bytes.subarray(this.#end).some((byte) => byte !== 0)) this.#clearBehindEnd();
  }

  #apply(key: string, entry: JournalEntry | typeof REPORTED): void {
    const before = this.#entries.get(key);
    if (entry !== REPORTED) this.#entries.set(key, entry);
    else if (before?.state === "done")
      this.#entries.set(key, shorten({ ...before, is_reported: true }, KEPT_OUTPUT_CHARS));
    const now = this.#entries.get(key);
    if (now !== undefined) this.#countKept(key, now);
  }

  #countKept(key: string, entry: JournalEntry): void {
    this.#keptChars -= this.#withOutput.get(key) ?? 0;
    this.#withOutput.delete(key);
    if (entry.state !== "done" || !entry.is_reported) return;
    const chars = entry.result.stdout.length + entry.result.stderr.length;
    if (chars === 0) return;
    this.#withOutput.set(key, chars);
    this.#keptChars += chars;
    for (const [oldest, itsChars] of this.#withOutput) {
      if (this.#keptChars <= KEPT_OUTPUT_CHARS_IN_ALL_MAX) return;
      const kept = this.#entries.get(oldest);
      if (kept?.state === "done") this.#entries.set(oldest, shorten(kept, 0));
      this.#withOutput.delete(oldest);
      this.#keptChars -= itsChars;
    }
  }

  #forgetExpired(nowUnixMs: number): void {
    this.#forgotUnixMs = nowUnixMs;
    for (const [key, entry] of this.#entries) {
      if (key === FORGOTTEN || entry.state !== "done" || !isForgotten(entry, nowUnixMs)) continue;
      // Its file is not written for that: it holds all that is forgotten until it is written anew.
      if (!this.mayHaveForgotten(entry.not_after_unix_ms)) this.#entries.set(FORGOTTEN, shorten(entry, 0));
      this.#keptChars -= this.#withOutput.get(key) ?? 0;
      this.#withOutput.delete(key);
      this.#entries.delete(key);
    }
  }

  #reserve(): void {
    const missing = this.#end + RESERVE_BYTES - this.#size;
    if (missing < RESERVE_BYTES / 2) return;
    try {
      writeAll(this.#open(), Buffer.alloc(missing), this.#size);
      fdatasyncSync(this.#open());
      this.#size += missing;
    } catch (error) {
      this.#log.warn({ error: String(error) }, "no room to reserve for the journal of commands");
    }
  }

  /** Only between two batches. What waits lies behind what is confirmed in the new file too, so that it can still be refused. */
  #compact(): void {
    const path = `${this.#path}.new`;
    try {
      const fd = openSync(path, "w+", 0o600);
      const waiting = [...this.#unsynced, ...this.#pending.map(({ unsynced }) => unsynced)];
      const confirmed = Buffer.concat([...this.#confirmed(waiting)].map(([key, entry]) => encode(key, entry)));
      const lines = Buffer.concat([confirmed, ...waiting.map(({ key, entry }) => encode(key, entry))]);
      writeAll(fd, Buffer.concat([lines, Buffer.alloc(RESERVE_BYTES)]), 0);
      fsyncSync(fd);
      renameSync(path, this.#path);
      // From here on the old file has no name: whatever fails now, nothing may be written there.
      const old = this.#open();
      this.#fd = fd;
      this.#isRenameToSync = true;
      this.#end = lines.length;
      this.#syncedEnd = confirmed.length;
      this.#size = lines.length + RESERVE_BYTES;
      this.#hasRefusedLines = false;
      [this.#unsynced, this.#pending] = [waiting, []];
      closeSync(old);
      this.#syncRename();
    } catch (error) {
      // Either the old file is whole, and grows until there is room for a new one, or the next batch waits for the directory.
      this.#log.warn({ error: String(error) }, "cannot write the journal of commands anew");
    }
    this.#compactAbove = Math.max(COMPACT_BYTES, 2 * this.#end);
  }

  /** Until the new file's name is durable, a crash may bring back the old one. */
  #syncRename(): void {
    if (!this.#isRenameToSync) return;
    syncDirectory(dirname(this.#path));
    this.#isRenameToSync = false;
  }

  /** What is remembered, as it was before what waits. */
  #confirmed(waiting: readonly Unsynced[]): Map<string, JournalEntry> {
    const entries = new Map(this.#entries);
    for (const { key, before } of waiting.toReversed()) {
      if (before === undefined) entries.delete(key);
      else entries.set(key, before);
    }
    return entries;
  }
}

const isToSync = ({ wait, entry }: Unsynced): boolean =>
  wait !== null || (entry.state === "done" && !entry.is_reported);

const writeAll = (fd: number, bytes: Buffer, at: number): void => {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
};

/** CRC-32 in hex, a space, JSON, a line end. JSON writes no line end and no zero byte of its own. */
const encode = (key: string, entry: JournalEntry | typeof REPORTED): Buffer => {
  const json = JSON.stringify([key, entry]);
  return Buffer.from(`${crcHex(json)} ${json}\n`, "utf8");
};

const Line = z.tuple([z.string(), z.union([JournalEntry, z.literal(REPORTED)])]);

const decode = (line: Buffer): { key: string; entry: JournalEntry | typeof REPORTED } | null => {
  const json = line.subarray(9);
  if (line.toString("latin1", 0, 8) !== crcHex(json)) return null;
  const parsed = Line.safeParse(JSON.parse(json.toString("utf8")));
  return parsed.success ? { key: parsed.data[0], entry: parsed.data[1] } : null;
};

const syncDirectory = (path: string): void => {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};
