import type { z } from "zod";

/** A named, immutable statement: `params` says what `{name:Type}` in `sql` binds to (after parsing), `row` what comes back. */
export interface Query<Params extends z.ZodType = z.ZodType, Row extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly sql: string;
  readonly params: Params;
  readonly row: Row;
  /** More rows than this end the query with `too_much`. */
  readonly rowsMax: number;
}

/** Keeps the types of the schemas. */
export const defineQuery = <Params extends z.ZodType, Row extends z.ZodType>(
  query: Query<Params, Row>,
): Query<Params, Row> => Object.freeze(query);
