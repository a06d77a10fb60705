import { crc32 } from "node:zlib";
import { z } from "zod";

/**
 * One record of a segment, little-endian:
 * u32 magic, u8 kind, 3 zero bytes, u32 meta length, u32 value length, u64 sequence, u32 rows, u64 rows appended ever (this record's included),
 * u32 CRC-32 of all that and of what follows, meta (JSON), value.
 */
const MAGIC = 0x4c50_5348;
export const HEADER_BYTES = 40;
const CRC_AT = 36;
export const META_BYTES_MAX = 1_048_576;
const VALUE_BYTES_MAX = 1_048_576;
export const RECORD_BYTES_MAX = HEADER_BYTES + META_BYTES_MAX + VALUE_BYTES_MAX;

export const Marks = z.record(z.string(), z.string().nullable());
const Count = z.int().min(0);
const Reasons = z.record(z.string(), Count);

/** Rows by topic. */
const Counts = z.record(z.string(), Count);
export type Counts = z.infer<typeof Counts>;
const TopicAcks = z.record(
  z.string(),
  z.strictObject({
    appended: Count,
    consumed: Count,
    delivered: Count,
    dropped: Reasons,
    rejected: Reasons,
    // Spools of older agents do not say it: all that they delivered was their producer's.
    sequence: Count.default(0),
    own: Count.optional(),
  }),
);
export type TopicAcks = z.infer<typeof TopicAcks>;

/** `through`: rows of each topic appended since the spool was made, this record's included. */
export const DataMeta = z.strictObject({ topic: z.string(), marks: Marks, through: Counts.default({}) });
/** Absolute, so that the newest one is enough. */
export const AckMeta = z.strictObject({
  consumed: Count,
  acked_sequence: Count,
  delivered: Count,
  dropped: Reasons,
  rejected: Reasons,
  topics: TopicAcks.default({}),
});
export type AckMeta = z.infer<typeof AckMeta>;
/** Stands at the head of every segment: older segments can go without taking knowledge with them. */
export const SnapshotMeta = z.strictObject({
  ...AckMeta.shape,
  producer: z.string(),
  /** Sequences below are another producer's. */
  producer_since: Count.default(0),
  next_sequence: Count,
  appended: Count,
  marks: z.record(z.string(), z.string()),
  through: Counts.default({}),
  sealed: z.array(z.strictObject({ index: Count, appended_through: Count, through: Counts.default({}) })),
});
export type SnapshotMeta = z.infer<typeof SnapshotMeta>;

/** Marks that stand for no rows. */
const MarksMeta = z.union([
  z.strictObject({ marks: Marks, through: Counts }),
  // As older agents wrote them.
  Marks.transform((marks) => ({ marks, through: {} as Counts })),
]);

const META = { data: DataMeta, ack: AckMeta, snapshot: SnapshotMeta, marks: MarksMeta } as const;
export type RecordKind = keyof typeof META;
const KINDS = Object.keys(META) as readonly RecordKind[];

export interface RecordOf<Kind extends RecordKind> {
  readonly kind: Kind;
  readonly sequence: number;
  readonly rows: number;
  /** Rows appended since the spool was made, this record's included: a hole between two records says how many rows are lost in it. */
  readonly appendedThrough: number;
  readonly meta: z.infer<(typeof META)[Kind]>;
  readonly value: Buffer;
}
export type SegmentRecord = { [Kind in RecordKind]: RecordOf<Kind> }[RecordKind];

const EMPTY = Buffer.alloc(0);

export const encodeRecord = <Kind extends RecordKind>(
  record: Omit<RecordOf<Kind>, "value"> & { readonly value?: Uint8Array },
): Buffer => {
  const meta = Buffer.from(JSON.stringify(record.meta), "utf8");
  const value = record.value ?? EMPTY;
  const bytes = Buffer.alloc(HEADER_BYTES + meta.length + value.length);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt8(KINDS.indexOf(record.kind), 4);
  bytes.writeUInt32LE(meta.length, 8);
  bytes.writeUInt32LE(value.length, 12);
  bytes.writeBigUInt64LE(BigInt(record.sequence), 16);
  bytes.writeUInt32LE(record.rows, 24);
  bytes.writeBigUInt64LE(BigInt(record.appendedThrough), 28);
  bytes.set(meta, HEADER_BYTES);
  bytes.set(value, HEADER_BYTES + meta.length);
  bytes.writeUInt32LE(checksum(bytes, 0, bytes.length), CRC_AT);
  return bytes;
};

/** The record at `at` and where the next begins; null when there is no whole, sound record. The value is a view. */
export const decodeRecord = (bytes: Buffer, at: number): { record: SegmentRecord; next: number } | null => {
  if (at + HEADER_BYTES > bytes.length || bytes.readUInt32LE(at) !== MAGIC) return null;
  const metaLength = bytes.readUInt32LE(at + 8);
  const valueLength = bytes.readUInt32LE(at + 12);
  const kind = KINDS[bytes.readUInt8(at + 4)];
  const next = at + HEADER_BYTES + metaLength + valueLength;
  if (kind === undefined || metaLength > META_BYTES_MAX || valueLength > VALUE_BYTES_MAX || next > bytes.length)
    return null;
  if (bytes.readUInt32LE(at + CRC_AT) !== checksum(bytes, at, next)) return null;
  const metaEnd = at + HEADER_BYTES + metaLength;
  const meta = META[kind].safeParse(JSON.parse(bytes.toString("utf8", at + HEADER_BYTES, metaEnd)));
  if (!meta.success) return null;
  const record = {
    kind,
    sequence: Number(bytes.readBigUInt64LE(at + 16)),
    rows: bytes.readUInt32LE(at + 24),
    appendedThrough: Number(bytes.readBigUInt64LE(at + 28)),
    meta: meta.data,
    value: bytes.subarray(metaEnd, next),
  } as SegmentRecord;
  return { record, next };
};

/** How long the record with this header claims to be, header included. */
export const recordLength = (header: Buffer): number => HEADER_BYTES + header.readUInt32LE(8) + header.readUInt32LE(12);

/** Where the next sound record begins at or after `from`; -1 when there is none. */
export const findRecord = (bytes: Buffer, from: number): number => {
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(MAGIC, 0);
  for (let at = bytes.indexOf(magic, from); at !== -1; at = bytes.indexOf(magic, at + 1))
    if (decodeRecord(bytes, at) !== null) return at;
  return -1;
};

const checksum = (bytes: Buffer, from: number, to: number): number =>
  crc32(bytes.subarray(from + CRC_AT + 4, to), crc32(bytes.subarray(from, from + CRC_AT)));
