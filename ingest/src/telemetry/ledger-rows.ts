import type { Range } from "./range.ts";
import type { Decision } from "./triage.ts";

export interface LedgerRow {
  readonly topic: string;
  readonly partition: number;
  /** Empty for messages that do not say who sent them. */
  readonly producer: string;
  last_sequence: number;
  readonly start_offset: number;
  readonly end_offset: number;
  /** Batches and rows that were inserted. */
  batches: number;
  rows: number;
  duplicates: number;
  dead: number;
  readonly at: number;
}

/** What became of a range, one row a producer: at once the account and the memory of which sequences are in. */
export const ledgerRows = (
  place: { readonly topic: string; readonly partition: number },
  range: Range,
  decisions: readonly Decision[],
): readonly LedgerRow[] => {
  // The bus's time, not ours: the row is the same when the range is redone, also after midnight.
  const at = range.messages.at(-1)?.message.timestampUnixMs ?? 0;
  const byProducer = new Map<string, LedgerRow>();
  for (const decision of decisions) {
    const producer = decision.header?.producer ?? "";
    const row = byProducer.get(producer) ?? {
      ...place,
      producer,
      last_sequence: 0,
      start_offset: range.start,
      end_offset: range.end,
      batches: 0,
      rows: 0,
      duplicates: 0,
      dead: 0,
      at,
    };
    count(row, decision);
    byProducer.set(producer, row);
  }
  return [...byProducer.values()];
};

const count = (row: LedgerRow, decision: Decision): void => {
  row.last_sequence = Math.max(row.last_sequence, decision.header?.sequence ?? 0);
  if (decision.kind === "duplicate") row.duplicates++;
  else if (decision.kind === "dead") row.dead++;
  else {
    row.batches++;
    row.rows += decision.header.row_count;
  }
};
