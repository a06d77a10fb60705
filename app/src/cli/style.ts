import { styleText } from "node:util";

type Format = Parameters<typeof styleText>[0];

/** Colours when the stream is a terminal that wants them; `NO_COLOR` (https://no-color.org) and `FORCE_COLOR` are honoured by Node. */
export const style = (format: Format, text: string, stream: NodeJS.WriteStream = process.stdout): string =>
  styleText(format, text, { stream });

/** Columns padded to their widest cell; the first row is the head. Control characters of the cells are made visible. */
export const table = (rows: readonly (readonly string[])[]): string => {
  const clean = rows.map((row) => row.map(printable));
  const widths = (clean[0] ?? []).map((_, i) => Math.max(...clean.map((row) => row[i]?.length ?? 0)));
  return clean
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
};

/** Log lines are hostile: an escape sequence in one must not reach the terminal. */
export const printable = (text: string): string =>
  text.replace(/\p{Cc}/gu, (character) =>
    character === "\n" || character === "\t"
      ? " "
      : `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, "0")}`,
  );

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
