import { randomInt } from "node:crypto";
import type { Log } from "@homeostat/schemas";
import { decodeRecord, findRecord, type SnapshotMeta } from "./record.ts";
import type { SegmentReader } from "./segment-reader.ts";
import { type FoundSegments, findSegments, type Segment } from "./segments.ts";
import type { SpoolState } from "./state.ts";

/**
 * What is found torn may have been published before it was damaged: sequences leap ahead, and by a random stretch, so that damage upon
 * damage cannot lead to the same sequence twice. A segment of its own begins with where they leapt to: it cannot be lost without a trace.
 */
const SEQUENCE_LEAP_MIN = 1024;
const SEQUENCE_LEAP_MAX = 2 ** 24;

interface RecoverOptions {
  readonly dir: string;
  readonly reader: SegmentReader;
  readonly log: Log;
}

/** Reads into `state` what an earlier life has left on disk: the newest sound snapshot, and the records behind it. */
export const recover = (state: SpoolState, { dir, reader, log }: RecoverOptions): FoundSegments => {
  const segments = findSegments(dir);
  const [oldest, newest] = [segments[0], segments.at(-1)];
  if (oldest === undefined || newest === undefined) return { segments, isNewestSound: true };
  const snapshot = newestSnapshot(segments, reader);
  if (snapshot === null) log.error({ dir }, "the spool has no sound snapshot: it goes on as a new producer");
  else state.load(snapshot.meta);
  const sealed = (snapshot?.meta.sealed ?? []).map(({ index, appended_through, through }) => ({
    index,
    extent: { appendedThrough: appended_through, through },
  }));
  const replayFrom = snapshot?.position ?? 0;
  for (const segment of segments.slice(0, replayFrom))
    segment.extent = sealed.find(({ index }) => index === segment.index)?.extent ?? segment.extent;
  let isNewestSound = snapshot?.position === segments.length - 1;
  for (const segment of segments.slice(replayFrom)) {
    const bytes = reader.bytes(segment, 0, segment.bytes);
    const end = replay(bytes, state);
    segment.extent = state.counts.extent();
    if (segment !== newest || end === bytes.length) continue;
    // A write that the process or the machine did not survive: its rows were never counted, and log lines are read again by their marks.
    reader.setAside(segment, end, bytes.subarray(end));
    segment.bytes = end;
    isNewestSound = false;
  }
  if (!isNewestSound) state.leap(randomInt(SEQUENCE_LEAP_MIN, SEQUENCE_LEAP_MAX));
  state.settle({ hasSnapshot: snapshot !== null });
  newest.extent = state.counts.extent();
  // The process died between dropping the oldest segments and saying so.
  for (const { index, extent } of sealed) if (index < oldest.index) state.drop(extent);
  return { segments, isNewestSound };
};

/** The newest sound one, and the position of the segment that it begins. */
const newestSnapshot = (
  segments: readonly Segment[],
  reader: SegmentReader,
): { readonly position: number; readonly meta: SnapshotMeta } | null => {
  for (const [position, segment] of [...segments.entries()].reverse()) {
    const first = reader.record(segment, 0);
    if (first?.record.kind === "snapshot") return { position, meta: first.record.meta };
  }
  return null;
};

/** Returns where the last sound record ends. */
const replay = (bytes: Buffer, state: SpoolState): number => {
  let at = 0;
  while (at < bytes.length) {
    const decoded = decodeRecord(bytes, at);
    if (decoded !== null) state.replay(decoded.record);
    const next = decoded?.next ?? findRecord(bytes, at + 1);
    if (next === -1) break;
    at = next;
  }
  return at;
};
