import {
  type Batch,
  BatchBuilder,
  BatchError,
  type BatchHeader,
  decodeHeader,
  TELEMETRY,
  type TelemetryRow,
  type TelemetrySchema,
} from "@homeostat/schemas";

type Row = TelemetryRow<TelemetrySchema>;

/** One message's value and the header in it. */
export interface Piece {
  readonly value: Uint8Array;
  readonly header: BatchHeader;
}

interface Cells {
  at(row: number): unknown;
}

/** Reads single rows of a batch as a builder takes them. For few batches: a row becomes an object. */
export const rowReader = (batch: Batch): ((row: number) => Row) => {
  const column = batch.column as (name: string) => unknown;
  const cells = TELEMETRY[batch.schema].map(({ name, type }) => {
    const found = column(name) as Cells;
    return [
      name,
      type === "DateTime64(3)" ? (row: number) => Number(found.at(row)) : (row: number) => found.at(row),
    ] as const;
  });
  // The columns were read by the very table that TelemetryRow is computed from.
  return (row) => Object.fromEntries(cells.map(([name, at]) => [name, at(row)])) as Row;
};

/** Who a piece is from; a second piece may want a sequence of its own. */
export type SenderOf = (piece: number) => { readonly producer: string; readonly sequence: number };

/**
 * Rows as batches of their own, in their order and the same however often it is done. One piece nearly always: two and more only when
 * their sender packed better than we do, and one would be more than a message may hold.
 */
export const rebatch = (schema: TelemetrySchema, rows: Iterable<Row>, senderOf: SenderOf): readonly Piece[] => {
  const builder = new BatchBuilder<TelemetrySchema>(schema);
  for (const row of rows) builder.append(row);
  const done: Piece[] = [];
  if (builder.rowCount > 0) finish(builder, senderOf, done);
  return done;
};

const finish = (builder: BatchBuilder<TelemetrySchema>, senderOf: SenderOf, done: Piece[]): void => {
  try {
    const value = builder.finish(senderOf(done.length));
    done.push({ value, header: decodeHeader(value) });
  } catch (error) {
    if (!(error instanceof BatchError && error.code === "too_large") || builder.rowCount === 1) throw error;
    const newer = builder.split();
    finish(builder, senderOf, done);
    finish(newer, senderOf, done);
  }
};
