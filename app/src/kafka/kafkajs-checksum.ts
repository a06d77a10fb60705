import { createRequire } from "node:module";

/** Castagnoli's polynomial, bits reversed (RFC 3720, appendix B.4; Kafka's record batches carry it). */
const POLYNOMIAL = 0x82f63b78;
const LANES = 8;

/** `TABLES[lane * 256 + byte]`: what a byte does to the checksum with `lane` bytes behind it ("slicing by eight"). */
const TABLES = new Int32Array(LANES * 256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  TABLES[byte] = crc;
}
for (let at = 256; at < TABLES.length; at++) {
  const before = TABLES[at - 256] ?? 0;
  TABLES[at] = (before >>> 8) ^ (TABLES[before & 0xff] ?? 0);
}

const table = (lane: number, byte: number): number => TABLES[lane * 256 + (byte & 0xff)] ?? 0;

/** The checksum of eight bytes at a time. */
export const crc32c = (bytes: Uint8Array): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const eights = bytes.length - (bytes.length % LANES);
  let crc = -1;
  let at = 0;
  for (; at < eights; at += LANES) {
    const low = view.getInt32(at, true) ^ crc;
    const high = view.getInt32(at + 4, true);
    crc =
      table(7, low) ^
      table(6, low >>> 8) ^
      table(5, low >>> 16) ^
      table(4, low >>> 24) ^
      table(3, high) ^
      table(2, high >>> 8) ^
      table(1, high >>> 16) ^
      table(0, high >>> 24);
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ table(0, crc ^ (bytes[at] ?? 0));
  return (crc ^ -1) >>> 0;
};

/**
 * kafkajs 2.2.4 goes byte by byte, which is a quarter of what publishing costs. To be called before kafkajs is loaded: whoever takes the
 * checksum from this module keeps what it has found.
 */
export const mendChecksum = (): void => {
  const require = createRequire(import.meta.url);
  const path = require.resolve("kafkajs/src/protocol/recordBatch/crc32C/index.js");
  require(path);
  const loaded = require.cache[path];
  if (loaded !== undefined) loaded.exports = crc32c;
};
