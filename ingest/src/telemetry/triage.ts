import {
  BatchError,
  type BatchHeader,
  type BusMessage,
  decodeBatch,
  SCHEMAS_OF_TOPIC,
  type TelemetryTopic,
} from "@homeostat/schemas";
import type { DeadReason } from "../ingest-counts.ts";

/** A message and the header that its value carries, or why it has none. */
export type ReadMessage =
  | { readonly message: BusMessage; readonly value: Uint8Array; readonly header: BatchHeader }
  | { readonly message: BusMessage; readonly header: null; readonly refusal: string };

/**
 * Unpacks the batch to look at it, and passes it on as it came. The look is worth its tenth of the engine's own work: the engine
 * takes a block with other columns, fewer rows or a cut end for a shorter insert, or says that it is out of memory or that a query
 * is empty, which by its code would be tried again for ever; and in one body such a block reads its neighbours as its own.
 */
export const readMessage = (message: BusMessage): ReadMessage => {
  if (message.value === null) return { message, header: null, refusal: "truncated: the message has no value" };
  try {
    return { message, value: message.value, header: decodeBatch(message.value).header };
  } catch (error) {
    if (!(error instanceof BatchError)) throw error;
    return { message, header: null, refusal: `${error.code}: ${error.message}` };
  }
};

export interface Accepted {
  readonly kind: "accepted";
  readonly message: BusMessage;
  readonly value: Uint8Array;
  readonly header: BatchHeader;
}

export interface Dead {
  readonly kind: "dead";
  readonly message: BusMessage;
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
  return messages.map((read) => {
    if (read.header === null) return dead(read, "malformed", read.refusal);
    const { header, message, value } = read;
    const before = last.get(header.producer) ?? known.get(header.producer);
    if (before !== undefined && header.sequence <= before) return { kind: "duplicate", message, header };
    last.set(header.producer, header.sequence);
    const wrongSchema = schemaRefusal(header, message);
    if (wrongSchema !== null) return dead(read, "wrong_schema", wrongSchema);
    const outside = timeRefusal(header, message.timestampUnixMs, limits);
    if (outside !== null) return dead(read, outside.reason, outside.detail);
    return { kind: "accepted", message, value, header };
  });
};

const dead = ({ message, header }: ReadMessage, reason: DeadReason, detail: string): Dead => ({
  kind: "dead",
  message,
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

const timeRefusal = (
  header: BatchHeader,
  takenAtUnixMs: number,
  { lateMaxMs, futureMaxMs }: TriageLimits,
): { reason: "late" | "future"; detail: string } | null => {
  if (header.time_min_unix_ms < takenAtUnixMs - lateMaxMs) {
    const detail = `its oldest row is of ${iso(header.time_min_unix_ms)}, the bus took it at ${iso(takenAtUnixMs)}`;
    return { reason: "late", detail };
  }
  if (header.time_max_unix_ms > takenAtUnixMs + futureMaxMs) {
    const detail = `its newest row is of ${iso(header.time_max_unix_ms)}, the bus took it at ${iso(takenAtUnixMs)}`;
    return { reason: "future", detail };
  }
  return null;
};
