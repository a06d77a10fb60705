import { hash } from "node:crypto";

const first8BytesLittleEndian = (text: string): bigint => hash("sha256", text, "buffer").readBigUInt64LE(0);

/**
 * Identity of a metric name: the first 8 bytes of SHA-256, little-endian.
 * In ClickHouse: `reinterpretAsUInt64(substring(SHA256(name), 1, 8))`.
 */
export const metricId = (name: string): bigint => first8BytesLittleEndian(name);

const SURROGATE = /[\ud800-\udfff]/;

/**
 * In the order of their UTF-8 bytes, as other languages and ClickHouse sort. Code units, which JavaScript compares, give the same order unless
 * a name has a character beyond U+FFFF: its surrogates sort before U+E000 to U+FFFF, its bytes behind them.
 */
const inByteOrder = (names: readonly string[]): readonly string[] =>
  names.some((name) => SURROGATE.test(name))
    ? names.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)))
    : names.toSorted();

/** U+0001 ends a part; within one it is U+0002 U+0003, and U+0002 is U+0002 U+0004: no two lists of parts make the same text. */
const ended = (part: string): string => {
  const isPlain = !part.includes("\u0001") && !part.includes("\u0002");
  return `${isPlain ? part : part.replaceAll("\u0002", "\u0002\u0004").replaceAll("\u0001", "\u0002\u0003")}\u0001`;
};

/**
 * Identity of a series: as metricId, over name, then each label's name and value in the order of the names' UTF-8 bytes, every part ended
 * by U+0001. What other languages make of it stands in test/fixtures/fingerprints.json.
 */
export const seriesFingerprint = (name: string, labels: Readonly<Record<string, string>>): bigint => {
  let text = ended(name);
  for (const label of inByteOrder(Object.keys(labels))) text += ended(label) + ended(labels[label] ?? "");
  return first8BytesLittleEndian(text);
};

/** Identity of what log records are about: as a series named `resource` with the resource's attributes as labels. */
export const resourceId = (attributes: Readonly<Record<string, string>>): bigint =>
  seriesFingerprint("resource", attributes);
