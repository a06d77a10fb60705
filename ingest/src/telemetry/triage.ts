import {
  BatchError,
  type BatchHeader,
  type BusMessage,
  decodeBatch,
  decodeHeader,
  SCHEMAS_OF_TOPIC,
  type TelemetryTopic,
} from "@homeostat/schemas";
import type { DeadReason } from "../ingest-counts.ts";
import { timeLie } from "./block-times.ts";
import { REPLAY_HEADER } from "./dead-letter.ts";
import type { Piece } from "./rebatch.ts";
import { splitBatch } from "./split-batch.ts";

/** A message and the header that its value carries, or why it has none that can be trusted; `claimed` tells at least whose it is. */
export type ReadMessage =
  | { readonly message: BusMessage; readonly value: Uint8Array; readonly header: BatchHeader }
  | {
      readonly message: BusMessage;
      readonly header: null;
      readonly claimed: BatchHeader | null;
      readonly refusal: string;
    };

/**
 * Unpacks the batch to look at it, and passes it on as it came. The look is worth its tenth of the engine's own work: the engine
 * takes a block with other columns, fewer rows or a cut end for a shorter insert, or says that it is out of memory or that a query
 * is empty, which by its code would be tried again for ever; and in one body such a block reads its neighbours as its own.
 */
export const readMessage = (message: BusMessage): ReadMessage => {
  const { value } = message;
  if (value === null) return { message, header: null, claimed: null, refusal: "truncated: the message has no value" };
  try {
    const batch = decodeBatch(value);
    const lie = timeLie(batch);
    batch.release();
    if (lie === null) return { message, value, header: batch.header };
    return { message, header: null, claimed: batch.header, refusal: `lying_header: ${lie}` };
  } catch (error) {
    if (!(error instanceof BatchError)) throw error;
    return { message, header: null, claimed: claimedHeader(value), refusal: `${error.code}: ${error.message}` };
  }
};

/** The header of a value whose block cannot be read; null where the header cannot be read either. */
const claimedHeader = (value: Uint8Array): BatchHeader | null => {
  try {
    return decodeHeader(value);
  } catch (error) {
    if (error instanceof BatchError) return null;
    throw error;
  }
};

export interface Accepted {
  readonly kind: "accepted";
  readonly message: BusMessage;
  /** The message's own value, or the rows of it that are inside the fences. */
  readonly value: Uint8Array;
  readonly header: BatchHeader;
}

export interface Dead {
  readonly kind: "dead";
  readonly message: BusMessage;
  /** What goes to the dead letters: the message's own value, or the rows of it that were refused. */
  readonly value: Uint8Array | null;
  /** Of `value`, as far as it can be read. */
  readonly header: BatchHeader | null;
  readonly reason: DeadReason;
  readonly detail: string;
}

export interface Duplicate {
  readonly kind: "duplicate";
  readonly message: BusMessage;
  readonly header: BatchHeader;
}

export type Decision = Accepted | Dead | Duplicate;

export interface TriageLimits {
  readonly lateMaxMs: number;
  readonly futureMaxMs: number;
}

/**
 * What becomes of each message of a range. The same range must be decided the same way when it is redone after a crash, so
 * nothing here looks at a clock: lateness is measured against the time at which the bus took the message, and `known` (the last
 * sequence by producer) is what the ledger says before the range.
 */
export const triage = (
  messages: readonly ReadMessage[],
  known: ReadonlyMap<string, number>,
  limits: TriageLimits,
): readonly Decision[] => {
  const last = new Map<string, number>();
  return messages.flatMap((read): readonly Decision[] => {
    const { message } = read;
    const header = read.header ?? read.claimed;
    if (header !== null) {
      const before = last.get(header.producer) ?? known.get(header.producer);
      if (before !== undefined && header.sequence <= before) return [{ kind: "duplicate", message, header }];
      last.set(header.producer, header.sequence);
    }
    if (read.header === null) return [dead(message, header, "malformed", read.refusal)];
    const wrongSchema = schemaRefusal(read.header, message);
    if (wrongSchema !== null) return [dead(message, header, "wrong_schema", wrongSchema)];
    return fenced({ kind: "accepted", message, value: read.value, header: read.header }, limits);
  });
};

const dead = (message: BusMessage, header: BatchHeader | null, reason: DeadReason, detail: string): Dead => ({
  kind: "dead",
  message,
  value: message.value,
  header,
  reason,
  detail,
});

const schemaRefusal = (header: BatchHeader, message: BusMessage): string | null => {
  const schemas = SCHEMAS_OF_TOPIC[message.topic as TelemetryTopic];
  return schemas.includes(header.schema) ? null : `${header.schema} does not belong on ${message.topic}`;
};

const iso = (unixMs: number): string =>
  unixMs <= 8_640_000_000_000_000 ? new Date(unixMs).toISOString() : `${unixMs} ms`;

/** A replayed dead letter says so in its message: a person wants its rows in, however old they are. */
const isReplay = ({ headers }: BusMessage): boolean => headers[REPLAY_HEADER] !== undefined;

/** The headers tell whether anything is outside, and nearly always nothing is; only then is the batch opened again. */
const fenced = (accepted: Accepted, { lateMaxMs, futureMaxMs }: TriageLimits): readonly Decision[] => {
  const { message, header, value } = accepted;
  const takenAt = message.timestampUnixMs;
  const oldestUnixMs = isReplay(message) ? 0 : takenAt - lateMaxMs;
  const newestUnixMs = takenAt + futureMaxMs;
  const isLate = header.time_min_unix_ms < oldestUnixMs;
  if (!isLate && header.time_max_unix_ms <= newestUnixMs) return [accepted];
  const split = splitBatch(value, { oldestUnixMs, newestUnixMs });
  if (split === null) {
    const reason = isLate ? "late" : "future";
    return [dead(message, header, reason, outsideDetail(reason, header, takenAt))];
  }
  const letters = (["late", "future"] as const).flatMap((reason) =>
    split[reason].map((piece): Dead => {
      const detail = `${piece.header.row_count} of ${header.row_count} rows: ${outsideDetail(reason, piece.header, takenAt)}`;
      return { kind: "dead", message, ...piece, reason, detail };
    }),
  );
  return [...letters, ...joined(message, split.inside)];
};

/** zstd streams can be put one behind the other, so pieces are one batch to an insert. */
const joined = (message: BusMessage, pieces: readonly Piece[]): readonly Accepted[] => {
  const [first] = pieces;
  if (first === undefined) return [];
  const row_count = pieces.reduce((rows, { header }) => rows + header.row_count, 0);
  const value = pieces.length === 1 ? first.value : Buffer.concat(pieces.map((piece) => piece.value));
  return [{ kind: "accepted", message, value, header: { ...first.header, row_count } }];
};

const outsideDetail = (reason: "late" | "future", header: BatchHeader, takenAtUnixMs: number): string =>
  reason === "late"
    ? `its oldest row is of ${iso(header.time_min_unix_ms)}, the bus took it at ${iso(takenAtUnixMs)}`
    : `its newest row is of ${iso(header.time_max_unix_ms)}, the bus took it at ${iso(takenAtUnixMs)}`;
