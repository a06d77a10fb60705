import { crc32 } from "node:zlib";
import { z } from "zod";
import { MESSAGE_BYTES_MAX } from "../bus.ts";
import { BATCH_ROWS_MAX, TELEMETRY, type TelemetrySchema } from "../telemetry.ts";
import { UnixMs } from "../unix-ms.ts";
import { BatchError } from "./batch-error.ts";
import { BLOCK_BYTES_MAX } from "./batch-limits.ts";
import { zstdContentBytes } from "./zstd-frame.ts";

const Crc32 = z.int().min(0).max(0xffff_ffff);

export const BATCH_VERSION = 1;

/** What a batch says of itself in front of its rows. Whoever passes batches on reads this and never unpacks them. */
export const BatchHeader = z
  .strictObject({
    version: z.literal(BATCH_VERSION),
    schema: z.enum(Object.keys(TELEMETRY) as [TelemetrySchema, ...TelemetrySchema[]]),
    row_count: z.int().min(1).max(BATCH_ROWS_MAX),
    /** The smallest and the largest value of the schema's time column, whole milliseconds, rounded down. */
    time_min_unix_ms: UnixMs,
    time_max_unix_ms: UnixMs,
    /** `<host>/<random id>` of the spool or process that made the batch; sequences of one producer grow. */
    producer: z.string().min(1).max(320),
    sequence: z.int().min(0),
    uncompressed_bytes: z.int().min(1).max(BLOCK_BYTES_MAX),
    /** Of the zstd frame that follows. */
    frame_bytes: z.int().min(1).max(MESSAGE_BYTES_MAX),
    frame_crc32: Crc32,
  })
  .refine((header) => header.time_min_unix_ms <= header.time_max_unix_ms, { error: "time_min is after time_max" });
export type BatchHeader = z.infer<typeof BatchHeader>;

/*
 * The layout of a value, a valid zstd stream (RFC 8878, sections 3.1.1 and 3.1.2):
 *   u32 0x184D2A50  u32 length  | a skippable frame; readers of zstd pass over its content, which is
 *     u32 CRC-32 of the JSON, then the JSON of BatchHeader in UTF-8
 *   one zstd frame              | one ClickHouse Native block
 * All integers are little-endian.
 */
const SKIPPABLE_MAGIC = 0x184d2a50;
const PREFIX_BYTES = 12;
const HEADER_JSON_BYTES_MAX = 2048;
const utf8 = new TextDecoder("utf-8", { fatal: true });

export const encodeValue = (header: Omit<BatchHeader, "frame_bytes" | "frame_crc32">, frame: Buffer): Buffer => {
  const whole = { ...header, frame_bytes: frame.length, frame_crc32: crc32(frame) };
  const json = JSON.stringify(whole);
  const jsonBytes = Buffer.byteLength(json);
  const valueBytes = PREFIX_BYTES + jsonBytes + frame.length;
  if (valueBytes > MESSAGE_BYTES_MAX) {
    throw new BatchError(
      "too_large",
      `the batch has ${valueBytes} bytes, more than the ${MESSAGE_BYTES_MAX} of a message`,
    );
  }
  const checked = BatchHeader.safeParse(whole);
  if (!checked.success) throw new BatchError("bad_value", `the header would not be valid: ${issuesOf(checked.error)}`);
  // Not from the pool: values are kept for a while, and a slice would keep its whole pool alive.
  const value = Buffer.allocUnsafeSlow(valueBytes);
  value.writeUInt32LE(SKIPPABLE_MAGIC, 0);
  value.writeUInt32LE(4 + jsonBytes, 4);
  value.write(json, PREFIX_BYTES);
  value.writeUInt32LE(crc32(value.subarray(PREFIX_BYTES, PREFIX_BYTES + jsonBytes)), 8);
  frame.copy(value, PREFIX_BYTES + jsonBytes);
  return value;
};

/** The header and the zstd frame behind it, once sizes and both checksums hold. */
export const splitValue = (value: Uint8Array): { readonly header: BatchHeader; readonly frame: Uint8Array } => {
  if (value.length > MESSAGE_BYTES_MAX) {
    throw new BatchError("too_large", `the value has ${value.length} bytes, at most ${MESSAGE_BYTES_MAX} are allowed`);
  }
  if (value.length < PREFIX_BYTES) {
    throw new BatchError("truncated", `the value has ${value.length} bytes, a batch has at least ${PREFIX_BYTES}`);
  }
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const magic = view.getUint32(0, true);
  if (magic !== SKIPPABLE_MAGIC) {
    throw new BatchError("bad_magic", `the value begins with 0x${magic.toString(16)}, a batch with 0x184d2a50`);
  }
  const contentBytes = view.getUint32(4, true);
  if (contentBytes < 4 || contentBytes > HEADER_JSON_BYTES_MAX + 4) {
    throw new BatchError(
      "bad_header",
      `the header claims ${contentBytes} bytes, 4 to ${HEADER_JSON_BYTES_MAX + 4} are allowed`,
    );
  }
  const frameAt = 8 + contentBytes;
  if (frameAt > value.length) {
    throw new BatchError("truncated", `the header ends at byte ${frameAt}, the value at ${value.length}`);
  }
  const json = value.subarray(PREFIX_BYTES, frameAt);
  if (crc32(json) !== view.getUint32(8, true)) {
    throw new BatchError("checksum_mismatch", "the header's CRC-32 does not match its bytes");
  }
  const header = parseHeader(json);
  const frame = value.subarray(frameAt);
  checkFrame(header, frame);
  return { header, frame };
};

export const decodeHeader = (value: Uint8Array): BatchHeader => splitValue(value).header;

const parseHeader = (json: Uint8Array): BatchHeader => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(utf8.decode(json));
  } catch (cause) {
    throw new BatchError("bad_header", "the header is not JSON in UTF-8", { cause });
  }
  const version = typeof parsed === "object" && parsed !== null && "version" in parsed ? parsed.version : undefined;
  if (version !== BATCH_VERSION) {
    const shown = String(JSON.stringify(version)).slice(0, 32);
    throw new BatchError("unsupported_version", `the header's version is ${shown}, only ${BATCH_VERSION} is known`);
  }
  const header = BatchHeader.safeParse(parsed);
  if (!header.success) {
    throw new BatchError("bad_header", `the header is not valid: ${issuesOf(header.error)}`);
  }
  return header.data;
};

const issuesOf = (error: z.ZodError): string =>
  error.issues
    .map((issue) => `${issue.path.join(".") || "header"}: ${issue.message}`)
    .join("; ")
    .slice(0, 500);

const checkFrame = (header: BatchHeader, frame: Uint8Array): void => {
  if (frame.length !== header.frame_bytes) {
    const code = frame.length < header.frame_bytes ? "truncated" : "trailing_bytes";
    throw new BatchError(code, `the header claims a frame of ${header.frame_bytes} bytes, ${frame.length} follow`);
  }
  if (crc32(frame) !== header.frame_crc32) {
    throw new BatchError("checksum_mismatch", "the zstd frame's CRC-32 does not match the header's");
  }
  const contentBytes = zstdContentBytes(frame);
  if (contentBytes !== header.uncompressed_bytes) {
    throw new BatchError(
      "bad_frame",
      `the header claims ${header.uncompressed_bytes} uncompressed bytes, the frame ${contentBytes}`,
    );
  }
};
