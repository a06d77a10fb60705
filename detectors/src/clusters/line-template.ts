import { createHash } from "node:crypto";
import type { LineScanner } from "./line-scanner.ts";
import { DELIMITER, EMPTY, isVariable, typeName, WILDCARD } from "./token-kind.ts";
import { PROTECTED, speaksOfError, UNIT, wordFlags } from "./vocabulary.ts";

/** Beyond so many distinct values a place is as variable as it can be. */
export const VALUES_KEPT_MAX = 16;

/** A value that a wildcard has taken: enough to tell it from others, and to give it back. */
export interface Value {
  readonly kind: number;
  readonly hash: number;
  readonly flags: number;
  readonly text: string;
}

/** A template: the tokens of the first line of its kind, some of which became wildcards. */
export interface LineTemplate {
  /** From the masked line that was the first of its kind: it stays when wildcards come, and is the same on every machine that saw the same line first. */
  readonly id: string;
  /** The id of the template that this one was split from; null for none. */
  readonly splitFrom: string | null;
  /** Its words speak of an error. */
  readonly isError: boolean;
  readonly kinds: Uint8Array;
  readonly hashes: Int32Array;
  readonly gaps: Uint8Array;
  readonly flags: Uint8Array;
  readonly texts: string[];
  /** The distinct values that each wildcard has had, at most VALUES_KEPT_MAX of them. */
  readonly values: Map<number, Value[]>;
  /** Of the marks and of what stands between them: only templates of one shape are compared. */
  readonly shape: number;
  count: number;
  /** From this count on it is asked again whether its wildcards are variables. */
  reviewAt: number;
  /** The number of the line that was its last: what was seen least recently goes first. */
  seen: number;
  last_seen_unix_ms: number;
}

/** 53 bits of the marks and of how many tokens stand between them. */
export const shapeOf = ({ count, kinds, hashes }: Pick<LineScanner, "count" | "kinds" | "hashes">): number => {
  let [hash, other] = [0x811c9dc5 | 0, 0x1b873593];
  for (let at = 0; at < count; at++) {
    const value = kinds[at] === DELIMITER ? (hashes[at] as number) : 1;
    hash = Math.imul(hash ^ value, 0x01000193);
    other = Math.imul(other ^ value, 0x85ebca6b) + 1;
  }
  return (hash >>> 0) * 2_097_152 + (other >>> 11);
};

const maskedText = (texts: readonly string[], kinds: Uint8Array): string =>
  texts
    .map((text, at) => (isVariable(kinds[at] as number) ? `<${typeName(kinds[at] as number)}>` : `${text}${kinds[at]}`))
    .join(" ");

export const idOf = (texts: readonly string[], kinds: Uint8Array): string =>
  createHash("sha256").update(maskedText(texts, kinds)).digest("hex").slice(0, 16);

export const tokenText = (scanner: LineScanner, bytes: Buffer, at: number): string =>
  bytes.toString("utf8", scanner.starts[at], scanner.ends[at]);

/** The count of lines at which a template's wildcards are reviewed first. */
export const REVIEW_LINES_MIN = 16_384;

/** What the scanner has read, as a template of its own. */
export const templateOf = (scanner: LineScanner, bytes: Buffer, shape: number): LineTemplate => {
  const { count } = scanner;
  const kinds = scanner.kinds.slice(0, count);
  const texts: string[] = [];
  const flags = new Uint8Array(count);
  for (let at = 0; at < count; at++) {
    const kind = kinds[at] as number;
    const text = isVariable(kind) || kind === WILDCARD ? "" : tokenText(scanner, bytes, at);
    texts.push(text);
    flags[at] = wordFlags(kind, text);
  }
  return {
    id: idOf(texts, kinds),
    splitFrom: null,
    isError: speaksOfError(texts),
    kinds,
    hashes: scanner.hashes.slice(0, count),
    gaps: scanner.gaps.slice(0, count),
    flags,
    texts,
    values: new Map(),
    shape,
    count: 0,
    reviewAt: REVIEW_LINES_MIN,
    seen: 0,
    last_seen_unix_ms: 0,
  };
};

export const valueAt = ({ kinds, hashes, flags, texts }: LineTemplate, at: number): Value => ({
  kind: kinds[at] as number,
  hash: hashes[at] as number,
  flags: flags[at] as number,
  text: texts[at] as string,
});

/** Notes that the wildcard at this place took the value. */
export const noteValue = (template: LineTemplate, at: number, value: Value): void => {
  const values = template.values.get(at) ?? [];
  template.values.set(at, values);
  if (values.length >= VALUES_KEPT_MAX || values.some(({ kind, hash }) => kind === value.kind && hash === value.hash))
    return;
  values.push(value);
};

/** Makes the places wildcards, with the values that they have had. */
export const giveUp = (template: LineTemplate, places: readonly number[]): void => {
  for (const at of places) {
    if (template.kinds[at] === WILDCARD) continue;
    noteValue(template, at, valueAt(template, at));
    template.kinds[at] = WILDCARD;
    template.hashes[at] = WILDCARD;
    template.flags[at] = 0;
    template.texts[at] = "";
  }
};

/** So many values are names beyond doubt: a protected word among them is a name too. */
export const isProven = ({ values }: LineTemplate, at: number): boolean => values.get(at)?.length === VALUES_KEPT_MAX;

/** The number of wildcards when they, and the variables, take every token of the line that was scanned; -1 when they do not. */
export const wildcardsFor = (template: LineTemplate, scanner: LineScanner, bytes: Buffer): number => {
  const { kinds, hashes } = template;
  let wildcards = 0;
  for (let at = 0; at < kinds.length; at++) {
    if (kinds[at] === WILDCARD) wildcards++;
    else if (kinds[at] !== scanner.kinds[at] || hashes[at] !== scanner.hashes[at]) return -1;
  }
  for (let at = 0; wildcards > 0 && at < kinds.length; at++) {
    if (kinds[at] !== WILDCARD || isProven(template, at)) continue;
    const kind = scanner.kinds[at] as number;
    if (!isVariable(kind) && (wordFlags(kind, tokenText(scanner, bytes, at)) & PROTECTED) !== 0) return -1;
  }
  return wildcards;
};

const GLUE = new Set([".", "-", "_"]);
/** A variable, by its form or because it varies. */
export const isOpen = (kind: number | undefined): boolean =>
  kind !== undefined && (isVariable(kind) || kind === WILDCARD);

/** A unit that varies is a part of the number before it. */
const isVaryingUnit = ({ kinds, values }: LineTemplate, at: number): boolean =>
  kinds[at] === WILDCARD && isOpen(kinds[at - 1]) && (values.get(at) ?? []).some(({ flags }) => (flags & UNIT) !== 0);

/** The template as a person reads it: `<*>` for what varies; variables that a dot or a dash binds are one. */
export const templateText = (template: LineTemplate): string => {
  const { kinds, texts, gaps } = template;
  const pieces: string[] = [];
  for (let at = 0; at < kinds.length; at++) {
    const kind = kinds[at] as number;
    if (isOpen(kind)) {
      const isBound = gaps[at] === 0 && pieces.at(-2) === "<*>" && GLUE.has(pieces.at(-1) ?? "");
      if (isBound) pieces.pop();
      if (isBound || isVaryingUnit(template, at)) continue;
    }
    if (gaps[at] === 1 && kind !== EMPTY) pieces.push(" ");
    pieces.push(isOpen(kind) ? "<*>" : (texts[at] ?? ""));
  }
  return pieces.join("").trim();
};

export interface Variable {
  /** number, time, duration, size, ip, path, url, hex, id, host, literal, or word for what is a variable only because it varies. */
  readonly type: string;
  readonly text: string;
}

/** The variables of a line that was scanned, in their order; of a line of another shape only those that are variables by their form. */
export const variablesOf = (template: LineTemplate, scanner: LineScanner, bytes: Uint8Array): Variable[] => {
  const kinds = shapeOf(scanner) === template.shape ? template.kinds : scanner.kinds;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const variables: Variable[] = [];
  for (let at = 0; at < scanner.count; at++) {
    if (isOpen(kinds[at]))
      variables.push({ type: typeName(scanner.kinds[at] as number), text: tokenText(scanner, text, at) });
  }
  return variables;
};
