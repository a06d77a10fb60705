import { createHash } from "node:crypto";
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { StringDecoder } from "node:string_decoder";
import { z } from "zod";

const MIB = 1_048_576;

export const TranscriptsConfig = z.strictObject({
  /** What is typed stands in the transcript, too: also passwords, which the screen does not show. */
  record_input: z.boolean().default(true),
  /** A session is ended when its transcript has grown to this. */
  session_bytes_max: z
    .int()
    .min(MIB)
    .default(64 * MIB),
  /** Of all transcripts; the oldest give way. */
  bytes_max: z
    .int()
    .min(MIB)
    .default(1024 * MIB),
  count_max: z.int().min(1).max(100_000).default(1_000),
});
export type TranscriptsConfig = z.infer<typeof TranscriptsConfig>;

/** What the first line says beside what asciicast wants; players leave it alone. */
const Opened = z.strictObject({
  session_id: z.string(),
  host: z.string(),
  opened_by: z.string(),
  opened_at_unix_ms: z.number(),
});
export type Opened = z.infer<typeof Opened>;
const Header = z.looseObject({ version: z.literal(2), homeostat: Opened });

export interface Recording {
  output(data: Buffer): void;
  input(data: Buffer): void;
  resize(columns: number, rows: number): void;
  /** A note at this moment, such as output that was lost. */
  marker(label: string): void;
  readonly bytes: number;
  /** On disk when it returns. */
  close(): void;
}

/** Names of files are made of it. */
const SESSION_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/;
const WRITING = ".cast.part";
const SEALED = ".cast";

/**
 * One session, appended as it comes, in asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/): a crash leaves a file that can be
 * played up to there. Bytes that are no UTF-8 become U+FFFD, since the format is JSON.
 */
const record = (
  path: string,
  { columns, rows, term, ...opened }: Opened & { columns: number; rows: number; term: string },
  { recordsInput, now }: { readonly recordsInput: boolean; readonly now: () => number },
): Recording => {
  const fd = openSync(path, "ax", 0o600);
  const decoders = { o: new StringDecoder("utf8"), i: new StringDecoder("utf8") };
  let bytes = 0;
  const line = (value: unknown): void => {
    const text = `${JSON.stringify(value)}\n`;
    // All of it, or an error: a disk that is nearly full takes the beginning.
    writeFileSync(fd, text);
    bytes += Buffer.byteLength(text);
  };
  const event = (code: "o" | "i" | "r" | "m", text: string): void => {
    if (text !== "") line([Math.max(0, now() - opened.opened_at_unix_ms) / 1000, code, text]);
  };
  line({
    version: 2,
    width: columns,
    height: rows,
    timestamp: Math.floor(opened.opened_at_unix_ms / 1000),
    title: `${opened.opened_by} on ${opened.host}`,
    env: { TERM: term },
    homeostat: Opened.parse(opened),
  });
  return {
    output: (data) => event("o", decoders.o.write(data)),
    input: (data) => {
      if (recordsInput) event("i", decoders.i.write(data));
    },
    resize: (c, r) => event("r", `${c}x${r}`),
    marker: (label) => event("m", label),
    get bytes() {
      return bytes;
    },
    close: () => {
      event("o", decoders.o.end());
      event("i", decoders.i.end());
      fsyncSync(fd);
      closeSync(fd);
    },
  };
};

export interface StoredTranscript extends Opened {
  readonly bytes: number;
  readonly isSealed: boolean;
}

export interface Transcripts {
  begin(opened: Opened & { columns: number; rows: number; term: string }): Recording;
  /** Newest first. */
  list(): readonly StoredTranscript[];
  /** null where there is none. */
  read(sessionId: string): { readonly stored: StoredTranscript; readonly text: string } | null;
  /** Of the file as it stands, in hex; null where there is none. */
  digest(sessionId: string): Promise<string | null>;
  /** From now on it counts as whole. */
  seal(sessionId: string): void;
  /** Removes the oldest sealed ones beyond the caps; says which. */
  tidy(): readonly Opened[];
}

/** The first line of a transcript is far shorter. */
const HEADER_BYTES_MAX = 16_384;

/** What stands in a transcript's first line, and no more is read of it: all of them are looked at every few seconds. null for a file that is not one. */
const headerOf = (path: string): Opened | null => {
  const fd = openSync(path, "r");
  const head = Buffer.alloc(HEADER_BYTES_MAX);
  try {
    const [first = ""] = head.toString("utf8", 0, readSync(fd, head)).split("\n", 1);
    return Header.parse(JSON.parse(first)).homeostat;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return null;
    throw error;
  } finally {
    closeSync(fd);
  }
};

export const createTranscripts = ({
  dir,
  config,
  now,
}: {
  readonly dir: string;
  readonly config: TranscriptsConfig;
  readonly now: () => number;
}): Transcripts => {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const pathOf = (sessionId: string, ending: string): string => {
    if (!SESSION_ID.test(sessionId)) throw new Error("no session has such an id");
    return join(dir, `${sessionId}${ending}`);
  };
  const find = (sessionId: string): string | null =>
    SESSION_ID.test(sessionId)
      ? ([SEALED, WRITING].map((ending) => pathOf(sessionId, ending)).find((path) => existsSync(path)) ?? null)
      : null;
  const storedAt = (path: string): StoredTranscript | null => {
    const opened = headerOf(path);
    return opened === null ? null : { ...opened, bytes: statSync(path).size, isSealed: !path.endsWith(WRITING) };
  };
  const list = (): readonly StoredTranscript[] =>
    readdirSync(dir)
      .filter((name) => name.endsWith(SEALED) || name.endsWith(WRITING))
      .flatMap((name) => storedAt(join(dir, name)) ?? [])
      .toSorted((a, b) => b.opened_at_unix_ms - a.opened_at_unix_ms);
  return {
    begin: (opened) => record(pathOf(opened.session_id, WRITING), opened, { recordsInput: config.record_input, now }),
    list,
    read: (sessionId) => {
      const path = find(sessionId);
      const stored = path === null ? null : storedAt(path);
      return path === null || stored === null ? null : { stored, text: readFileSync(path, "utf8") };
    },
    digest: async (sessionId) => {
      const path = find(sessionId);
      if (path === null) return null;
      const hash = createHash("sha256");
      for await (const chunk of createReadStream(path)) hash.update(chunk);
      return hash.digest("hex");
    },
    seal: (sessionId) => renameSync(pathOf(sessionId, WRITING), pathOf(sessionId, SEALED)),
    tidy: () => {
      const removed: Opened[] = [];
      let [bytes, count] = [0, 0];
      for (const one of list()) {
        bytes += one.bytes;
        count += 1;
        if (!one.isSealed || (bytes <= config.bytes_max && count <= config.count_max)) continue;
        rmSync(pathOf(one.session_id, SEALED), { force: true });
        const { session_id, host, opened_by, opened_at_unix_ms } = one;
        removed.push({ session_id, host, opened_by, opened_at_unix_ms });
      }
      return removed;
    },
  };
};
