import { setText } from "../otlp/any-value.ts";
import { BYTES, enter, keep, leave, skip, text, VARINT, type Wire } from "../otlp/wire.ts";
import type { Entry, Stream } from "./push-request.ts";
import { parseStreamLabels } from "./stream-labels.ts";

const FIRST = (1 << 3) | BYTES;
const SECOND = (2 << 3) | BYTES;
const THIRD = (3 << 3) | BYTES;

/**
 * A protobuf PushRequest (ingest/proto/logproto/push.proto), with the low-level reader: lines need not be UTF-8, and what an entry costs is
 * counted, which protobufjs's own decoder cannot do.
 */
export const readPushRequest = (wire: Wire): Stream[] => {
  const streams: Stream[] = [];
  while (wire.pos < wire.len) {
    const tag = wire.tag();
    if (tag === FIRST) streams.push(readStream(wire));
    else skip(wire, tag);
  }
  return streams;
};

const readStream = (wire: Wire): Stream => {
  keep(wire);
  const outer = enter(wire);
  let labels = "{}";
  const entries: Entry[] = [];
  while (wire.pos < wire.len) {
    const tag = wire.tag();
    if (tag === FIRST) labels = text(wire);
    else if (tag === SECOND) entries.push(readEntry(wire));
    else skip(wire, tag);
  }
  leave(wire, outer);
  return { labels: parseStreamLabels(labels), entries };
};

const readEntry = (wire: Wire): Entry => {
  keep(wire);
  const outer = enter(wire);
  let timeUnixNano = 0n;
  let line = "";
  const metadata: Record<string, string> = {};
  while (wire.pos < wire.len) {
    const tag = wire.tag();
    if (tag === FIRST) timeUnixNano = readTimestamp(wire);
    else if (tag === SECOND) line = text(wire);
    else if (tag === THIRD) readLabelPair(wire, metadata);
    else skip(wire, tag);
  }
  leave(wire, outer);
  return { timeUnixNano, line, metadata };
};

const SECONDS = (1 << 3) | VARINT;
const NANOS = (2 << 3) | VARINT;
const NS_PER_S = 1_000_000_000n;

const readTimestamp = (wire: Wire): bigint => {
  const outer = enter(wire);
  let seconds = 0n;
  let nanos = 0;
  while (wire.pos < wire.len) {
    const tag = wire.tag();
    if (tag === SECONDS) seconds = BigInt(wire.int64().toString());
    else if (tag === NANOS) nanos = wire.int32();
    else skip(wire, tag);
  }
  leave(wire, outer);
  return seconds * NS_PER_S + BigInt(nanos);
};

const readLabelPair = (wire: Wire, metadata: Record<string, string>): void => {
  const outer = enter(wire);
  let name = "";
  let value = "";
  while (wire.pos < wire.len) {
    const tag = wire.tag();
    if (tag === FIRST) name = text(wire);
    else if (tag === SECOND) value = text(wire);
    else skip(wire, tag);
  }
  leave(wire, outer);
  setText(metadata, name, value);
};
