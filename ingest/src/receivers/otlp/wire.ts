import protobuf from "protobufjs";
import { RequestError } from "../../gateway/receiver-route.ts";
import { textOf } from "./short-texts.ts";

/**
 * Reading with protobufjs's low-level Reader: what the messages of OTLP have in common. Tags are compared whole (field number and
 * wire type), so a field of another wire type is skipped like an unknown one, as the generated decoders do.
 */
export interface Wire extends protobuf.Reader {
  buf: Buffer;
  work: Work;
}

/** What a body has cost so far: an empty message of two bytes becomes an object of some hundred. */
interface Work {
  units: number;
}

/** About what a body of 64 MiB of common records takes; a body that costs more is refused, whatever its bytes. */
export const WORK_UNITS_MAX = 6_000_000;
/** For a record, a point or anything else that is kept; a nested message by itself is one. */
const KEPT_UNITS = 16;

export const wireOf = (bytes: Buffer, work: Work = { units: 0 }): Wire =>
  Object.assign(protobuf.Reader.create(bytes), { work }) as Wire;

/** @throws RequestError 413 when the body has cost too much. */
export const keep = ({ work }: Wire, units = KEPT_UNITS): void => {
  work.units += units;
  if (work.units > WORK_UNITS_MAX)
    throw new RequestError(413, "too many records, points or values in one request: send smaller ones");
};

export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;

/** Enters the message whose length comes next: answers the end of the one around it, to be given to `leave`. */
export const enter = (wire: Wire): number => {
  keep(wire, 1);
  const length = wire.size();
  const outer = wire.len;
  if (wire.pos + length > outer) throw outOfRange(wire, length);
  wire.len = wire.pos + length;
  return outer;
};

export const leave = (wire: Wire, outer: number): void => {
  wire.len = outer;
};

export const skip = (wire: Wire, tag: number): void => {
  wire.skipType(tag & 7, 0, tag >>> 3);
};

const outOfRange = (wire: Wire, length: number): RangeError =>
  new RangeError(`cut short: ${length} bytes are announced at byte ${wire.pos}, ${wire.len - wire.pos} are there`);

/** Where the length-delimited field that comes next begins; the reader stands behind it. */
export const span = (wire: Wire): number => {
  const length = wire.size();
  const start = wire.pos;
  if (start + length > wire.len) throw outOfRange(wire, length);
  wire.pos = start + length;
  return start;
};

export const text = (wire: Wire): string => {
  const start = span(wire);
  return textOf(wire.buf, start, wire.pos);
};

export const hex = (wire: Wire): string => {
  const start = span(wire);
  return start === wire.pos ? "" : wire.buf.toString("hex", start, wire.pos);
};

const fixed64At = (wire: Wire): number => {
  const at = wire.pos;
  if (at + 8 > wire.len) throw outOfRange(wire, 8);
  wire.pos = at + 8;
  return at;
};

export const nanoseconds = (wire: Wire): bigint => wire.buf.readBigUInt64LE(fixed64At(wire));

const HIGH = 4_294_967_296;

/** Nanoseconds as whole milliseconds, exactly: 2^32 is 4294 times a million and 967,296. */
export const milliseconds = (wire: Wire): number => {
  const at = fixed64At(wire);
  const high = wire.buf.readUInt32LE(at + 4);
  return high * 4294 + Math.floor((high * 967_296 + wire.buf.readUInt32LE(at)) / 1_000_000);
};

/** Beyond 2^53 the nearest double, which is what a sample holds. */
export const fixed64Number = (wire: Wire): number => {
  const at = fixed64At(wire);
  return wire.buf.readUInt32LE(at + 4) * HIGH + wire.buf.readUInt32LE(at);
};

export const sfixed64Number = (wire: Wire): number => {
  const at = fixed64At(wire);
  return wire.buf.readInt32LE(at + 4) * HIGH + wire.buf.readUInt32LE(at);
};

/** A varint of up to four bytes is below 2^28 and needs no 64-bit arithmetic. */
const PLAIN_VARINT_BYTES_MAX = 4;

/** The digits of an int64, exactly. */
export const int64Text = (wire: Wire): string => {
  const start = wire.pos;
  const plain = wire.uint32();
  if (wire.pos - start <= PLAIN_VARINT_BYTES_MAX) return String(plain);
  wire.pos = start;
  return wire.int64().toString();
};

export const uint64Number = (wire: Wire): number => {
  const start = wire.pos;
  const plain = wire.uint32();
  if (wire.pos - start <= PLAIN_VARINT_BYTES_MAX) return plain;
  wire.pos = start;
  return Number(wire.uint64().toString());
};
