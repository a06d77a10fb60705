import { styleText } from "node:util";
import { printable } from "./terminal-text.ts";

export { printable } from "./terminal-text.ts";

type Format = Parameters<typeof styleText>[0];

/** Colours when the stream is a terminal that wants them; `NO_COLOR` (https://no-color.org) and `FORCE_COLOR` are honoured by Node. */
export const style = (format: Format, text: string, stream: NodeJS.WriteStream = process.stdout): string =>
  styleText(format, text, { stream });

/** States of jobs, invocations, agents and plugins; others have no colour. */
const COLOURS: Readonly<Record<string, Format>> = {
  succeeded: "green",
  online: "green",
  active: "green",
  whole: "green",
  running: "cyan",
  accepted: "cyan",
  delivered: "cyan",
  recording: "cyan",
  awaiting_approval: "yellow",
  stopping: "yellow",
  queued: "yellow",
  degraded: "yellow",
  quarantined: "yellow",
  cancelled: "yellow",
  expired: "yellow",
  unsealed: "yellow",
  failed: "red",
  timed_out: "red",
  refused: "red",
  rejected: "red",
  lost: "red",
  offline: "red",
  revoked: "red",
  altered: "red",
};

export const stateColour = (state: string, text = state): string => {
  const colour = COLOURS[state];
  return colour === undefined ? text : style(colour, text);
};

const GAP = 2;
/** A column is not made narrower than this. */
const COLUMN_CHARS_MIN = 8;

/** Takes from the widest column until all fit. */
const fit = (widths: readonly number[], columns: number): readonly number[] => {
  const fitted = [...widths];
  const room = columns - GAP * Math.max(0, widths.length - 1);
  for (let over = fitted.reduce((sum, width) => sum + width, 0) - room; over > 0; ) {
    const widest = fitted.indexOf(Math.max(...fitted));
    const width = fitted[widest] ?? 0;
    if (width <= COLUMN_CHARS_MIN) break;
    const second = Math.max(...fitted.filter((_, i) => i !== widest), COLUMN_CHARS_MIN);
    const less = Math.min(over, Math.max(1, width - second), width - COLUMN_CHARS_MIN);
    fitted[widest] = width - less;
    over -= less;
  }
  return fitted;
};

const cut = (text: string, width: number): string => (text.length <= width ? text : `${text.slice(0, width - 1)}…`);

/**
 * Columns padded to their widest cell, and cut to the terminal's width where there is one; the first row is the head. Control characters of
 * the cells are made visible. Cells that are a state have its colour.
 */
export const table = (
  rows: readonly (readonly string[])[],
  columns = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY,
): string => {
  const clean = rows.map((row) => row.map(printable));
  const widest = (clean[0] ?? []).map((_, i) => clean.reduce((width, row) => Math.max(width, row[i]?.length ?? 0), 0));
  const widths = fit(widest, columns);
  return clean
    .map((row, index) =>
      row
        .map((cell, i) => {
          const width = widths[i] ?? 0;
          const padded = cut(cell, width).padEnd(width);
          return index === 0 ? padded : stateColour(cell, padded);
        })
        .join(" ".repeat(GAP))
        .trimEnd(),
    )
    .join("\n");
};

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** How long ago, as a person says it. */
export const ago = (thenUnixMs: number | null, nowUnixMs: number): string => {
  if (thenUnixMs === null) return "never";
  const s = Math.max(0, Math.round((nowUnixMs - thenUnixMs) / 1000));
  if (s < 120) return `${s} s ago`;
  if (s < 7_200) return `${Math.round(s / 60)} min ago`;
  return s < 172_800 ? `${Math.round(s / 3_600)} h ago` : `${Math.round(s / 86_400)} days ago`;
};
