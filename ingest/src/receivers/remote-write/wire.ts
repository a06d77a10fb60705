import type { Reader } from "protobufjs";

/*
 * Steps over the protobuf wire format (https://protobuf.dev/programming-guides/encoding/) with protobufjs's Reader, for what decoding
 * a whole message as objects would be too slow for.
 */

export const VARINT = 0;
export const FIXED64 = 1;
export const LENGTH_DELIMITED = 2;

export const tagOf = (field: number, wireType: number): number => (field << 3) | wireType;

/** Reads a length; answers where what it measures ends. @throws RangeError when that lies beyond `limit`. */
export const readEnd = (reader: Reader, limit: number): number => {
  const end = reader.size() + reader.pos;
  if (end > limit)
    throw new RangeError(`a field at byte ${reader.pos} ends at byte ${end}, what holds it at byte ${limit}`);
  return end;
};

export const skipField = (reader: Reader, tag: number, limit: number): void => {
  reader.skipType(tag & 7, 0, tag >>> 3);
  checkWithin(reader, limit);
};

export const checkWithin = (reader: Reader, limit: number): void => {
  if (reader.pos > limit) throw new RangeError(`a field ends at byte ${reader.pos}, what holds it at byte ${limit}`);
};

const TWO_TO_28 = 2 ** 28;

/** An int64 as a number, exact up to 2^53: Reader.int64 makes an object of each. */
export const readInt64 = (reader: Reader): number => {
  const { buf, len } = reader;
  let { pos } = reader;
  let byte = 0x80;
  let low = 0;
  let middle = 0;
  let high = 0;
  for (let count = 0; byte >= 0x80; count++) {
    if (count === 10) throw new RangeError(`the varint before byte ${pos} has more than ten bytes`);
    if (pos >= len) throw new RangeError(`a varint is cut short at byte ${pos}`);
    byte = buf[pos++] ?? 0;
    const bits = byte & 0x7f;
    if (count < 4) low |= bits << (count * 7);
    else if (count < 8) middle |= bits << ((count - 4) * 7);
    else high |= bits << ((count - 8) * 7);
  }
  reader.pos = pos;
  // The last eight bits are shifted up and down again to carry the sign.
  return (((high << 24) >> 24) * TWO_TO_28 + middle) * TWO_TO_28 + low;
};
