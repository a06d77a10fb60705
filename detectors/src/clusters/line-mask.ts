/**
 * A log line without what varies by nature: numbers, durations, times, addresses, identifiers, paths. One pass over the bytes, no regular
 * expression and no string: `key` is enough to recognise a masked line that has been seen before. Only the first line of a body counts.
 */
export const LINE_BYTES_MAX = 1024;

const SPACE = 1;
const DIGIT = 2;
const HEX_LETTER = 4;
const LETTER = 8;
const SLASH = 16;
const MARK = 32;
const NEWLINE = 64;
const SEPARATOR = 128;

/** Bytes that may stand inside of one word: beside letters and digits these marks, and all of UTF-8 beyond ASCII. */
const MARKS = "._:-+%@~#$&*?!^\\";

const CLASS = new Uint8Array(256).fill(SEPARATOR);
for (let byte = 0; byte < 256; byte++) {
  const char = String.fromCharCode(byte);
  if (byte === 10 || byte === 13) CLASS[byte] = NEWLINE;
  else if (byte <= 32 || byte === 127) CLASS[byte] = SPACE;
  else if (char >= "0" && char <= "9") CLASS[byte] = DIGIT;
  else if (/[a-fA-F]/.test(char)) CLASS[byte] = HEX_LETTER;
  else if (/[g-zG-Z]/.test(char) || byte >= 128) CLASS[byte] = LETTER;
  else if (char === "/") CLASS[byte] = SLASH;
  else if (MARKS.includes(char)) CLASS[byte] = MARK;
}
const BACKSLASH = 92;
const URL_ENDS = new Set([..."\"'<>)]}"].map((char) => char.charCodeAt(0)));
const IN_WORD = DIGIT | HEX_LETTER | LETTER | SLASH | MARK;
const HAS_VARIANT = DIGIT | SLASH;

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
const NUM = ascii("<num>");
const DURATION = ascii("<dur>");
const TIME = ascii("<time>");
const IP = ascii("<ip>");
const ID = ascii("<id>");
const HEX = ascii("<hex>");
const PATH = ascii("<path>");
const URL_MASK = ascii("<url>");

/** Letters of ns, us, µs (its first byte in UTF-8, and its second), ms, s, min, h, d. */
const DURATION_LETTERS = new Set([..."nusmhdi"].map((char) => char.charCodeAt(0)).concat(0xc2, 0xb5));

const DOT = 46;
const COLON = 58;
const DASH = 45;
const PLUS = 43;
const AT_LETTER_T = 84;
const AT_LETTER_Z = 90;

export class LineMask {
  readonly #out = Buffer.alloc(LINE_BYTES_MAX * 2 + 16);
  #length = 0;
  #hash = 0;
  #otherHash = 0;

  /** 53 bits that stand for the masked line. */
  get key(): number {
    return (this.#hash >>> 0) * 2_097_152 + (this.#otherHash >>> 11);
  }

  get text(): string {
    return this.#out.toString("utf8", 0, this.#length);
  }

  scan(bytes: Uint8Array): void {
    this.#length = 0;
    // FNV-1a's offset basis and prime, and another pair, so that two words of 32 bits differ on their own.
    this.#hash = 0x811c9dc5;
    this.#otherHash = 0x1b873593;
    const end = Math.min(bytes.length, LINE_BYTES_MAX);
    let at = 0;
    let isSpaceDue = false;
    while (at < end) {
      const byte = bytes[at] as number;
      const kind = CLASS[byte] as number;
      if (kind === NEWLINE) {
        if (this.#length > 0) return;
        at++;
        continue;
      }
      if (kind === SPACE) {
        at = byte === 27 ? skipEscape(bytes, at, end) : at + 1;
        isSpaceDue = this.#length > 0;
        continue;
      }
      if (isSpaceDue) this.#put(32);
      isSpaceDue = false;
      if (kind === SEPARATOR) {
        this.#put(byte);
        at++;
        continue;
      }
      const start = at;
      let kinds = 0;
      for (let next = kind; (next & IN_WORD) !== 0; next = at < end ? (CLASS[bytes[at] as number] as number) : 0) {
        kinds |= next;
        at++;
      }
      if ((kinds & HAS_VARIANT) === 0) this.#copy(bytes, start, at);
      else if (this.#word(bytes, start, at) === URL_MASK) at = urlEnd(bytes, at, end);
    }
  }

  #put(byte: number): void {
    if (this.#length >= this.#out.length) return;
    this.#out[this.#length++] = byte;
    this.#hash = Math.imul(this.#hash ^ byte, 0x01000193);
    this.#otherHash = Math.imul(this.#otherHash ^ byte, 0x85ebca6b) + 1;
  }

  #copy(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end; at++) this.#put(bytes[at] as number);
  }

  /** A word with digits or slashes; marks at its end belong to the sentence. */
  #word(bytes: Uint8Array, start: number, wholeEnd: number): Uint8Array | null {
    let end = wholeEnd;
    while (end > start + 1 && CLASS[bytes[end - 1] as number] === MARK && bytes[end - 1] !== 37) end--;
    const mask = maskFor(bytes, start, end);
    if (mask === null) this.#maskDigits(bytes, start, end);
    else this.#copy(mask, 0, mask.length);
    this.#copy(bytes, end, wholeEnd);
    return mask;
  }

  #maskDigits(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end; ) {
      if (CLASS[bytes[at] as number] !== DIGIT) {
        this.#put(bytes[at++] as number);
        continue;
      }
      this.#copy(NUM, 0, NUM.length);
      while (at < end && CLASS[bytes[at] as number] === DIGIT) at++;
    }
  }
}

/** Where an address ends: its query has separators in it, but no blanks, quotes or closing brackets. */
const urlEnd = (bytes: Uint8Array, start: number, end: number): number => {
  let at = start;
  if (bytes[at] !== 61) return at;
  while (
    at < end &&
    ((CLASS[bytes[at] as number] as number) & (SPACE | NEWLINE)) === 0 &&
    !URL_ENDS.has(bytes[at] as number)
  )
    at++;
  return at;
};

/** ECMA-48 control sequences, as terminals get them: ESC [ … letter. */
const skipEscape = (bytes: Uint8Array, start: number, end: number): number => {
  if (bytes[start + 1] !== 91) return start + 1;
  let at = start + 2;
  while (at < end && ((CLASS[bytes[at] as number] as number) & (LETTER | HEX_LETTER)) === 0) at++;
  return at + 1;
};

interface Counts {
  digits: number;
  hexLetters: number;
  letters: number;
  dots: number;
  colons: number;
  dashes: number;
  slashes: number;
  marks: number;
}

/** One for all words: it is filled and read before the next. */
const counts: Counts = { digits: 0, hexLetters: 0, letters: 0, dots: 0, colons: 0, dashes: 0, slashes: 0, marks: 0 };

const count = (bytes: Uint8Array, start: number, end: number): void => {
  let [digits, hexLetters, letters, dots, colons, dashes, slashes, marks] = [0, 0, 0, 0, 0, 0, 0, 0];
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

/** The mask that stands for a whole word, or null: then only its runs of digits are masked. */
const maskFor = (bytes: Uint8Array, start: number, end: number): Uint8Array | null => {
  count(bytes, start, end);
  if (counts.slashes > 0) return maskForSlashes(bytes, start, end);
  const isHex = counts.letters === 0 && counts.marks === 0;
  if (isHex && counts.hexLetters === 0) return maskForDigits();
  if (isHex) return maskForHex(end - start);
  if (isTimestamp(bytes, start, end)) return TIME;
  if (bytes[start] === 48 && (bytes[start + 1] === 120 || bytes[start + 1] === 88)) return HEX;
  return maskForMixed(bytes, start, end);
};

/** `scheme://…`, `/a/b`, `./a`, `~/a`, and what has two slashes; `and/or` is a word. */
const maskForSlashes = (bytes: Uint8Array, start: number, end: number): Uint8Array | null => {
  for (let at = start + 1; at < end - 1; at++) {
    if (bytes[at] === COLON && bytes[at + 1] === 47 && bytes[at + 2] === 47) return URL_MASK;
  }
  const first = bytes[start];
  const isRooted = first === 47 || ((first === DOT || first === 126) && counts.letters + counts.hexLetters > 0);
  if (isRooted && end - start > 1) return PATH;
  return counts.slashes >= 2 && counts.letters + counts.hexLetters > 0 ? PATH : null;
};

/** Digits with dots, colons and dashes only. */
const maskForDigits = (): Uint8Array | null => {
  if (counts.dots === 3 && counts.dashes === 0 && counts.colons <= 1) return IP;
  if (counts.colons >= 1 || counts.dashes === 2) return counts.colons <= 2 ? TIME : ID;
  return counts.dots <= 1 && counts.dashes <= 1 ? NUM : null;
};

/** Hexadecimal digits with dots, colons and dashes, at least one a letter. */
const maskForHex = (length: number): Uint8Array | null => {
  if (length === 36 && counts.dashes === 4) return ID;
  if (counts.colons === 5 && length === 17) return ID;
  if (counts.colons >= 2) return IP;
  if (length >= 8 && counts.digits > 0 && counts.dots + counts.colons + counts.dashes === 0) return HEX;
  return null;
};

/** ISO 8601 (2026-11-21T03:04:05.123Z, and with an offset): two dashes at least, then colons, no letters but T and Z. */
const isTimestamp = (bytes: Uint8Array, start: number, end: number): boolean => {
  if (counts.digits < 8 || counts.dashes < 2 || counts.colons < 1 || counts.letters + counts.hexLetters > 2)
    return false;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    const kind = CLASS[byte];
    const isLetter = kind === LETTER || kind === HEX_LETTER;
    if (isLetter && byte !== AT_LETTER_T && byte !== AT_LETTER_Z) return false;
    if (kind === MARK && byte !== DASH && byte !== COLON && byte !== DOT && byte !== PLUS) return false;
  }
  return true;
};

/** Long words of letters and digits are identifiers; a number with a unit is a number or a duration. */
const maskForMixed = (bytes: Uint8Array, start: number, end: number): Uint8Array | null => {
  const first = bytes[start] as number;
  const isSigned = (first === DASH || first === PLUS) && end - start > 1;
  const letters = counts.letters + counts.hexLetters;
  if (CLASS[first] === DIGIT || isSigned) {
    if (letters === 0 && counts.colons + counts.dashes <= 1) return NUM;
    if (isDuration(bytes, start, end)) return DURATION;
    if (letters <= 3 && isUnitAtEnd(bytes, start, end, letters)) return NUM;
  }
  if (first === 35 && letters === 0) return null;
  if (isWindowsPath(bytes, start)) return PATH;
  const isOneWord = counts.dots + counts.colons === 0 && counts.marks === 0;
  return isOneWord && end - start >= 16 && counts.digits >= 4 ? ID : null;
};

const isDuration = (bytes: Uint8Array, start: number, end: number): boolean => {
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    const kind = CLASS[byte];
    if (kind === DIGIT || byte === DOT || (at === start && (byte === DASH || byte === PLUS))) continue;
    if (!DURATION_LETTERS.has(byte)) return false;
  }
  return CLASS[bytes[end - 1] as number] !== DIGIT;
};

const isUnitAtEnd = (bytes: Uint8Array, start: number, end: number, letters: number): boolean => {
  for (let at = Math.max(start, end - letters); at < end; at++) {
    if (((CLASS[bytes[at] as number] as number) & (LETTER | HEX_LETTER)) === 0) return false;
  }
  return counts.dots <= 1;
};

const isWindowsPath = (bytes: Uint8Array, start: number): boolean =>
  bytes[start + 1] === COLON &&
  bytes[start + 2] === BACKSLASH &&
  ((CLASS[bytes[start] as number] as number) & (LETTER | HEX_LETTER)) !== 0;
