import {
  ALPHABETIC,
  CLASS,
  COLON,
  COMMA,
  DASH,
  DIGIT,
  DOT,
  HEX_LETTER,
  IN_WORD,
  LETTER,
  MARK,
  NEWLINE,
  PLAIN,
  SLASH_BYTE,
  SPACE,
  STAR,
  TIE,
} from "./byte-class.ts";

/*
 * Where words end and what short words are, from the bytes alone; `end` is where the line ends.
 */

/** FNV-1a's offset basis and prime (Fowler, Noll, Vo). */
export const BASIS = 0x811c9dc5 | 0;
export const PRIME = 0x01000193;

/** No word of a language has so many letters of a to f alone. */
export const HEX_LETTERS_MIN = 8;

const classAt = (bytes: Uint8Array, at: number): number => CLASS[bytes[at] as number] as number;
const codes = (text: string): number[] => Array.from(text, (char) => char.charCodeAt(0));
/** A short word as a number: no string is made for a line that is known. */
const packed = (bytes: ArrayLike<number>, start: number, end: number): number => {
  let word = 0;
  for (let at = start; at < end; at++) word = word * 256 + (bytes[at] as number);
  return word;
};
const packedWords = (text: string): ReadonlySet<number> =>
  new Set(text.split(" ").map((word) => packed(codes(word), 0, word.length)));

const MONTHS = packedWords("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec");
const DAYS = packedWords("Mon Tue Wed Thu Fri Sat Sun");
/** Abbreviations of zones, as `date` writes them. */
const ZONES = packedWords(
  "UTC GMT EST EDT CST CDT MST MDT PST PDT AKST AKDT HST CET CEST EET EEST WET WEST BST MSK IST JST KST SGT HKT AEST AEDT NZST NZDT",
);
const HTTP = packed(codes("HTTP/"), 0, 5);
const ENDS_URL = new Set(codes("\"'<>)]}`"));

export const isMonth = (bytes: Uint8Array, start: number): boolean => MONTHS.has(packed(bytes, start, start + 3));
export const isDay = (bytes: Uint8Array, start: number): boolean => DAYS.has(packed(bytes, start, start + 3));
export const isZone = (bytes: Uint8Array, start: number, end: number): boolean => ZONES.has(packed(bytes, start, end));
export const isHttpVersion = (bytes: Uint8Array, start: number): boolean => packed(bytes, start, start + 5) === HTTP;

export const hashOf = (bytes: ArrayLike<number>, start: number, end: number): number => {
  let hash = BASIS;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), PRIME);
  return hash;
};

const TRUE = hashOf(codes("true"), 0, 4);
const FALSE = hashOf(codes("false"), 0, 5);
const NULL = hashOf(codes("null"), 0, 4);

export const isLiteral = (bytes: Uint8Array, start: number, end: number): boolean => {
  const first = (bytes[start] as number) | 32;
  // The letters that literals begin with: t, f, n.
  if (first !== 116 && first !== 102 && first !== 110) return false;
  let hash = BASIS;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ ((bytes[at] as number) | 32), PRIME);
  return hash === TRUE || hash === FALSE || hash === NULL;
};

export const isHexLetters = (bytes: Uint8Array, start: number, end: number): boolean => {
  for (let at = start; at < end; at++) if (classAt(bytes, at) !== HEX_LETTER) return false;
  return true;
};

/** \042 and its like, by which some loggers write quotes. */
export const isOctal = (bytes: Uint8Array, at: number, end: number): boolean => {
  if (at + 3 >= end) return false;
  for (let digit = at + 1; digit <= at + 3; digit++) {
    const byte = bytes[digit] as number;
    if (byte < 48 || byte > 55) return false;
  }
  return true;
};

/** Where at most four hexadecimal digits end, with a mark or the end of the word behind them; -1 when there are none. */
export const hexGroupEnd = (bytes: Uint8Array, start: number, end: number): number => {
  let at = start;
  while (at < end && (classAt(bytes, at) & (DIGIT | HEX_LETTER)) !== 0) at++;
  if (at === start || at - start > 4) return -1;
  return at >= end || (classAt(bytes, at) & (LETTER | TIE)) === 0 ? at : -1;
};

/** Two to five digits, and nothing more of the word. */
export const isPortNumber = (bytes: Uint8Array, start: number, end: number): boolean => {
  let at = start;
  while (at < end && classAt(bytes, at) === DIGIT) at++;
  return at - start >= 2 && at - start <= 5 && (at >= end || (classAt(bytes, at) & PLAIN) === 0);
};

/** `Mozilla/5.0`, a product with its version as HTTP names agents (RFC 9110, 10.1.5). */
export const isProduct = (bytes: Uint8Array, start: number, end: number): boolean => {
  let at = start;
  while (at < end && (classAt(bytes, at) & (ALPHABETIC | TIE)) !== 0) at++;
  return at > start && at + 1 < end && bytes[at] === SLASH_BYTE && classAt(bytes, at + 1) === DIGIT;
};

/** Marks at the end of a word belong to the sentence. */
export const withoutMarks = (bytes: Uint8Array, start: number, end: number): number => {
  let at = end;
  while (at > start + 1 && (classAt(bytes, at - 1) & MARK) !== 0) at--;
  return at;
};

export const urlEnd = (bytes: Uint8Array, start: number, end: number): number => {
  let at = start;
  while (at < end && (classAt(bytes, at) & (SPACE | NEWLINE)) === 0 && !ENDS_URL.has(bytes[at] as number)) at++;
  while (at > start && (bytes[at - 1] === DOT || bytes[at - 1] === COMMA || bytes[at - 1] === COLON)) at--;
  return at;
};

/** A path goes on behind a star. */
export const patternEnd = (bytes: Uint8Array, star: number, end: number): number => {
  let at = star;
  while (at < end && (bytes[at] === STAR || (classAt(bytes, at) & IN_WORD) !== 0)) at++;
  return at;
};

/** ECMA-48 control sequences, as terminals get them: ESC [ … letter. */
export const escapeEnd = (bytes: Uint8Array, start: number, end: number): number => {
  if (bytes[start + 1] !== 91) return start + 1;
  let at = start + 2;
  while (at < end && (classAt(bytes, at) & ALPHABETIC) === 0) at++;
  return at + 1;
};

/** Where the number of `core.42` or `jetty-6.1` begins: a word without digits, one mark, digits and dots; -1 when it is no such word. */
export const numberBehind = (bytes: Uint8Array, start: number, end: number): number => {
  let at = end;
  while (at > start && (classAt(bytes, at - 1) === DIGIT || bytes[at - 1] === DOT)) at--;
  const mark = bytes[at] === DOT ? at : at - 1;
  if ((bytes[mark] !== DOT && bytes[mark] !== DASH) || mark <= start || mark + 1 >= end) return -1;
  if (classAt(bytes, mark - 1) === TIE) return -1;
  for (let before = start; before < mark; before++) if ((classAt(bytes, before) & (ALPHABETIC | TIE)) === 0) return -1;
  return mark + 1;
};
