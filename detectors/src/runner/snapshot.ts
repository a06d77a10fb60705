import { constants, crc32, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { z } from "zod";

/** Raised when the form below, or what partitions put into it, changes. Older ones are not read: the state starts anew from the bus. */
export const SNAPSHOT_VERSION = 2;

/** JSON and typed arrays in one piece. */
export interface Snapshot {
  readonly json: unknown;
  readonly columns: Readonly<Record<string, Float64Array>>;
}

const Head = z.strictObject({
  version: z.literal(SNAPSHOT_VERSION),
  json: z.unknown(),
  columns: z.array(z.tuple([z.string(), z.int().min(0)])),
});

const SNAPSHOT_BYTES_MAX = 1_073_741_824;

/*
 * One zstd frame of: u32 CRC-32 of what follows, u32 length of the JSON, the JSON, then the columns' numbers one after the other, little-endian.
 */
export const encodeSnapshot = ({ json, columns }: Snapshot): Uint8Array => {
  const entries = Object.entries(columns);
  const head = Buffer.from(
    JSON.stringify({ version: SNAPSHOT_VERSION, json, columns: entries.map(([name, { length }]) => [name, length]) }),
  );
  const prefix = Buffer.alloc(8);
  const body = Buffer.concat([
    prefix,
    head,
    ...entries.map(([, { buffer, byteOffset, byteLength }]) => Buffer.from(buffer, byteOffset, byteLength)),
  ]);
  body.writeUInt32LE(head.length, 4);
  body.writeUInt32LE(crc32(body.subarray(4)), 0);
  return zstdCompressSync(body, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
};

/** @throws Error when the bytes are not a whole snapshot of this version. */
export const decodeSnapshot = (bytes: Uint8Array): Snapshot => {
  const body = zstdDecompressSync(bytes, { maxOutputLength: SNAPSHOT_BYTES_MAX });
  if (body.length < 8 || crc32(body.subarray(4)) !== body.readUInt32LE(0))
    throw new Error("the checksum does not match");
  const headEnd = 8 + body.readUInt32LE(4);
  const head = Head.parse(JSON.parse(body.toString("utf8", 8, headEnd)));
  const columns: Record<string, Float64Array> = {};
  let at = headEnd;
  for (const [name, length] of head.columns) {
    const values = new Float64Array(length);
    const view = new Uint8Array(values.buffer);
    if (at + view.length > body.length) throw new Error(`column ${name} is cut short`);
    view.set(body.subarray(at, at + view.length));
    columns[name] = values;
    at += view.length;
  }
  return { json: head.json, columns };
};
