import {
  closeSync,
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
import { crc32 } from "node:zlib";
import { Command, CommandResult, type Log } from "@homeostat/schemas";
import { z } from "zod";

/** What is remembered of one command; the newest line of a command replaces those before. */
export const JournalEntry = z.discriminatedUnion("state", [
  z.strictObject({ state: z.literal("accepted"), command: Command }),
  z.strictObject({
    state: z.literal("running"),
    command: Command,
    started_at_unix_ms: z.int(),
    child: z.strictObject({ pid: z.int().positive(), start_ticks: z.int() }).nullable(),
  }),
  z.strictObject({
    state: z.literal("done"),
    not_after_unix_ms: z.int(),
    result: CommandResult,
    is_reported: z.boolean(),
  }),
]);
export type JournalEntry = z.infer<typeof JournalEntry>;

/** When all of them may still be delivered again, further commands are refused. */
export const JOURNAL_ENTRIES_MAX = 2_000;
/** Kept beyond a command's expiry, for clocks that disagree. */
const KEEP_AFTER_EXPIRY_MS = 3_600_000;
const COMPACT_BYTES = 4 * 1_048_576;
/** Written ahead as zeros: a full disk, which a command may be about to clear, must not keep the command from being written down. */
const RESERVE_BYTES = 262_144;
/** Of a reported result. */
const KEPT_OUTPUT_CHARS = 4_096;

/** Makes each command run at most once, ever: what is about to happen is on disk before it happens. */
export class Journal {
  readonly #path: string;
  readonly #log: Log;
  readonly #entries = new Map<string, JournalEntry>();
  /** null once closed: the number may belong to another file by then. */
  #fd: number | null;
  #end = 0;
  #size = 0;

  private constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
    closeSync(openSync(path, "a+", 0o600));
    this.#fd = openSync(path, "r+");
    this.#size = fstatSync(this.#fd).size;
  }

  static open(options: { dir: string; log: Log; nowUnixMs: number }): Journal {
    mkdirSync(options.dir, { recursive: true, mode: 0o700 });
    const journal = new Journal(join(options.dir, "commands.journal"), options.log);
    journal.#load();
    journal.#forgetExpired(options.nowUnixMs);
    journal.#reserve();
    return journal;
  }

  get(commandId: string): JournalEntry | undefined {
    return this.#entries.get(commandId);
  }

  entries(): [string, JournalEntry][] {
    return [...this.#entries];
  }

  hasRoom(nowUnixMs: number): boolean {
    if (this.#entries.size >= JOURNAL_ENTRIES_MAX) this.#forgetExpired(nowUnixMs);
    return this.#entries.size < JOURNAL_ENTRIES_MAX;
  }

  /** Durable when it returns; throws when the disk will not take it. */
  write(commandId: string, entry: JournalEntry): void {
    this.#append(commandId, entry);
    fdatasyncSync(this.#open());
    this.#entries.set(commandId, entry);
  }

  /** In memory alone, when the disk will not take it. */
  remember(commandId: string, entry: JournalEntry): void {
    this.#entries.set(commandId, entry);
  }

  /** Survives a kill, though not a power cut: for what only saves work. */
  note(commandId: string, entry: JournalEntry): void {
    this.#append(commandId, entry);
    this.#entries.set(commandId, entry);
  }

  /** Once in a while: forgets what cannot come again, and writes the file anew when it has grown. */
  tend(nowUnixMs: number): void {
    this.#forgetExpired(nowUnixMs);
    this.#reserve();
    if (this.#end > COMPACT_BYTES) this.#compact();
  }

  close(): void {
    closeSync(this.#open());
    this.#fd = null;
  }

  #open(): number {
    if (this.#fd === null) throw new Error("the journal of commands is closed");
    return this.#fd;
  }

  #append(commandId: string, entry: JournalEntry): void {
    const line = encode(commandId, entry);
    for (let done = 0; done < line.length; )
      done += writeSync(this.#open(), line, done, line.length - done, this.#end + done);
    this.#end += line.length;
    this.#size = Math.max(this.#size, this.#end);
  }

  #load(): void {
    const bytes = readFileSync(this.#path);
    for (let at = 0; at < bytes.length && bytes[at] !== 0; ) {
      const end = bytes.indexOf(0x0a, at);
      const decoded = end === -1 ? null : decode(bytes.subarray(at, end));
      if (decoded === null) this.#log.warn({ at }, "a torn or corrupt line in the journal of commands");
      else this.#entries.set(decoded.commandId, decoded.entry);
      if (end === -1) break;
      at = end + 1;
      this.#end = at;
    }
    if (this.#end < bytes.length) this.#clearRest(bytes);
  }

  /** A torn line must not lie behind the next one. */
  #clearRest(bytes: Buffer): void {
    const rest = bytes.subarray(this.#end);
    if (rest.every((byte) => byte === 0)) return;
    writeSync(this.#open(), Buffer.alloc(rest.length), 0, rest.length, this.#end);
  }

  #forgetExpired(nowUnixMs: number): void {
    for (const [commandId, entry] of this.#entries)
      if (entry.state === "done" && entry.is_reported && entry.not_after_unix_ms + KEEP_AFTER_EXPIRY_MS < nowUnixMs)
        this.#entries.delete(commandId);
  }

  #reserve(): void {
    const missing = this.#end + RESERVE_BYTES - this.#size;
    if (missing < RESERVE_BYTES / 2) return;
    try {
      writeSync(this.#open(), Buffer.alloc(missing), 0, missing, this.#size);
      fdatasyncSync(this.#open());
      this.#size += missing;
    } catch (error) {
      this.#log.warn({ error: String(error) }, "no room to reserve for the journal of commands");
    }
  }

  #compact(): void {
    const path = `${this.#path}.new`;
    try {
      const fd = openSync(path, "w+", 0o600);
      const bytes = Buffer.concat([...this.#entries].map(([id, entry]) => encode(id, shorten(entry))));
      const withReserve = Buffer.concat([bytes, Buffer.alloc(RESERVE_BYTES)]);
      for (let done = 0; done < withReserve.length; ) done += writeSync(fd, withReserve, done);
      fsyncSync(fd);
      renameSync(path, this.#path);
      syncDirectory(dirname(this.#path));
      closeSync(this.#open());
      this.#fd = fd;
      this.#end = bytes.length;
      this.#size = withReserve.length;
    } catch (error) {
      // The old file is whole: it grows until there is room for a new one.
      this.#log.warn({ error: String(error) }, "cannot write the journal of commands anew");
    }
  }
}

const shorten = (entry: JournalEntry): JournalEntry => {
  if (entry.state !== "done" || !entry.is_reported) return entry;
  const { stdout, stderr } = entry.result;
  const isCut = stdout.length > KEPT_OUTPUT_CHARS || stderr.length > KEPT_OUTPUT_CHARS;
  const result = {
    ...entry.result,
    stdout: stdout.slice(0, KEPT_OUTPUT_CHARS),
    stderr: stderr.slice(0, KEPT_OUTPUT_CHARS),
  };
  return { ...entry, result: { ...result, output_truncated: result.output_truncated || isCut } };
};

/** CRC-32 in hex, a space, JSON, a line end. JSON writes no line end and no zero byte of its own. */
const encode = (commandId: string, entry: JournalEntry): Buffer => {
  const json = JSON.stringify([commandId, entry]);
  return Buffer.from(`${crc32(json).toString(16).padStart(8, "0")} ${json}\n`, "utf8");
};

const decode = (line: Buffer): { commandId: string; entry: JournalEntry } | null => {
  const json = line.subarray(9);
  if (line.toString("latin1", 0, 8) !== crc32(json).toString(16).padStart(8, "0")) return null;
  const parsed = z.tuple([z.string(), JournalEntry]).safeParse(JSON.parse(json.toString("utf8")));
  return parsed.success ? { commandId: parsed.data[0], entry: parsed.data[1] } : null;
};

const syncDirectory = (path: string): void => {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};
