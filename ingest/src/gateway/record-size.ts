import type { LogRecord } from "./intake.ts";

/** Half of a message: whatever a record holds and however little it can be compressed, it fits a batch of its own. */
export const RECORD_BYTES_MAX = 262_144;
/** What one UTF-16 code unit takes in UTF-8 at most. */
const BYTES_PER_UNIT_MAX = 3;

export const recordFits = (record: LogRecord): boolean => {
  if (lengthOf(record, unitLength) * BYTES_PER_UNIT_MAX <= RECORD_BYTES_MAX) return true;
  return lengthOf(record, Buffer.byteLength) <= RECORD_BYTES_MAX;
};

const unitLength = (text: string): number => text.length;

const lengthOf = (record: LogRecord, length: (text: string) => number): number => {
  let sum =
    length(record.body) +
    length(record.severityText) +
    length(record.eventName) +
    length(record.scopeName) +
    length(record.traceId) +
    length(record.spanId);
  for (const name in record.attributes) sum += length(name) + length(record.attributes[name] ?? "");
  return sum;
};
