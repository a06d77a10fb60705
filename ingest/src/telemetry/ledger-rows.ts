import type { ProducerAccount } from "./producer-sequences.ts";
import type { Range } from "./range.ts";
import type { Decision } from "./triage.ts";

export interface LedgerRow {
  readonly topic: string;
  readonly partition: number;
  /** Empty for messages that do not say who sent them. */
  readonly producer: string;
  /** Of the producer; of a message without one, its key. */
  readonly host: string;
  last_sequence: number;
  readonly start_offset: number;
  readonly end_offset: number;
  /** Batches and rows that were inserted. */
  batches: number;
  rows: number;
  /** Batches, and the rows that their headers claim. */
  duplicates: number;
  duplicate_rows: number;
  /** Letters, and their rows as far as a header tells them. */
  dead: number;
  dead_rows: number;
  /** The producer's account on this partition since `since_sequence`, this range included: it outlives the rows before. */
  since_sequence: number;
  total_rows: number;
  total_dead_rows: number;
  /** Of each batch that the totals count: they are known at every sequence, not at the range's end alone. At most a range's messages. */
  readonly sequences: number[];
  readonly sequence_rows: number[];
  readonly at: number;
}

/**
 * Producers are named `<host>/<id>` (agents), `gateway:<host>/<id>-<lane>`, or, of no host, `topic:<topic>/<partition>-<lane>` (readers of topics)
 * and `dlq:<topic>-<partition>-<offset>` (replays).
 */
export const hostOfProducer = (producer: string): string => {
  if (producer.startsWith("dlq:") || producer.startsWith("topic:")) return "";
  return producer.slice(
    producer.startsWith("gateway:") ? "gateway:".length : 0,
    Math.max(0, producer.lastIndexOf("/")),
  );
};

/** What became of a range, one row a producer: at once the account and the memory of which sequences are in. */
export const ledgerRows = (
  place: { readonly topic: string; readonly partition: number },
  range: Range,
  decisions: readonly Decision[],
  accountOf: (producer: string) => ProducerAccount | null,
): readonly LedgerRow[] => {
  // The bus's time, not ours: the row is the same when the range is redone, also after midnight.
  const at = range.messages.at(-1)?.message.timestampUnixMs ?? 0;
  const bySender = new Map<string, LedgerRow>();
  for (const decision of decisions) {
    const { header, message } = decision;
    const producer = header?.producer ?? "";
    const host = producer === "" ? (message.key ?? "") : hostOfProducer(producer);
    const sender = `${producer}\n${host}`;
    const before = accountOf(producer);
    const row = bySender.get(sender) ?? {
      ...place,
      producer,
      host,
      last_sequence: before?.lastSequence ?? 0,
      start_offset: range.start,
      end_offset: range.end,
      batches: 0,
      rows: 0,
      duplicates: 0,
      duplicate_rows: 0,
      dead: 0,
      dead_rows: 0,
      since_sequence: before?.sinceSequence ?? header?.sequence ?? 0,
      total_rows: before?.rows ?? 0,
      total_dead_rows: before?.deadRows ?? 0,
      sequences: [],
      sequence_rows: [],
      at,
    };
    count(row, decision);
    bySender.set(sender, row);
  }
  return [...bySender.values()];
};

const count = (row: LedgerRow, decision: Decision): void => {
  const rows = decision.header?.row_count ?? 0;
  row.last_sequence = Math.max(row.last_sequence, decision.header?.sequence ?? 0);
  if (decision.kind === "duplicate") {
    row.duplicates++;
    row.duplicate_rows += rows;
    return;
  }
  if (decision.header !== null) {
    row.sequences.push(decision.header.sequence);
    row.sequence_rows.push(rows);
  }
  if (decision.kind === "dead") {
    row.dead++;
    row.dead_rows += rows;
    row.total_dead_rows += rows;
  } else {
    row.batches++;
    row.rows += rows;
    row.total_rows += rows;
  }
};
