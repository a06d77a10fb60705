/** As SQLite gives it. */
export type Row = Readonly<Record<string, unknown>>;

/** @throws TypeError when the column holds something else, as those below. */
export const number = (row: Row, column: string): number => {
  const value = row[column];
  if (typeof value !== "number") throw new TypeError(`column ${column} holds ${typeof value}, want a number`);
  return value;
};

export const text = (row: Row, column: string): string => {
  const value = row[column];
  if (typeof value !== "string") throw new TypeError(`column ${column} holds ${typeof value}, want text`);
  return value;
};

export const bytesOrNull = (row: Row, column: string): Uint8Array | null => {
  const value = row[column];
  return value instanceof Uint8Array ? value : null;
};
