import {
  closeSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from "node:fs";
import { promisify } from "node:util";
import { crc32 } from "node:zlib";
import type { Log } from "@homeostat/schemas";
import { isForgotten, type Journal, JournalEntry } from "../host/executor/journal.ts";

/** Of one worker: a simulation that has filled it refuses commands until it is begun anew, when what has expired is left out. */
const BYTES_MAX = 8 * 1_073_741_824;
/** About 150 bytes of memory each, once reported. */
const ENTRIES_MAX = 4_000_000;
const REWRITE_LINES = 4_096;
const READ_BYTES = 4 * 1_048_576;

const sync = promisify(fdatasync);

/** How a line begins. a: accepted, or running at once; r: running now; d: done; R: reported. */
type Kind = "a" | "r" | "d" | "R";

interface Line {
  readonly bytes: Buffer;
  readonly key: string;
  readonly before: Kept | undefined;
  /** null: nobody waits for it. */
  readonly wait: PromiseWithResolvers<void> | null;
  /** Behind it the entry is only remembered by its place. */
  readonly isReported: boolean;
}

/** An entry, or where in the file the result is that the platform has already. */
type Kept = JournalEntry | number;

/**
 * One journal for all virtual agents of a process: whatever commands of theirs come in one turn are confirmed by one fdatasync. Results
 * that were reported stay on disk alone, so that millions of commands can be told apart.
 */
export class SharedJournal {
  readonly #log: Log;
  #fd: number | null;
  #end = 0;
  readonly #entries = new Map<string, Kept>();
  /** What earlier processes left unfinished, by host; given out once. */
  readonly #left = new Map<string, [string, JournalEntry][]>();
  #pending: Line[] = [];
  #unsynced: Line[] = [];
  #syncing: Promise<void> | null = null;

  private constructor(fd: number, log: Log) {
    this.#fd = fd;
    this.#log = log;
  }

  static open({ path, log, nowUnixMs }: { path: string; log: Log; nowUnixMs: number }): SharedJournal {
    const journal = new SharedJournal(openSync(path, "a+", 0o600), log);
    journal.#load();
    journal.#rewrite(path, nowUnixMs);
    return journal;
  }

  /** One agent's own view. */
  of(host: string): Journal {
    const full = (key: string): string => `${host}\t${key}`;
    return {
      get: (key) => this.#get(full(key)),
      entries: () => {
        const left = this.#left.get(host) ?? [];
        this.#left.delete(host);
        return left;
      },
      hasRoom: () => this.#end < BYTES_MAX && this.#entries.size < ENTRIES_MAX,
      write: (key, entry) => this.#write(full(key), entry),
      note: (key, entry) => this.#note(full(key), entry),
      tend: () => undefined,
      // Agents of a process share its life: the file is closed after the last of them.
      close: () => this.#settled(),
    };
  }

  async close(): Promise<void> {
    await this.#settled();
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  async #settled(): Promise<void> {
    await null;
    await this.#syncing;
  }

  #open(): number {
    if (this.#fd === null) throw new Error("the journal is closed");
    return this.#fd;
  }

  #get(key: string): JournalEntry | undefined {
    const kept = this.#entries.get(key);
    return typeof kept === "number" ? this.#readReported(kept) : kept;
  }

  #write(key: string, entry: JournalEntry): Promise<void> {
    const wait = Promise.withResolvers<void>();
    this.#put(key, entry, wait);
    return wait.promise;
  }

  #note(key: string, entry: JournalEntry): void {
    if (this.#fd !== null) this.#put(key, entry, null);
  }

  #put(key: string, entry: JournalEntry, wait: Line["wait"]): void {
    const before = this.#entries.get(key);
    const isReported = entry.state === "done" && entry.is_reported;
    const isKnown = isReported && typeof before === "object" && before.state === "done";
    if (isReported && !isKnown)
      this.#push({ key, bytes: encode("d", key, entry), before, wait: null, isReported: false });
    this.#entries.set(key, entry);
    this.#push({ key, bytes: bytesOf(key, entry, before), before, wait, isReported });
  }

  /** In the file before anything that is sent in this turn leaves, which is when a kill can no longer take it back. */
  #push(line: Line): void {
    if (this.#pending.push(line) === 1) queueMicrotask(() => this.#append());
  }

  #append(): void {
    const lines = this.#pending;
    this.#pending = [];
    const bytes = Buffer.concat(lines.map((line) => line.bytes));
    try {
      for (let done = 0; done < bytes.length; )
        done += writeSync(this.#open(), bytes, done, bytes.length - done, this.#end + done);
    } catch (error) {
      this.#refuse(lines, error);
      return;
    }
    this.#place(lines);
    this.#end += bytes.length;
    const awaited = lines.filter(({ wait }) => wait !== null);
    if (awaited.length === 0) return;
    this.#unsynced.push(...awaited);
    this.#syncing ??= this.#syncAll();
  }

  async #syncAll(): Promise<void> {
    // All that comes in this turn of the event loop goes together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#unsynced.length > 0) {
      const lines = this.#unsynced;
      this.#unsynced = [];
      try {
        await sync(this.#open());
        for (const { wait } of lines) wait?.resolve();
      } catch (error) {
        // What the disk has of it nobody knows: none of it was begun, and a later life takes it for that or for lost.
        for (const { wait } of lines) wait?.reject(error);
      }
    }
    // In the same turn as the look above: a line that comes later begins a pass of its own.
    this.#syncing = null;
  }

  /** Of what is reported, only the place of its result is kept in memory. */
  #place(lines: readonly Line[]): void {
    let at = this.#end;
    for (const { key, bytes, isReported } of lines) {
      if (bytes[KIND_AT] === DONE) this.#places.set(key, at);
      at += bytes.length;
      const place = isReported ? this.#places.get(key) : undefined;
      const entry = this.#entries.get(key);
      if (place === undefined || typeof entry !== "object" || entry.state !== "done" || !entry.is_reported) continue;
      this.#entries.set(key, place);
      this.#places.delete(key);
    }
  }

  /** Of results that are written and not yet reported. */
  readonly #places = new Map<string, number>();

  #refuse(lines: readonly Line[], error: unknown): void {
    this.#log.error({ error: String(error), lines: lines.length }, "cannot write the journal of the simulation");
    // A whole line of it must not lie behind what is written next.
    ftruncateSync(this.#open(), this.#end);
    for (const { key, before, wait } of lines.toReversed()) {
      if (wait === null) continue;
      if (before === undefined) this.#entries.delete(key);
      else this.#entries.set(key, before);
      wait.reject(error);
    }
  }

  // ——— loading

  #load(): void {
    for (const { kind, key, json, at, end } of linesOf(this.#open())) {
      this.#end = end;
      if (kind === "R") {
        const place = this.#places.get(key);
        if (place !== undefined) this.#entries.set(key, place);
      } else if (kind === "r") {
        const before = this.#entries.get(key);
        if (typeof before === "object" && before.state !== "done")
          this.#entries.set(
            key,
            JournalEntry.parse({ state: "running", command: before.command, ...JSON.parse(json) }),
          );
      } else {
        this.#entries.set(key, JournalEntry.parse(JSON.parse(json)));
        if (kind === "d") this.#places.set(key, at);
      }
    }
  }

  /** Anew, without what is forgotten, so that restarts do not grow slower and slower. */
  #rewrite(path: string, nowUnixMs: number): void {
    const fresh = openSync(`${path}.new`, "w+", 0o600);
    const places = new Map<string, number>();
    let [end, saved, lines] = [0, 0, [] as Buffer[]];
    const save = (): void => {
      const bytes = Buffer.concat(lines);
      for (let done = 0; done < bytes.length; )
        done += writeSync(fresh, bytes, done, bytes.length - done, saved + done);
      [saved, lines] = [end, []];
    };
    for (const [key, kept] of this.#entries) {
      const entry = typeof kept === "number" ? this.#readReported(kept) : kept;
      if (entry === undefined || isForgotten(entry, nowUnixMs)) continue;
      if (entry.state === "done") places.set(key, end);
      for (const line of wholeOf(key, entry)) {
        lines.push(line);
        end += line.length;
      }
      if (lines.length >= REWRITE_LINES) save();
    }
    save();
    fsyncSync(fresh);
    renameSync(`${path}.new`, path);
    closeSync(this.#open());
    this.#fd = fresh;
    this.#end = end;
    this.#settle(places);
  }

  #settle(places: ReadonlyMap<string, number>): void {
    this.#places.clear();
    for (const [key, kept] of this.#entries) {
      const place = places.get(key);
      if (typeof kept === "number") {
        if (place === undefined) this.#entries.delete(key);
        else this.#entries.set(key, place);
        continue;
      }
      if (place !== undefined) this.#places.set(key, place);
      const tab = key.indexOf("\t");
      const host = key.slice(0, tab);
      const left = this.#left.get(host) ?? [];
      left.push([key.slice(tab + 1), kept]);
      this.#left.set(host, left);
    }
  }

  #readReported(at: number): JournalEntry | undefined {
    for (const { json } of linesOf(this.#open(), at)) {
      const entry = JournalEntry.parse(JSON.parse(json));
      return entry.state === "done" ? { ...entry, is_reported: true } : undefined;
    }
    return undefined;
  }
}

const CRC_CHARS = 8;
const KIND_AT = CRC_CHARS + 1;
const DONE = "d".charCodeAt(0);

/** CRC-32 in hex, a space, the kind, a space, the key (percent-encoded: without blanks), a space, JSON, a line end. */
const encode = (kind: Kind, key: string, value: unknown): Buffer => {
  const text = `${kind} ${encodeURIComponent(key)} ${JSON.stringify(value)}`;
  return Buffer.from(`${crc32(text).toString(16).padStart(CRC_CHARS, "0")} ${text}\n`, "utf8");
};

const bytesOf = (key: string, entry: JournalEntry, before: Kept | undefined): Buffer => {
  if (entry.state === "running" && typeof before === "object" && before.state !== "done")
    return encode("r", key, { started_at_unix_ms: entry.started_at_unix_ms, child: entry.child });
  if (entry.state !== "done") return encode("a", key, entry);
  return entry.is_reported ? encode("R", key, null) : encode("d", key, entry);
};

/** All that has to be there when nothing was written of it before. */
const wholeOf = (key: string, entry: JournalEntry): Buffer[] => {
  const isReported = entry.state === "done" && entry.is_reported;
  return isReported ? [encode("d", key, entry), encode("R", key, null)] : [bytesOf(key, entry, undefined)];
};

interface ReadLine {
  readonly kind: Kind;
  readonly key: string;
  readonly json: string;
  readonly at: number;
  readonly end: number;
}

/** Whole lines from there on, up to the first that is torn. */
function* linesOf(fd: number, from = 0): Generator<ReadLine> {
  const size = fstatSync(fd).size;
  let held: Buffer = Buffer.alloc(0);
  let at = from;
  // One line is read with one small read; a whole file in large ones.
  for (let bytes = from === 0 ? READ_BYTES : 4_096; at + held.length < size; bytes = Math.min(bytes * 2, READ_BYTES)) {
    const chunk = Buffer.alloc(Math.min(bytes, size - at - held.length));
    readSync(fd, chunk, 0, chunk.length, at + held.length);
    held = Buffer.concat([held, chunk]);
    let start = 0;
    for (let end = held.indexOf(0x0a, start); end !== -1; end = held.indexOf(0x0a, start)) {
      const line = decode(held.toString("utf8", start, end));
      if (line === null) return;
      yield { ...line, at: at + start, end: at + end + 1 };
      start = end + 1;
    }
    held = held.subarray(start);
    at += start;
  }
}

const decode = (line: string): Pick<ReadLine, "kind" | "key" | "json"> | null => {
  const text = line.slice(KIND_AT);
  if (line.slice(0, CRC_CHARS) !== crc32(text).toString(16).padStart(CRC_CHARS, "0")) return null;
  const keyEnd = text.indexOf(" ", 2);
  return { kind: text.charAt(0) as Kind, key: decodeURIComponent(text.slice(2, keyEnd)), json: text.slice(keyEnd + 1) };
};
