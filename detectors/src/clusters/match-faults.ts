import { KNOWN_FAULTS, type KnownFault } from "./known-faults.ts";

/** Of a longer text only the beginning is looked at. */
const CHARACTERS_MAX = 8192;
/** So many words at most lie between the two parts of a phrase with a gap. */
const GAP_WORDS_MAX = 6;
const GAP = "…";

interface Phrase {
  readonly fault: number;
  readonly isException: boolean;
  readonly head: readonly string[];
  /** After a gap; empty without one. */
  readonly tail: readonly string[];
}

const phraseOf = (text: string, fault: number, isException: boolean): Phrase => {
  const words = text.split(" ");
  const gap = words.indexOf(GAP);
  return gap < 0
    ? { fault, isException, head: words, tail: [] }
    : { fault, isException, head: words.slice(0, gap), tail: words.slice(gap + 1) };
};

/** Phrases by their first word: most words of a text begin none. */
const PHRASES: ReadonlyMap<string, readonly Phrase[]> = Map.groupBy(
  KNOWN_FAULTS.flatMap(({ phrases, unless }, fault) => [
    ...phrases.map((text) => phraseOf(text, fault, false)),
    ...(unless ?? []).map((text) => phraseOf(text, fault, true)),
  ]),
  ({ head }) => head[0] ?? "",
);

const NONE = 0;
const LOWER = 1;
const UPPER = 2;
const DIGIT = 3;

/** Letters beyond ASCII belong to words and have no case here: phrases are ASCII. */
const kindOf = (code: number): number => {
  if (code >= 97 && code <= 122) return LOWER;
  if (code >= 65 && code <= 90) return UPPER;
  if (code >= 48 && code <= 57) return DIGIT;
  return code > 127 ? LOWER : NONE;
};

/** A new word begins where `aB` or, of `ABc`, where `Bc` stands: OutOfMemoryError, OOMKilled. */
const isHump = (before: number, kind: number, after: number): boolean =>
  kind === UPPER && (before === LOWER || (before === UPPER && after === LOWER));

/** What stands for a variable in a template; in a phrase it is a word of its own. */
const WILDCARD = "*";

const isWildcard = (text: string, at: number): boolean => text.startsWith(`<${WILDCARD}>`, at);

/** The words of a text, in lower case. */
const wordsOf = (text: string): string[] => {
  const end = Math.min(text.length, CHARACTERS_MAX);
  const words: string[] = [];
  let start = -1;
  let before = NONE;
  for (let at = 0; at <= end; at++) {
    const kind = at < end ? kindOf(text.charCodeAt(at)) : NONE;
    const isBreak =
      start >= 0 && (kind === NONE || isHump(before, kind, at + 1 < end ? kindOf(text.charCodeAt(at + 1)) : NONE));
    if (isBreak) {
      words.push(text.slice(start, at).toLowerCase());
      start = -1;
    }
    if (kind !== NONE && start < 0) start = at;
    if (kind === NONE && isWildcard(text, at)) words.push(WILDCARD);
    before = kind;
  }
  return words;
};

const isAt = (words: readonly string[], at: number, phrase: readonly string[]): boolean => {
  for (let index = 0; index < phrase.length; index++) if (words[at + index] !== phrase[index]) return false;
  return true;
};

const matches = (words: readonly string[], at: number, { head, tail }: Phrase): boolean => {
  if (!isAt(words, at, head)) return false;
  if (tail.length === 0) return true;
  const from = at + head.length;
  for (let next = from; next <= from + GAP_WORDS_MAX; next++) if (isAt(words, next, tail)) return true;
  return false;
};

interface Range {
  readonly fault: number;
  readonly from: number;
  readonly to: number;
}

/**
 * The well-known faults that a template, or a line, speaks of, in the order of the table. Linear in the text: each word is compared with
 * the few phrases that it begins.
 */
export const knownFaults = (text: string): readonly KnownFault[] => {
  const words = wordsOf(text);
  const said: Range[] = [];
  const excepted: Range[] = [];
  words.forEach((word, at) => {
    for (const phrase of PHRASES.get(word) ?? []) {
      if (!matches(words, at, phrase)) continue;
      const range = { fault: phrase.fault, from: at, to: at + phrase.head.length };
      (phrase.isException ? excepted : said).push(range);
    }
  });
  if (said.length === 0) return [];
  const isExcepted = ({ fault, from, to }: Range): boolean =>
    excepted.some((range) => range.fault === fault && range.from <= from && to <= range.to);
  const faults = new Set(said.filter((range) => !isExcepted(range)).map(({ fault }) => fault));
  return KNOWN_FAULTS.filter((_, fault) => faults.has(fault));
};
