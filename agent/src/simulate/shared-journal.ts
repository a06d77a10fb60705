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
import type { Log } from "@homeostat/schemas";
import { crcHex, isForgotten, type Journal, JournalEntry } from "../host/executor/journal.ts";

/** Of one worker: a simulation that has filled it refuses commands until it is begun anew, when what has expired is left out. */
const BYTES_MAX = 8 * 1_073_741_824;
/** About 150 bytes of memory each, once reported. */
const ENTRIES_MAX = 4_000_000;
const REWRITE_LINES = 4_096;
const READ_BYTES = 4 * 1_048_576;

const sync = promisify(fdatasync);

/** How a line begins. a: accepted, or running; r: running now, as it was accepted (written by earlier versions); d: done; R: reported. */
type Kind = "a" | "r" | "d" | "R";

interface Line {
  readonly bytes: Buffer;
  readonly of: HostEntries;
  readonly key: string;
  readonly before: Kept | undefined;
  /** null: nobody waits for it. */
  readonly wait: PromiseWithResolvers<void> | null;
  /** Behind it the entry is only remembered by its place. */
  readonly isReported: boolean;
}

/** An entry, or where in the file the result is that the platform has already. */
type Kept = JournalEntry | number;

interface HostEntries {
  /** As it stands in each of its lines. */
  readonly prefix: string;
  readonly kept: Map<string, Kept>;
  /** Where the results are that are not reported. */
  readonly places: Map<string, number>;
}

/**
 * One journal for all virtual agents of a process: whatever commands of theirs come in one turn are confirmed by one fdatasync. Results
 * that were reported stay on disk alone, so that millions of commands can be told apart.
 */
export class SharedJournal {
  readonly #log: Log;
  #fd: number | null;
  #end = 0;
  readonly #hosts = new Map<string, HostEntries>();
  #count = 0;
  #pending: Line[] = [];
  #unsynced: Line[] = [];
  #syncing: Promise<void> | null = null;
  #isToAppend = false;

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
    const of = this.#entriesOf(host);
    return {
      get: (key) => this.#get(of, key),
      // What was reported is nothing to go on with.
      entries: () => [...of.kept].filter((pair): pair is [string, JournalEntry] => typeof pair[1] === "object"),
      hasRoom: () => this.#end < BYTES_MAX && this.#count < ENTRIES_MAX,
      write: (key, entry) => this.#write(of, key, entry),
      note: (key, entry) => this.#note(of, key, entry),
      tend: () => undefined,
      // Agents of a process share its life: the file is closed after the last of them.
      close: () => this.#settled(),
    };
  }

  #entriesOf(host: string): HostEntries {
    const known = this.#hosts.get(host);
    if (known !== undefined) return known;
    const fresh = { prefix: encodeURIComponent(`${host}\t`), kept: new Map(), places: new Map() };
    this.#hosts.set(host, fresh);
    return fresh;
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

  #get({ kept }: HostEntries, key: string): JournalEntry | undefined {
    const found = kept.get(key);
    return typeof found === "number" ? this.#readReported(found) : found;
  }

  #set({ kept }: HostEntries, key: string, entry: Kept): void {
    const before = kept.size;
    kept.set(key, entry);
    this.#count += kept.size - before;
  }

  #write(of: HostEntries, key: string, entry: JournalEntry): Promise<void> {
    const wait = Promise.withResolvers<void>();
    this.#put(of, key, entry, wait);
    return wait.promise;
  }

  #note(of: HostEntries, key: string, entry: JournalEntry): void {
    if (this.#fd !== null) this.#put(of, key, entry, null);
  }

  #put(of: HostEntries, key: string, entry: JournalEntry, wait: Line["wait"]): void {
    const before = of.kept.get(key);
    const isReported = entry.state === "done" && entry.is_reported;
    const isKnown = isReported && typeof before === "object" && before.state === "done";
    if (isReported && !isKnown)
      this.#push({ of, key, bytes: encode("d", of, key, entry), before, wait: null, isReported: false });
    this.#set(of, key, entry);
    this.#push({ of, key, bytes: bytesOf(of, key, entry), before, wait, isReported });
  }

  /**
   * A result is in the file before anything that is sent in this turn leaves, which is when a kill can no longer take it back. What is
   * waited for, and what only saves work, goes with all else of this turn.
   */
  #push(line: Line): void {
    this.#pending.push(line);
    if (line.wait !== null || line.isReported) this.#syncing ??= this.#syncAll();
    else if (!this.#isToAppend) {
      this.#isToAppend = true;
      queueMicrotask(() => this.#append());
    }
  }

  #append(): void {
    this.#isToAppend = false;
    const lines = this.#pending;
    if (lines.length === 0) return;
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
    for (const line of lines) if (line.wait !== null) this.#unsynced.push(line);
  }

  async #syncAll(): Promise<void> {
    // All that comes in this turn of the event loop goes together.
    await new Promise((resolve) => setImmediate(resolve));
    for (this.#append(); this.#unsynced.length > 0; this.#append()) {
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
    // In the same turn as the look above: a line that is waited for and comes later begins a pass of its own.
    this.#syncing = null;
  }

  /** Of what is reported, only the place of its result is kept in memory. */
  #place(lines: readonly Line[]): void {
    let at = this.#end;
    for (const { of, key, bytes, isReported } of lines) {
      if (bytes[KIND_AT] === DONE) of.places.set(key, at);
      at += bytes.length;
      const place = isReported ? of.places.get(key) : undefined;
      const entry = of.kept.get(key);
      if (place === undefined || typeof entry !== "object" || entry.state !== "done" || !entry.is_reported) continue;
      this.#set(of, key, place);
      of.places.delete(key);
    }
  }

  #refuse(lines: readonly Line[], error: unknown): void {
    this.#log.error({ error: String(error), lines: lines.length }, "cannot write the journal of the simulation");
    // A whole line of it must not lie behind what is written next.
    ftruncateSync(this.#open(), this.#end);
    for (const { of, key, before, wait } of lines.toReversed()) {
      if (wait === null) continue;
      if (before !== undefined) this.#set(of, key, before);
      else if (of.kept.delete(key)) this.#count -= 1;
      wait.reject(error);
    }
  }

  // ——— loading

  #load(): void {
    for (const { kind, host, key, json, at, end } of linesOf(this.#open())) {
      this.#end = end;
      const of = this.#entriesOf(host);
      const before = of.kept.get(key);
      if (kind === "R") {
        const place = of.places.get(key);
        if (place !== undefined) this.#set(of, key, place);
      } else if (kind === "r") {
        if (typeof before === "object" && before.state !== "done")
          this.#set(of, key, JournalEntry.parse({ state: "running", command: before.command, ...JSON.parse(json) }));
      } else {
        this.#set(of, key, JournalEntry.parse(JSON.parse(json)));
        if (kind === "d") of.places.set(key, at);
      }
    }
  }

  /** Anew, without what is forgotten, so that restarts do not grow slower and slower. */
  #rewrite(path: string, nowUnixMs: number): void {
    const fresh = openSync(`${path}.new`, "w+", 0o600);
    let [end, saved, lines] = [0, 0, [] as Buffer[]];
    const save = (): void => {
      const bytes = Buffer.concat(lines);
      for (let done = 0; done < bytes.length; )
        done += writeSync(fresh, bytes, done, bytes.length - done, saved + done);
      [saved, lines] = [end, []];
    };
    for (const of of this.#hosts.values()) {
      of.places.clear();
      for (const [key, kept] of of.kept) {
        const entry = typeof kept === "number" ? this.#readReported(kept) : kept;
        if (entry === undefined || isForgotten(entry, nowUnixMs)) {
          of.kept.delete(key);
          this.#count -= 1;
          continue;
        }
        if (typeof kept === "number") of.kept.set(key, end);
        else if (entry.state === "done") of.places.set(key, end);
        for (const line of wholeOf(of, key, entry)) {
          lines.push(line);
          end += line.length;
        }
        if (lines.length >= REWRITE_LINES) save();
      }
    }
    save();
    fsyncSync(fresh);
    renameSync(`${path}.new`, path);
    closeSync(this.#open());
    this.#fd = fresh;
    this.#end = end;
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

/** Of nearly all ids: stands for itself. */
const PLAIN_ID = /^[\w.-]+$/;

/** CRC-32 in hex, a space, the kind, a space, host, tab and id (percent-encoded: without blanks), a space, JSON, a line end. */
const encode = (kind: Kind, { prefix }: HostEntries, key: string, value: unknown): Buffer => {
  const id = PLAIN_ID.test(key) ? key : encodeURIComponent(key);
  const text = `${kind} ${prefix}${id} ${JSON.stringify(value)}`;
  return Buffer.from(`${crcHex(text)} ${text}\n`, "utf8");
};

const bytesOf = (of: HostEntries, key: string, entry: JournalEntry): Buffer => {
  if (entry.state !== "done") return encode("a", of, key, entry);
  return entry.is_reported ? encode("R", of, key, null) : encode("d", of, key, entry);
};

/** All that has to be there when nothing was written of it before. */
const wholeOf = (of: HostEntries, key: string, entry: JournalEntry): Buffer[] => {
  const isReported = entry.state === "done" && entry.is_reported;
  return isReported ? [encode("d", of, key, entry), encode("R", of, key, null)] : [bytesOf(of, key, entry)];
};

interface ReadLine {
  readonly kind: Kind;
  readonly host: string;
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

const decode = (line: string): Omit<ReadLine, "at" | "end"> | null => {
  const text = line.slice(KIND_AT);
  if (line.slice(0, CRC_CHARS) !== crcHex(text)) return null;
  const nameEnd = text.indexOf(" ", 2);
  const name = decodeURIComponent(text.slice(2, nameEnd));
  const hostEnd = name.indexOf("\t");
  return {
    kind: text.charAt(0) as Kind,
    host: name.slice(0, hostEnd),
    key: name.slice(hostEnd + 1),
    json: text.slice(nameEnd + 1),
  };
};
