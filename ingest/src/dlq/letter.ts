import { BatchError, type BatchHeader, type BusMessage, decodeBatch, decodeHeader } from "@homeostat/schemas";
import { LetterHeaders, REPLAY_HEADER } from "../telemetry/dead-letter.ts";
import { rowReader } from "../telemetry/rebatch.ts";

/** Where a letter stands; written `topic/partition/offset`. */
export interface LetterId {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

const ID = /^([\w.-]{1,249})\/(\d{1,9})\/(\d{1,15})$/;

export const letterId = ({ topic, partition, offset }: LetterId): string => `${topic}/${partition}/${offset}`;

/** null for what is no id. */
export const parseLetterId = (text: string): LetterId | null => {
  const [, topic, partition, offset] = ID.exec(text) ?? [];
  return topic === undefined ? null : { topic, partition: Number(partition), offset: Number(offset) };
};

/** A refused message, without its value. */
export interface Letter {
  readonly id: string;
  readonly reason: string;
  readonly detail: string;
  readonly at_unix_ms: number;
  readonly source_topic: string;
  readonly source_partition: number;
  readonly source_offset: number;
  readonly key: string;
  /** The letter that the refused message was a replay of; null when it was none. */
  readonly replay_of: string | null;
  readonly bytes: number;
  /** As the value's own header says; null where it cannot be read. */
  readonly schema: string | null;
  readonly producer: string | null;
  readonly sequence: number | null;
  readonly rows: number | null;
}

/** A letter's value: rows by column where it can be read (64-bit numbers as text), else its first bytes. */
export type LetterContent =
  | { readonly kind: "rows"; readonly rows: readonly Readonly<Record<string, unknown>>[]; readonly more: number }
  | { readonly kind: "bytes"; readonly hex: string; readonly more: number; readonly problem: string };

export const ROWS_SHOWN_MAX = 100;
export const BYTES_SHOWN_MAX = 256;

const headerOf = (value: Uint8Array | null): BatchHeader | null => {
  if (value === null) return null;
  try {
    return decodeHeader(value);
  } catch (error) {
    if (error instanceof BatchError) return null;
    throw error;
  }
};

/** What stands on a dead-letter topic need not have been written by us: what is missing reads as unknown. */
export const letterOf = (message: BusMessage): Letter => {
  const { topic, partition, offset, key, value, headers, timestampUnixMs } = message;
  const told = LetterHeaders.safeParse(headers);
  const header = headerOf(value);
  return {
    id: letterId({ topic, partition, offset }),
    reason: told.data?.reason ?? "unknown",
    detail: told.data?.detail ?? "its headers are not those of a dead letter",
    at_unix_ms: told.data?.at_unix_ms ?? timestampUnixMs,
    source_topic: told.data?.source_topic ?? "",
    source_partition: told.data?.source_partition ?? 0,
    source_offset: told.data?.source_offset ?? 0,
    key: key ?? "",
    replay_of: told.data?.[REPLAY_HEADER] ?? null,
    bytes: value?.length ?? 0,
    schema: header?.schema ?? null,
    producer: header?.producer ?? null,
    sequence: header?.sequence ?? null,
    rows: header?.row_count ?? null,
  };
};

const readable = (cell: unknown): unknown => {
  if (typeof cell === "bigint") return String(cell);
  if (typeof cell === "number" && !Number.isFinite(cell)) return String(cell);
  return cell instanceof Float64Array ? [...cell].map(readable) : cell;
};

export const contentOf = (value: Uint8Array | null): LetterContent => {
  const bytes = value ?? new Uint8Array();
  try {
    const batch = decodeBatch(bytes);
    const read = rowReader(batch);
    const rows = Array.from({ length: Math.min(ROWS_SHOWN_MAX, batch.rowCount) }, (_, row) =>
      Object.fromEntries(Object.entries(read(row)).map(([name, cell]) => [name, readable(cell)])),
    );
    return { kind: "rows", rows, more: batch.rowCount - rows.length };
  } catch (error) {
    if (!(error instanceof BatchError)) throw error;
    const head = bytes.subarray(0, BYTES_SHOWN_MAX);
    const problem = `${error.code}: ${error.message}`;
    return { kind: "bytes", hex: Buffer.from(head).toString("hex"), more: bytes.length - head.length, problem };
  }
};
