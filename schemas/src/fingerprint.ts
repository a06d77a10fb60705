import { createHash } from "node:crypto";

const first8BytesLittleEndian = (text: string): bigint =>
  createHash("sha256").update(text, "utf8").digest().readBigUInt64LE(0);

/**
 * Identity of a metric name: the first 8 bytes of SHA-256, little-endian.
 * In ClickHouse: `reinterpretAsUInt64(substring(SHA256(name), 1, 8))`.
 */
export const metricId = (name: string): bigint => first8BytesLittleEndian(name);

/**
 * Identity of a series: as metricId, over name, then each label's name and value in the order of the names' code units,
 * every part followed by the byte 0xFF's stand-in U+0001 (so that neighbours cannot run together).
 */
export const seriesFingerprint = (name: string, labels: Readonly<Record<string, string>>): bigint => {
  let text = `${name}\u0001`;
  for (const label of Object.keys(labels).sort()) text += `${label}\u0001${labels[label]}\u0001`;
  return first8BytesLittleEndian(text);
};

/** Identity of what log records are about: as a series named `resource` with the resource's attributes as labels. */
export const resourceId = (attributes: Readonly<Record<string, string>>): bigint =>
  seriesFingerprint("resource", attributes);
