/** Longer texts are seldom seen twice. */
const SHORT_BYTES_MAX = 48;
/** A power of two. With SHORT_BYTES_MAX this bounds the cache to about half a MiB; a text that comes to a taken slot takes it over. */
const SLOTS = 8192;

const slots: string[] = new Array<string>(SLOTS).fill("");

/** From the length and five of the bytes: all are compared afterwards anyway. */
const slotOf = (bytes: Buffer, start: number, end: number): number => {
  const length = end - start;
  const middle = start + (length >> 1);
  let hash = length;
  hash = Math.imul(hash, 31) + (bytes[start] ?? 0);
  hash = Math.imul(hash, 31) + (bytes[middle] ?? 0);
  hash = Math.imul(hash, 31) + (bytes[middle + 1] ?? 0);
  hash = Math.imul(hash, 31) + (bytes[end - 2] ?? 0);
  hash = Math.imul(hash, 31) + (bytes[end - 1] ?? 0);
  return (hash ^ (hash >>> 13)) & (SLOTS - 1);
};

/** True for ASCII alone: no other text has as many UTF-16 units as bytes with the same values. */
const equals = (text: string, bytes: Buffer, start: number, length: number): boolean => {
  if (text.length !== length) return false;
  for (let index = 0; index < length; index++) {
    if (text.charCodeAt(index) !== bytes[start + index]) return false;
  }
  return true;
};

/**
 * UTF-8 bytes as a string. Keys and many values come again in every record: those that are short and ASCII are looked up in a cache,
 * which made reading a request of ten attributes a record a fifth faster.
 */
export const textOf = (bytes: Buffer, start: number, end: number): string => {
  const length = end - start;
  if (length > SHORT_BYTES_MAX) return bytes.toString("utf8", start, end);
  if (length === 0) return "";
  const slot = slotOf(bytes, start, end);
  const known = slots[slot] ?? "";
  if (equals(known, bytes, start, length)) return known;
  const text = bytes.toString("utf8", start, end);
  slots[slot] = text;
  return text;
};
