import { uncompressSync } from "snappy";
import { RequestError } from "../../gateway/receiver-route.ts";

/** What a block may unpack to; the gateway's own cap for other encodings has the same default. */
export const UNPACKED_BYTES_MAX = 64 * 1_048_576;

/** A block begins with its unpacked length as a varint of up to 32 bits (https://github.com/google/snappy/blob/main/format_description.txt). */
const unpackedLength = (block: Buffer): number => {
  let length = 0;
  for (let index = 0; index < 5; index++) {
    const byte = block[index];
    if (byte === undefined) break;
    length += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return length;
  }
  throw new SyntaxError("not a snappy block: its length is cut short");
};

/** @throws RequestError 413 beyond UNPACKED_BYTES_MAX, before anything is allocated; Error when it is no snappy block. */
export const unpackSnappy = (block: Buffer): Buffer => {
  const length = unpackedLength(block);
  if (length > UNPACKED_BYTES_MAX) {
    throw new RequestError(413, `the body unpacks to ${length} bytes, at most ${UNPACKED_BYTES_MAX} are taken`);
  }
  const bytes = uncompressSync(block, { asBuffer: true });
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes);
};
