import {
  ALPHABETIC,
  ALPHANUMERIC,
  BACKSLASH,
  CLASS,
  COLON,
  COMMA,
  DASH,
  DIGIT,
  DOT,
  EQUALS,
  ESCAPE,
  HEX_LETTER,
  IN_WORD,
  MARK,
  NEWLINE,
  PLAIN,
  PLUS,
  QUESTION,
  QUOTE,
  SLASH,
  SLASH_BYTE,
  SPACE,
  STAR,
  WORD_START,
} from "./byte-class.ts";
import {
  DELIMITER,
  EMPTY,
  HEX,
  HOST,
  ID,
  IP,
  isVariable,
  LITERAL,
  NAME,
  NUMBER,
  PATH,
  TIME,
  URL,
  WILDCARD,
  WORD,
} from "./token-kind.ts";
import { TELLING_KEYS } from "./vocabulary.ts";
import {
  BASIS,
  escapeEnd,
  HEX_LETTERS_MIN,
  hashOf,
  hexGroupEnd,
  isDay,
  isHexLetters,
  isHttpVersion,
  isLiteral,
  isMonth,
  isOctal,
  isPortNumber,
  isProduct,
  isZone,
  numberBehind,
  PRIME,
  patternEnd,
  urlEnd,
  withoutMarks,
} from "./word-bounds.ts";
import { wordKind } from "./word-kind.ts";

/** What is behind this many bytes of a line is not looked at. */
export const LINE_BYTES_MAX = 4096;
/** What is behind this many tokens is one wildcard. */
export const TOKENS_MAX = 256;

/** Of a second hash of the line, beside FNV-1a. */
const OTHER_BASIS = 0x1b873593;
const OTHER_PRIME = 0x85ebca6b | 0;

const codes = (text: string): number[] => Array.from(text, (char) => char.charCodeAt(0));
const ENDS_EMPTY = new Set(codes(",;)]}|&"));
/** A sign belongs to its number when there is a blank or one of these before it. */
const BEFORE_SIGN = new Set(codes("=:,;([{<\"'|@"));

const CLOSING = new Map([
  [40, 41],
  [91, 93],
]);

/** A longer text between quotes is read word by word. */
const QUOTED_BYTES_MAX = 256;
const TELLING_HASHES = new Set([...TELLING_KEYS].map((key) => hashOf(codes(key), 0, key.length)));
/** So many numbers in a row are a list: one variable, however long it is. */
const NUMBERS_LIST_MIN = 9;
/** So many names of one kind. */
const NAMES_LIST_MIN = 3;
const isNameKind = (kind: number): boolean => kind === ID || kind === IP || kind === PATH || kind === HOST;
/** A hexadecimal number may have digits only. */
const isNumeric = (kind: number): boolean => kind === NUMBER || kind === HEX;

/**
 * One pass over a line's bytes: words, marks between them, and typed variables (numbers, times, durations, sizes, addresses, paths,
 * identifiers, hosts). No regular expression, and no string unless one is asked for. The arrays are filled anew by each `scan`.
 */
export class LineScanner {
  count = 0;
  readonly starts = new Int32Array(TOKENS_MAX + 1);
  readonly ends = new Int32Array(TOKENS_MAX + 1);
  readonly kinds = new Uint8Array(TOKENS_MAX + 1);
  /** Of the text, or of a variable's kind. */
  readonly hashes = new Int32Array(TOKENS_MAX + 1);
  /** 1: a blank stands before the token. */
  readonly gaps = new Uint8Array(TOKENS_MAX + 1);
  /** Two hashes of the masked line. */
  hash = 0;
  otherHash = 0;
  /** How many of the line's bytes were not looked at. */
  cutBytes = 0;

  #bytes: Uint8Array = new Uint8Array(0);
  #end = 0;
  /** The line goes on behind what is looked at. */
  #isCut = false;
  #gap = 0;
  /** The place of a time that may yet get a zone, an offset, and a year if it began with a month; -1: none. */
  #openTime = -1;
  #isMonthOpen = false;
  #listStart = 0;
  #listEnd = -1;
  #listLength = 0;

  scan(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.count = 0;
    this.#gap = 0;
    this.#openTime = -1;
    this.#listEnd = -1;
    this.#end = Math.min(bytes.length, LINE_BYTES_MAX);
    this.#isCut = bytes.length > LINE_BYTES_MAX;
    const at = this.#tokens();
    this.cutBytes = this.#isCut ? bytes.length - LINE_BYTES_MAX : 0;
    if (at < this.#end || this.#isCut) this.#push(at, bytes.length, WILDCARD, WILDCARD);
    let hash = BASIS;
    let other = OTHER_BASIS;
    for (let token = 0; token < this.count; token++) {
      const value = this.hashes[token] as number;
      hash = Math.imul(hash ^ value, PRIME);
      hash ^= hash >>> 15;
      other = Math.imul(other ^ value, OTHER_PRIME) + 1;
      other ^= other >>> 13;
    }
    this.hash = hash | 0;
    this.otherHash = other | 0;
  }

  /** Reads tokens up to the end of the first line; answers where it stopped: before the end only for want of room. */
  #tokens(): number {
    const bytes = this.#bytes;
    let at = 0;
    while (at < this.#end) {
      const byte = bytes[at] as number;
      const kind = CLASS[byte] as number;
      if ((kind & WORD_START) !== 0) {
        if (this.count >= TOKENS_MAX) return at;
        if (byte === BACKSLASH && isOctal(bytes, at, this.#end)) {
          this.#push(at, at + 4, DELIMITER, hashOf(bytes, at, at + 4));
          at += 4;
          continue;
        }
        const next = this.#word(at, at);
        if (next < 0) return at;
        at = next;
      } else if (kind === SPACE) {
        at = byte === ESCAPE ? escapeEnd(bytes, at, this.#end) : at + 1;
        this.#gap = 1;
      } else if (kind === NEWLINE) {
        if (this.count > 0) {
          this.#end = at;
          this.#isCut = false;
          return at;
        }
        at++;
      } else {
        if (this.count >= TOKENS_MAX) return at;
        const isDotPath = byte === DOT && bytes[at + 1] === SLASH_BYTE;
        at = isDotPath || this.#isSign(at, byte) ? this.#word(at, at + 1) : this.#delimiter(at, byte);
        if (at < 0) return this.#end;
      }
    }
    return at;
  }

  #push(start: number, end: number, kind: number, hash: number): void {
    const token = this.count++;
    this.starts[token] = start;
    this.ends[token] = end;
    this.kinds[token] = kind;
    this.hashes[token] = hash;
    this.gaps[token] = token === 0 ? 0 : this.#gap;
    this.#gap = 0;
  }

  #isSign(at: number, byte: number): boolean {
    if (byte !== DASH && byte !== PLUS) return false;
    if (((CLASS[this.#bytes[at + 1] as number] as number) & DIGIT) === 0 || at + 1 >= this.#end) return false;
    return this.#gap === 1 || this.count === 0 || BEFORE_SIGN.has(this.#bytes[at - 1] as number);
  }

  /** A run of one mark is one token. */
  #delimiter(start: number, byte: number): number {
    const bytes = this.#bytes;
    let at = start + 1;
    while (at < this.#end && bytes[at] === byte) at++;
    // The common log format's way to write that there is no value.
    if (byte === DASH && bytes[start - 1] === QUOTE && bytes[at] === QUOTE && at < this.#end) {
      this.#push(start, at, EMPTY, EMPTY);
      return at;
    }
    this.#push(start, at, DELIMITER, Math.imul(byte + 1, 0x9e3779b1) ^ (at - start));
    if (byte === QUOTE && at - start === 1) {
      if (isProduct(bytes, at, this.#end)) return this.#quoted(at, ID);
      if (bytes[start - 1] === EQUALS && !this.#isTelling()) return this.#quoted(at, WORD);
    }
    if (at - start === 1 && this.count < TOKENS_MAX && this.#isEmptyValue(at, byte)) this.#push(at, at, EMPTY, EMPTY);
    return at;
  }

  /** The key before `="` is one whose value is a sentence. */
  #isTelling(): boolean {
    return this.count > 2 && TELLING_HASHES.has(this.hashes[this.count - 3] as number);
  }

  /** What stands between the quotes of `key="…"`, and the name of a user's agent, is one value, unless it is one word. */
  #quoted(start: number, kind: number): number {
    const bytes = this.#bytes;
    const stop = Math.min(this.#end, start + QUOTED_BYTES_MAX);
    let at = start;
    let kinds = 0;
    let isWord = kind === WORD;
    for (; at < stop && bytes[at] !== QUOTE; at++) {
      const byteKind = CLASS[bytes[at] as number] as number;
      kinds |= byteKind;
      if ((byteKind & IN_WORD) === 0 && bytes[at] !== COLON) isWord = false;
    }
    if (at >= stop || at === start || isWord || this.count >= TOKENS_MAX) return start;
    const isId = kind === ID || (kinds & (DIGIT | SLASH)) !== 0;
    this.#push(start, at, isId ? ID : WORD, isId ? ID : hashOf(bytes, start, at));
    return at;
  }

  /** Nothing behind `key=`, and nothing between brackets that are not those of a call. */
  #isEmptyValue(at: number, byte: number): boolean {
    const next = at < this.#end ? (this.#bytes[at] as number) : 32;
    const isSpaced = this.gaps[this.count - 1] === 1;
    if (byte !== EQUALS) return isSpaced && CLOSING.get(byte) === next;
    return !isSpaced && this.count > 1 && (((CLASS[next] as number) & (SPACE | NEWLINE)) !== 0 || ENDS_EMPTY.has(next));
  }

  /** Reads one word from `start`, whose first letter or digit is at `from`; answers where it ends, -1 when the line was cut in it. */
  #word(start: number, from: number): number {
    const bytes = this.#bytes;
    const end = this.#end;
    let kinds = 0;
    let hash = BASIS;
    let at = from;
    for (; at < end; at++) {
      const byte = bytes[at] as number;
      const kind = CLASS[byte] as number;
      if ((kind & PLAIN) === 0) {
        if ((kind & IN_WORD) === 0) {
          if (byte !== COLON || !this.#joins(start, at, kinds)) break;
          if (bytes[at + 1] === SLASH_BYTE && bytes[at + 2] === SLASH_BYTE)
            return this.#extend(start, urlEnd(bytes, at + 3, this.#end), URL);
          kinds |= DIGIT | SLASH;
        } else if ((byte === DOT && bytes[at + 1] === DOT) || (byte === BACKSLASH && isOctal(bytes, at, this.#end)))
          break;
      }
      kinds |= kind;
      hash = Math.imul(hash ^ byte, PRIME);
    }
    if (at >= end && this.#isCut) return -1;
    if ((kinds & MARK) !== 0) {
      const trimmed = withoutMarks(bytes, start, at);
      if (trimmed < at) {
        at = trimmed;
        hash = hashOf(bytes, start, at);
      }
    }
    if ((kinds & (DIGIT | SLASH | MARK)) === 0) {
      this.#plain(start, at, hash);
      return at;
    }
    if (kinds === DIGIT && start === from && bytes[at - 1] !== COLON) return this.#number(start, at);
    return this.#emit(start, at, start === from ? hash : hashOf(bytes, start, at));
  }

  /** A year or an offset may belong to the time before it. */
  #number(start: number, end: number): number {
    if (this.#openTime >= 0 && this.#openTime === this.count - 1 && this.#continuesTime(start, end)) this.#absorb(end);
    else this.#pushVariable(start, end, NUMBER);
    return end;
  }

  /** A colon inside of a word: times, addresses, ports, drives, and `scheme://`. */
  #joins(start: number, at: number, kinds: number): boolean {
    const bytes = this.#bytes;
    if (at + 1 >= this.#end) return false;
    const next = bytes[at + 1] as number;
    const kind = CLASS[next] as number;
    if (next === SLASH_BYTE && bytes[at + 2] === SLASH_BYTE) return (kinds & SLASH) === 0;
    if (at - start === 1 && (kinds & ALPHABETIC) !== 0)
      return next === BACKSLASH || (next === SLASH_BYTE && (kinds & DIGIT) === 0);
    if ((kind & ALPHANUMERIC) === 0)
      return (
        next === COLON && (kinds & DIGIT) !== 0 && ((CLASS[bytes[at + 2] as number] as number) & ALPHANUMERIC) !== 0
      );
    if ((kinds & DIGIT) !== 0)
      return kind === DIGIT || (kind === HEX_LETTER && hexGroupEnd(bytes, at + 1, this.#end) >= 0);
    // A word of letters joins only with hexadecimal groups behind it: fe:3a:…, ff:0d:…
    if (at - start > 4 || (kinds & ~HEX_LETTER) !== 0)
      return (kinds & MARK) !== 0 && isPortNumber(bytes, at + 1, this.#end);
    const group = hexGroupEnd(bytes, at + 1, this.#end);
    return group >= 0 && bytes[group] === COLON;
  }

  #extend(start: number, end: number, kind: number): number {
    this.#pushVariable(start, end, kind);
    return end;
  }

  #plain(start: number, end: number, hash: number): void {
    const length = end - start;
    if ((length === 4 || length === 5) && isLiteral(this.#bytes, start, end)) this.#push(start, end, LITERAL, LITERAL);
    else if (length >= HEX_LETTERS_MIN && isHexLetters(this.#bytes, start, end)) this.#push(start, end, HEX, HEX);
    else if (length <= 4 && this.#openTime === this.count - 1 && isZone(this.#bytes, start, end)) this.#absorb(end);
    else this.#push(start, end, WORD, hash);
  }

  /** The last token goes on to `end`. */
  #absorb(end: number): void {
    this.ends[this.count - 1] = end;
    this.#gap = 0;
  }

  #emit(start: number, end: number, hash: number): number {
    const bytes = this.#bytes;
    const kind = wordKind(bytes, start, end, end < this.#end ? (bytes[end] as number) : 32);
    if (kind === TIME) return this.#time(start, end);
    if (kind === NUMBER) return this.#number(start, end);
    if (kind === PATH && bytes[end] === STAR && end < this.#end)
      return this.#extend(start, patternEnd(bytes, end, this.#end), PATH);
    if (kind === PATH && bytes[end] === QUESTION && end < this.#end)
      return this.#extend(start, urlEnd(bytes, end, this.#end), URL);
    const number = kind === NAME || kind === ID ? numberBehind(bytes, start, end) : -1;
    if (number >= 0) {
      this.#push(start, number - 1, WORD, hashOf(bytes, start, number - 1));
      return number - 1;
    }
    if (end - start === 1 && bytes[start] === SLASH_BYTE && isHttpVersion(bytes, end + 1))
      return this.#extend(start, end, PATH);
    if (!isVariable(kind)) return this.#textOrParts(start, end, kind, hash);
    if (kind === IP) return this.#address(start, end);
    this.#pushVariable(start, end, kind);
    return end;
  }

  /** Text with a colon in it that is none of the joined kinds falls apart; an HTTP version belongs to the path before it. */
  #textOrParts(start: number, end: number, kind: number, hash: number): number {
    const bytes = this.#bytes;
    const before = this.count - 1;
    if (
      before >= 0 &&
      end - start === 8 &&
      (this.kinds[before] === PATH || this.kinds[before] === URL) &&
      isHttpVersion(bytes, start)
    ) {
      this.#absorb(end);
      return end;
    }
    for (let at = start + 1; at < end; at++) {
      const isFraction =
        bytes[at] === SLASH_BYTE &&
        CLASS[bytes[at - 1] as number] === DIGIT &&
        CLASS[bytes[at + 1] as number] === DIGIT;
      if (bytes[at] !== COLON && !isFraction) continue;
      this.#emit(start, at, hashOf(bytes, start, at));
      return isFraction && this.count < TOKENS_MAX ? this.#delimiter(at, SLASH_BYTE) : at;
    }
    this.#push(start, end, kind, hash);
    return end;
  }

  /** Addresses, identifiers and paths in a row, with commas and no blanks, are one list. */
  #pushVariable(start: number, end: number, kind: number): void {
    const comma = this.count - 1;
    if (
      comma > 0 &&
      this.#gap === 0 &&
      this.kinds[comma] === DELIMITER &&
      this.gaps[comma] === 0 &&
      this.#bytes[start - 1] === COMMA &&
      this.kinds[comma - 1] === kind &&
      isNameKind(kind)
    ) {
      this.count = comma;
      this.ends[comma - 1] = end;
      return;
    }
    this.#push(start, end, kind, kind);
    this.#foldList(kind);
  }

  /** Values of one kind with blanks or commas between them. */
  #foldList(kind: number): void {
    const last = this.count - 1;
    const isBehindComma = this.kinds[last - 1] === DELIMITER && this.#bytes[this.starts[last - 1] as number] === COMMA;
    const before = isBehindComma ? last - 2 : last - 1;
    const isAlike = this.kinds[before] === kind || (isNumeric(kind) && isNumeric(this.kinds[before] as number));
    const isNext = before === this.#listEnd && isAlike && (isBehindComma || this.gaps[last] === 1);
    this.#listLength = isNext ? this.#listLength + 1 : 1;
    if (!isNext) this.#listStart = last;
    this.#listEnd = last;
    if (this.#listLength < (isNameKind(kind) ? NAMES_LIST_MIN : NUMBERS_LIST_MIN)) return;
    const first = this.#listStart;
    this.ends[first] = this.ends[last] as number;
    this.count = first + 1;
    this.#listEnd = first;
  }

  /** An address and its port are two variables. */
  #address(start: number, end: number): number {
    const bytes = this.#bytes;
    let at = end;
    while (at > start && CLASS[bytes[at - 1] as number] === DIGIT) at--;
    let colons = 0;
    for (let byte = start; byte < end; byte++) if (bytes[byte] === COLON) colons++;
    if (colons !== 1 || bytes[at - 1] !== COLON || this.count + 3 > TOKENS_MAX) {
      this.#pushVariable(start, end, IP);
      return end;
    }
    this.#pushVariable(start, at - 1, IP);
    return at - 1;
  }

  /** A clock's time takes the date before it, and its fraction behind a comma. */
  #time(start: number, wholeEnd: number): number {
    const bytes = this.#bytes;
    let end = wholeEnd;
    if (bytes[end] === COMMA && ((CLASS[bytes[end + 1] as number] as number) & DIGIT) !== 0) {
      end++;
      while (end < this.#end && CLASS[bytes[end] as number] === DIGIT) end++;
    }
    let from = start;
    let first = this.count;
    this.#isMonthOpen = this.#isNumberAt(first - 1) && this.#isNamed(first - 2, isMonth);
    if (this.#isMonthOpen) first -= 2;
    else if (this.#openTime === first - 1 && first > 0 && this.#gap === 1) first -= 1;
    if (first < this.count) {
      if (this.#isNamed(first - 1, isDay)) first -= 1;
      from = this.starts[first] as number;
      this.#gap = this.gaps[first] as number;
      this.count = first;
    }
    this.#push(from, end, TIME, TIME);
    this.#openTime = this.count - 1;
    return end;
  }

  #isNumberAt(token: number): boolean {
    return (
      token >= 0 && this.kinds[token] === NUMBER && (this.ends[token] as number) - (this.starts[token] as number) <= 4
    );
  }

  #isNamed(token: number, isName: (bytes: Uint8Array, start: number) => boolean): boolean {
    if (token < 0 || this.kinds[token] !== WORD) return false;
    const start = this.starts[token] as number;
    return (this.ends[token] as number) - start === 3 && isName(this.#bytes, start);
  }

  /** A year of four digits, or an offset with its sign. */
  #continuesTime(start: number, end: number): boolean {
    if (this.#gap === 0) return false;
    const isSigned = this.#bytes[start] === DASH || this.#bytes[start] === PLUS;
    return isSigned ? end - start === 5 : end - start === 4 && this.#isMonthOpen;
  }
}
