/** Why a message went to the dead letters. `refused`: the engine would not take it. */
export const DEAD_REASONS = ["malformed", "wrong_schema", "late", "future", "refused"] as const;
export type DeadReason = (typeof DEAD_REASONS)[number];

/** What became of every message since the start, so that nothing is dropped without a count. */
export interface IngestCounts {
  batchesInserted: number;
  rowsInserted: number;
  /** Batches that the ledger knew already. */
  duplicates: number;
  dead: Record<DeadReason, number>;
  recordsProjected: number;
  /** JSON records that do not match their schema, or that the engine refused. */
  recordsMalformed: number;
  retries: number;
  /** Messages that the bus's retention took before they were read. */
  messagesExpired: number;
}

export const noCounts = (): IngestCounts => ({
  batchesInserted: 0,
  rowsInserted: 0,
  duplicates: 0,
  dead: { malformed: 0, wrong_schema: 0, late: 0, future: 0, refused: 0 },
  recordsProjected: 0,
  recordsMalformed: 0,
  retries: 0,
  messagesExpired: 0,
});
