import { decodeBatch } from "@homeostat/schemas";
import { rowTimes, timeUnixMs } from "./block-times.ts";
import { type Piece, rebatch, rowReader } from "./rebatch.ts";

/** Rows of times outside of these are `late` or of the `future`. */
export interface Fences {
  readonly oldestUnixMs: number;
  readonly newestUnixMs: number;
}

export type Side = "inside" | "late" | "future";
export type SplitBatch = Readonly<Record<Side, readonly Piece[]>>;

/**
 * The rows of a batch on each side of the fences, as batches under the same producer and sequence; null when all are on one side.
 * The same value and fences give the same pieces, so that a range can be redone.
 */
export const splitBatch = (value: Uint8Array, { oldestUnixMs, newestUnixMs }: Fences): SplitBatch | null => {
  const batch = decodeBatch(value);
  const rows: Record<Side, number[]> = { inside: [], late: [], future: [] };
  for (const [row, time] of rowTimes(batch).entries()) {
    const at = timeUnixMs(batch.schema, time);
    rows[at < oldestUnixMs ? "late" : at > newestUnixMs ? "future" : "inside"].push(row);
  }
  if (Object.values(rows).some(({ length }) => length === batch.rowCount)) return null;
  const read = rowReader(batch);
  const side = (name: Side) => rebatch(batch.schema, rows[name].map(read), () => batch.header);
  return { inside: side("inside"), late: side("late"), future: side("future") };
};
