import { crc32 } from "node:zlib";
import { Command, CommandResult } from "@homeostat/schemas";
import { z } from "zod";

/** What is remembered of one command; the newest replaces those before. */
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
export type DoneEntry = Extract<JournalEntry, { state: "done" }>;

/**
 * Makes each command run at most once, ever: what is about to happen is durable before it happens. Keyed by command_id; many agents in one
 * process may share one by adding their host to the key.
 */
export interface Journal {
  get(key: string): JournalEntry | undefined;
  /** What earlier agents left; asked once, at the start. */
  entries(): Iterable<[string, JournalEntry]>;
  /** Whether another command can be remembered, or the end of one that never begins (refused, or cancelled before it came): of those, as many again. */
  hasRoom(nowUnixMs: number, of?: "command" | "end"): boolean;
  /** Whether what was valid until then may have been here and be forgotten: only by a clock that was far ahead, since it has to have expired before. */
  mayHaveForgotten?(notAfterUnixMs: number): boolean;
  /** Seen by `get` at once, durable when it resolves. Rejects when the disk will not take it: then it is as if it had not been written. */
  write(key: string, entry: JournalEntry): Promise<void>;
  /** Remembered in any case, also by the next agent unless the disk will not take it or the power fails: for what only saves work. */
  note(key: string, entry: JournalEntry): void;
  /** Once in a while: forgets what cannot come again. */
  tend(nowUnixMs: number): void;
  /** Resolves when all that was written is durable. */
  close(): Promise<void>;
}

/** CRC-32 in eight hex digits: how a line of a journal begins. By halves, which are small integers: of a large one it takes four times as long. */
export const crcHex = (data: string | Buffer): string => {
  const crc = crc32(data);
  return hex4(crc >>> 16) + hex4(crc & 0xffff);
};

const hex4 = (half: number): string => half.toString(16).padStart(4, "0");

/** Kept beyond a command's expiry, for clocks that disagree. */
const KEEP_AFTER_EXPIRY_MS = 3_600_000;
/** Of a result that the platform has. */
export const KEPT_OUTPUT_CHARS = 4_096;

export const isForgotten = (entry: JournalEntry, nowUnixMs: number): boolean =>
  entry.state === "done" && entry.is_reported && entry.not_after_unix_ms + KEEP_AFTER_EXPIRY_MS < nowUnixMs;

/** With no more output than `chars` of each stream. */
export const shorten = (entry: DoneEntry, chars: number): DoneEntry => {
  const { stdout, stderr } = entry.result;
  if (stdout.length <= chars && stderr.length <= chars) return entry;
  const result = { ...entry.result, stdout: stdout.slice(0, chars), stderr: stderr.slice(0, chars) };
  return { ...entry, result: { ...result, output_truncated: true } };
};
