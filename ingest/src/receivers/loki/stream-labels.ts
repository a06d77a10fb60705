import { setText } from "../otlp/any-value.ts";

/** A label of `{name="value", …}`, as Loki's clients write it: Go's quoted strings, or raw ones in backquotes. */
const LABEL = /\s*([a-zA-Z_][a-zA-Z0-9_.:]*)\s*=\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)"|`([^`]*)`)\s*([,}]|$)/y;

/** Loki itself allows 15 by default. */
export const LABELS_MAX = 256;

/** @throws SyntaxError that quotes the place. */
export const parseStreamLabels = (text: string): Record<string, string> => {
  const trimmed = text.trim();
  if (!trimmed.startsWith("{") || !trimmed.endsWith("}")) throw wrong(trimmed, 0);
  const labels: Record<string, string> = {};
  let at = 1;
  for (let count = 0; ; count++) {
    if (trimmed.slice(at).trim() === "}") return labels;
    if (count === LABELS_MAX) throw new SyntaxError(`a stream has more than ${LABELS_MAX} labels`);
    LABEL.lastIndex = at;
    const match = LABEL.exec(trimmed);
    if (match === null) throw wrong(trimmed, at);
    const [, name = "", quoted, raw = "", end] = match;
    setText(labels, name, quoted === undefined ? raw : unquoted(quoted));
    at = LABEL.lastIndex;
    if (end === "}" && at === trimmed.length) return labels;
    if (end !== ",") throw wrong(trimmed, at);
  }
};

const wrong = (text: string, at: number): SyntaxError =>
  new SyntaxError(`labels ${JSON.stringify(text.slice(0, 100))}: expected {name="value", …}, wrong at character ${at}`);

/** https://go.dev/ref/spec#String_literals */
const ESCAPE = /\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)/gs;
const LETTERS: Readonly<Record<string, string>> = {
  a: "\u0007",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};
const CODE_POINT_MAX = 0x10ffff;

const unquoted = (text: string): string =>
  text.includes("\\") ? text.replace(ESCAPE, (_all, sequence: string) => unescaped(sequence)) : text;

const unescaped = (sequence: string): string => {
  if (sequence.length === 1) return LETTERS[sequence] ?? sequence;
  const isOctal = /^[0-7]/.test(sequence);
  const code = isOctal ? Number.parseInt(sequence, 8) : Number.parseInt(sequence.slice(1), 16);
  return code > CODE_POINT_MAX ? "\ufffd" : String.fromCodePoint(code).toWellFormed();
};
