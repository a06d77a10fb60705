import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import type { Log } from "@homeostat/schemas";
import { setAside } from "./quarantine.ts";
import {
  decodeRecord,
  findRecord,
  HEADER_BYTES,
  RECORD_BYTES_MAX,
  recordLength,
  type SegmentRecord,
} from "./record.ts";
import { type Segment, segmentName } from "./segments.ts";

/** Reads records from segments, and gets over what is corrupt. It keeps the segment open that it read last. */
export class SegmentReader {
  readonly #dir: string;
  readonly #log: Log;
  #open: { readonly index: number; readonly fd: number } | null = null;

  constructor({ dir, log }: { readonly dir: string; readonly log: Log }) {
    this.#dir = dir;
    this.#log = log;
  }

  /** The record at `offset` and where the next begins; null when there is no whole, sound record. */
  record(segment: Segment, offset: number): { record: SegmentRecord; next: number } | null {
    const header = this.bytes(segment, offset, HEADER_BYTES);
    if (header.length < HEADER_BYTES) return null;
    const length = recordLength(header);
    if (offset + length > segment.bytes || length > RECORD_BYTES_MAX) return null;
    const decoded = decodeRecord(this.bytes(segment, offset, length), 0);
    return decoded === null ? null : { record: decoded.record, next: offset + decoded.next };
  }

  /** Where the next sound record begins; what stands before it is set aside. Null when none may have been written yet. */
  skipCorrupt(segment: Segment, offset: number, isActive: boolean): number | null {
    const rest = this.bytes(segment, offset, segment.bytes - offset);
    const found = findRecord(rest, 1);
    if (found === -1 && isActive) return null;
    const bad = found === -1 ? rest : rest.subarray(0, found);
    this.setAside(segment, offset, bad);
    return offset + bad.length;
  }

  setAside({ index }: Segment, offset: number, bytes: Uint8Array): void {
    const name = `${segmentName(index)}-${offset}.bad`;
    setAside({ dir: join(this.#dir, "quarantine"), name, bytes, log: this.#log });
  }

  bytes(segment: Segment, offset: number, length: number): Buffer {
    if (this.#open?.index !== segment.index) {
      this.close();
      this.#open = { index: segment.index, fd: openSync(segment.path, "r") };
    }
    const bytes = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const read = readSync(this.#open.fd, bytes, done, length - done, offset + done);
      if (read === 0) break;
      done += read;
    }
    return bytes.subarray(0, done);
  }

  /** The segment goes away. */
  release({ index }: Segment): void {
    if (this.#open?.index === index) this.close();
  }

  close(): void {
    if (this.#open !== null) closeSync(this.#open.fd);
    this.#open = null;
  }
}
