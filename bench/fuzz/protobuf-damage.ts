import { damageBytes } from "./byte-damage.ts";
import type { Dice } from "./dice.ts";

/*
 * Damage to one field of a message, with the lengths around it put right, so that it is met deep inside: random damage alone mostly ends at
 * the first length that does not fit.
 */

interface Field {
  readonly tag: number;
  /** The value's bytes; of a length-delimited field without its length. */
  readonly content: Buffer;
  /** All of it, as it stands in its message. */
  readonly whole: Buffer;
}

const DEPTH_MAX = 12;
const LENGTH_DELIMITED = 2;

const readVarint = (bytes: Buffer, from: number): { value: number; end: number } | null => {
  let value = 0;
  for (let at = from; at < bytes.length && at < from + 10; at++) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * 2 ** (7 * (at - from));
    if (byte < 0x80) return { value, end: at + 1 };
  }
  return null;
};

const writeVarint = (value: number): Buffer => {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
};

const endOfValue = (bytes: Buffer, wireType: number, at: number): { start: number; end: number } | null => {
  if (wireType === 1) return { start: at, end: at + 8 };
  if (wireType === 5) return { start: at, end: at + 4 };
  const number = readVarint(bytes, at);
  if (number === null) return null;
  if (wireType === 0) return { start: at, end: number.end };
  return wireType === 2 ? { start: number.end, end: number.end + number.value } : null;
};

/** The fields of one level; null when these bytes are no message. */
const readFields = (bytes: Buffer): Field[] | null => {
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = readVarint(bytes, at);
    if (tag === null || tag.value < 8 || tag.value > 0xffff) return null;
    const value = endOfValue(bytes, tag.value & 7, tag.end);
    if (value === null || value.end > bytes.length) return null;
    const content = bytes.subarray(value.start, value.end);
    fields.push({ tag: tag.value, content, whole: bytes.subarray(at, value.end) });
    at = value.end;
  }
  return fields;
};

const writeField = (tag: number, content: Buffer): Buffer =>
  (tag & 7) === LENGTH_DELIMITED
    ? Buffer.concat([writeVarint(tag), writeVarint(content.length), content])
    : Buffer.concat([writeVarint(tag), content]);

const COPIES = [2, 3, 50, 2000] as const;
const BYTES_MAX = 65_536;

/** Varints at the edges of what fields may hold. */
const EDGES = [
  "00",
  "01",
  "7f",
  "ffffffff07",
  "ffffffff0f",
  "8080808008",
  "ffffffffffffffff7f",
  "ffffffffffffffffff01",
].map((hex) => Buffer.from(hex, "hex"));

/** What stands for a field after the damage: nothing, or one or several fields. */
const damageField = (field: Field, dice: Dice, other: Buffer): Buffer => {
  const { tag, content, whole } = field;
  switch (dice.below(8)) {
    case 0:
      return Buffer.alloc(0);
    case 1: {
      const copies = Math.min(dice.pick(COPIES), Math.ceil(BYTES_MAX / whole.length));
      return Buffer.concat(Array.from({ length: copies }, () => whole));
    }
    case 2:
      // The wire type or the number of another field.
      return writeField((tag ^ (1 << dice.below(6))) >>> 0 || 8, content);
    case 3:
      return Buffer.concat([whole, dice.pick(readFields(other) ?? [field]).whole]);
    case 4:
      return (tag & 7) === 0 ? writeField(tag, dice.pick(EDGES)) : writeField(tag, Buffer.alloc(0));
    default:
      return writeField(tag, damageBytes(content, dice, other));
  }
};

const damageLevel = (bytes: Buffer, dice: Dice, { other, depth }: { other: Buffer; depth: number }): Buffer | null => {
  const fields = readFields(bytes);
  if (fields === null || fields.length === 0) return null;
  const field = dice.pick(fields);
  const before = bytes.subarray(0, field.whole.byteOffset - bytes.byteOffset);
  const after = bytes.subarray(before.length + field.whole.length);
  // Rather go deeper than stop at the top.
  const isDeeper = (field.tag & 7) === LENGTH_DELIMITED && depth < DEPTH_MAX && dice.below(4) > 0;
  const inner = isDeeper ? damageLevel(field.content, dice, { other, depth: depth + 1 }) : null;
  const changed = inner === null ? damageField(field, dice, other) : writeField(field.tag, inner);
  return Buffer.concat([before, changed, after]);
};

export const damageProtobuf = (bytes: Buffer, dice: Dice, other: Buffer): Buffer =>
  damageLevel(bytes, dice, { other, depth: 0 }) ?? damageBytes(bytes, dice, other);
