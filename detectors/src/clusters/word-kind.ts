import {
  ALPHABETIC,
  ALPHANUMERIC,
  BACKSLASH,
  CLASS,
  COLON,
  DASH,
  DIGIT,
  DOT,
  EQUALS,
  HEX_LETTER,
  LETTER,
  PLUS,
  SLASH,
  SLASH_BYTE,
} from "./byte-class.ts";
import { DURATION, HEX, HOST, ID, IP, NAME, NUMBER, PATH, SIZE, TIME, WORD } from "./token-kind.ts";

/*
 * The kind of one word, from its bytes alone: what is a variable by its form. Words without digits, slashes and dots never come here.
 */

const LETTER_T = 84;
const LETTER_Z = 90;

/** A word of letters with so many digits is an identifier; fewer may belong to a name: eth0, IPv6, stage2. */
const ID_DIGITS_MIN = 3;
/** Hexadecimal digits without any mark of it: shorter ones may be words or plain names. */
const HEX_LENGTH_MIN = 6;

/** Words are compared as numbers, seven letters at most: no string is made for a line that is known. */
const PACKED_BYTES_MAX = 7;

const packed = (bytes: Uint8Array, start: number, end: number): number => {
  if (end - start > PACKED_BYTES_MAX) return -1;
  let value = 0;
  for (let at = start; at < end; at++) value = value * 128 + ((bytes[at] as number) & 127);
  return value;
};

const packedWords = (text: string): ReadonlySet<number> =>
  new Set(text.split(" ").map((word) => packed(Buffer.from(word), 0, Buffer.byteLength(word))));

const DURATIONS = packedWords(
  "ns us µs ms s sec secs second seconds m min mins minute minutes h hr hrs hour hours d day days NS US MS S SEC M MIN H D",
);
const SIZES = packedWords(
  "b kb mb gb tb pb kib mib gib tib k g t byte bytes bps kbps mbps gbps hz khz mhz ghz " +
    "B kB KB MB GB TB PB KiB MiB GiB TiB K G T Byte Bytes Kbps Mbps Gbps Hz KHz kHz MHz GHz",
);

/** Endings of source files: what stands behind their colon is a line, not a port. */
const SOURCES = packedWords("c h cc cpp cxx hpp m mm go rs py java kt scala js mjs ts rb pl php cs swift lua sh sql");

/** The last label of names of machines that are not in a country: RFC 920, RFC 6762 and names in private use. */
const TOP_LEVELS = packedWords("com net org edu gov mil int info biz arpa local localdo interna lan corp home");

interface Counts {
  digits: number;
  hexLetters: number;
  letters: number;
  dots: number;
  colons: number;
  dashes: number;
  slashes: number;
  /** All else: ties, signs, bytes beyond ASCII are letters. */
  marks: number;
}

/** One for all words: it is filled and read before the next. */
const counts: Counts = { digits: 0, hexLetters: 0, letters: 0, dots: 0, colons: 0, dashes: 0, slashes: 0, marks: 0 };

const count = (bytes: Uint8Array, start: number, end: number): void => {
  let digits = 0;
  let hexLetters = 0;
  let letters = 0;
  let dots = 0;
  let colons = 0;
  let dashes = 0;
  let slashes = 0;
  let marks = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    const kind = CLASS[byte];
    if (kind === DIGIT) digits++;
    else if (kind === HEX_LETTER) hexLetters++;
    else if (kind === LETTER) letters++;
    else if (kind === SLASH) slashes++;
    else if (byte === DOT) dots++;
    else if (byte === COLON) colons++;
    else if (byte === DASH) dashes++;
    else marks++;
  }
  counts.digits = digits;
  counts.hexLetters = hexLetters;
  counts.letters = letters;
  counts.dots = dots;
  counts.colons = colons;
  counts.dashes = dashes;
  counts.slashes = slashes;
  counts.marks = marks;
};

/** The kind of a word, WORD or NAME when it stays text; `next` is the byte behind it. */
export const wordKind = (bytes: Uint8Array, start: number, end: number, next: number): number => {
  count(bytes, start, end);
  if (counts.slashes > 0) return slashedKind(bytes, start, end);
  if (counts.colons > 0 && counts.dots > 0 && isSourceLine(bytes, start, end)) return WORD;
  if (counts.digits === 0) return counts.dots > 0 && isHost(bytes, start, end) ? HOST : WORD;
  const first = bytes[start] as number;
  const isHex = counts.letters === 0 && counts.marks === 0;
  if (isHex && counts.hexLetters === 0) return digitsKind(bytes, start);
  if (isHex) {
    const kind = hexKind(end - start);
    if (kind !== WORD) return kind;
  }
  if (isTimestamp(bytes, start, end)) return TIME;
  if (first === 48 && (bytes[start + 1] === 120 || bytes[start + 1] === 88)) return HEX;
  if (CLASS[first] === DIGIT || first === DASH || first === PLUS) return numberedKind(bytes, start, end);
  return letteredKind(bytes, start, end, next);
};

/** `/a/b`, `./a`, `~/a`, `C:\a`, and what has two slashes or a digit; `and/or` is a word. */
const slashedKind = (bytes: Uint8Array, start: number, end: number): number => {
  const first = bytes[start] as number;
  const length = end - start;
  if (length === 1) return WORD;
  const isAddress =
    counts.slashes === 1 && counts.dots === 3 && counts.letters + counts.hexLetters + counts.marks === 0;
  // Java prints addresses with a slash before them; behind them it is a network's length.
  if (isAddress) return IP;
  if (first === SLASH_BYTE) return PATH;
  // The common log format's time: 10/Oct/2000:13:55:36.
  if (counts.slashes === 2 && counts.colons === 3 && counts.letters + counts.hexLetters === 3) return TIME;
  if (counts.slashes === 2 && counts.dots + counts.colons + counts.letters + counts.hexLetters + counts.marks === 0)
    return TIME;
  if (bytes[start + 1] === COLON && (bytes[start + 2] === BACKSLASH || bytes[start + 2] === SLASH_BYTE)) return PATH;
  if (counts.slashes >= 2 || first === DOT || first === 126) return PATH;
  return counts.digits >= ID_DIGITS_MIN && counts.letters + counts.hexLetters > 0 ? ID : WORD;
};

/** Digits with dots, colons and dashes only. */
const digitsKind = (bytes: Uint8Array, start: number): number => {
  const { dots, colons, dashes } = counts;
  if (dots === 3 && dashes === 0 && colons <= 1) return IP;
  if (colons > 0) {
    const isClock = bytes[start + 1] === COLON || bytes[start + 2] === COLON || dashes > 0;
    if (isClock) return colons <= 2 ? TIME : ID;
    return colons === 1 ? WORD : ID;
  }
  if (dashes === 2) return TIME;
  return dots <= 1 && dashes <= 1 ? NUMBER : ID;
};

/** Hexadecimal digits with dots, colons and dashes, at least one a letter. */
const hexKind = (length: number): number => {
  const { colons, dashes, dots } = counts;
  if (length === 36 && dashes === 4) return ID;
  if (colons >= 5 && dots === 0) return IP;
  if (colons >= 2) return IP;
  return length >= HEX_LENGTH_MIN && colons + dashes + dots === 0 ? HEX : WORD;
};

/** ISO 8601 (2026-11-21T03:04:05.123Z, and with an offset): dashes, then colons, no letters but T and Z. */
const isTimestamp = (bytes: Uint8Array, start: number, end: number): boolean => {
  if (counts.digits < 8 || counts.dashes + counts.slashes < 2 || counts.letters + counts.hexLetters > 2) return false;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    const kind = CLASS[byte] as number;
    if ((kind & ALPHABETIC) !== 0 && byte !== LETTER_T && byte !== LETTER_Z) return false;
    if ((kind & ALPHANUMERIC) === 0 && byte !== DASH && byte !== COLON && byte !== DOT && byte !== PLUS) return false;
  }
  return counts.colons > 0;
};

/** Begins with a digit or a sign: a number with a unit, or an identifier. */
const numberedKind = (bytes: Uint8Array, start: number, end: number): number => {
  const letters = counts.letters + counts.hexLetters;
  if (letters === 0) return counts.dots <= 1 && counts.colons === 0 && counts.marks + counts.dashes <= 1 ? NUMBER : ID;
  if (letters > 7 || counts.dots > 1) return isHost(bytes, start, end) ? HOST : ID;
  let at = end;
  while (at > start && ((CLASS[bytes[at - 1] as number] as number) & ALPHABETIC) !== 0) at--;
  if (end - at < letters || at === start) return isExponent(bytes, start, end) ? NUMBER : ID;
  const unit = packed(bytes, at, end);
  if (DURATIONS.has(unit)) return DURATION;
  return SIZES.has(unit) ? SIZE : ID;
};

/** 1.5e-07 */
const isExponent = (bytes: Uint8Array, start: number, end: number): boolean => {
  if (counts.letters > 0 || counts.hexLetters !== 1) return false;
  for (let at = start + 1; at < end - 1; at++) if (bytes[at] === 101 || bytes[at] === 69) return true;
  return false;
};

/** Begins with a letter and has digits. */
const letteredKind = (bytes: Uint8Array, start: number, end: number, next: number): number => {
  const isKeyOrCall = next === 61 || next === 40;
  if (isKeyOrCall && counts.digits < ID_DIGITS_MIN * 2) return NAME;
  if (counts.dots > 0 && isHost(bytes, start, end)) return HOST;
  if (counts.dots > 0 && counts.letters + counts.hexLetters === 1 && ((bytes[start] as number) | 32) === 118) return ID;
  if (counts.colons > 0 && isPort(bytes, start, end)) return HOST;
  if (counts.dots > 1 && counts.digits < ID_DIGITS_MIN * 2 && CLASS[bytes[end - 1] as number] !== DIGIT) return NAME;
  if (bytes[start - 1] === EQUALS) return ID;
  return counts.digits >= ID_DIGITS_MIN ? ID : NAME;
};

const isSourceLine = (bytes: Uint8Array, start: number, end: number): boolean => {
  let colon = start;
  while (bytes[colon] !== COLON) colon++;
  let dot = colon - 1;
  while (dot > start && bytes[dot] !== DOT) dot--;
  return dot > start && colon < end && SOURCES.has(packed(bytes, dot + 1, colon));
};

const isPort = (bytes: Uint8Array, start: number, end: number): boolean => {
  let at = end;
  while (at > start && CLASS[bytes[at - 1] as number] === DIGIT) at--;
  return end - at >= 2 && end - at <= 5 && bytes[at - 1] === COLON && counts.colons === 1;
};

/** Labels between dots, the last one a top level or a country's two letters behind two more labels; a port may follow. */
const isHost = (bytes: Uint8Array, start: number, wholeEnd: number): boolean => {
  let end = wholeEnd;
  if (counts.colons === 1 && isPort(bytes, start, wholeEnd)) while (bytes[--end] !== COLON);
  else if (counts.colons > 0) return false;
  let at = end;
  while (at > start && ((CLASS[bytes[at - 1] as number] as number) & ALPHABETIC) !== 0) at--;
  if (at === start || bytes[at - 1] !== DOT || counts.marks > 0) return false;
  if (counts.dots === 0) return false;
  if (end - at === 2 && counts.dots >= 2) return ((bytes[at] as number) & (bytes[at + 1] as number) & 32) !== 0;
  // Names in private use that are longer count with their first seven letters: internal, localdomain.
  return TOP_LEVELS.has(packed(bytes, at, Math.min(end, at + PACKED_BYTES_MAX)));
};
