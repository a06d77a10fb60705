/**
 * Time and severity of a line of text, read from its bytes: the same answers as timestamp.ts and severity.ts give for most lines that there
 * are, an order of magnitude sooner; whatever is not plainly what it looks for is left to them.
 */
const ZERO = 0x30;
/** As there: a time stands near the head of a line, a severity a little further. */
const TIME_HEAD = 96;
const SEVERITY_HEAD = 256;
const MINUTE_MS = 60_000;

/** What was found; the same object for every line. */
export interface TextHead {
  /** False: neither could be told from the bytes alone, and the slow way has to be gone. */
  isKnown: boolean;
  /** Milliseconds since 1970, and nanoseconds beyond them; -1 when the line tells no time. */
  unixMs: number;
  ns: number;
  severity: number;
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39;
const two = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) - ZERO) * 10 + ((bytes[at + 1] ?? 0) - ZERO);

/** Reads heads of lines one after the other; keeps the last minute that it has worked out. */
export class TextHeadReader {
  readonly head: TextHead = { isKnown: false, unixMs: -1, ns: 0, severity: 0 };
  /** `YYYYMMDDhhmm` and the zone in minutes (NaN: the machine's own), and what minute that is. */
  #minuteKey = -1;
  #minuteZone = Number.NaN;
  #minuteMs = 0;

  read(bytes: Uint8Array, from: number, to: number): TextHead {
    const { head } = this;
    head.unixMs = -1;
    head.ns = 0;
    head.severity = 0;
    head.isKnown = this.#readTime(bytes, from, Math.min(to, from + TIME_HEAD)) && readSeverity(bytes, from, to, head);
    return head;
  }

  /** False when the line may tell a time in another form. */
  #readTime(bytes: Uint8Array, from: number, to: number): boolean {
    for (let at = from; at + 19 <= to; at++) {
      const byte = bytes[at] ?? 0;
      // Month names and the rest of Common Log Format and RFC 3164 are the slow way's.
      if (byte >= 0x80) return false;
      if (!isDigit(byte)) continue;
      if (isIso(bytes, at)) return this.#readIso(bytes, at, to);
      // Some other run of digits: neither a prefix of a time, nor looked into.
      while (at + 1 < to && isDigit(bytes[at + 1])) at++;
      return false;
    }
    return false;
  }

  #readIso(bytes: Uint8Array, at: number, to: number): boolean {
    const year = two(bytes, at) * 100 + two(bytes, at + 2);
    const [month, day] = [two(bytes, at + 5), two(bytes, at + 8)];
    const [hour, minute, second] = [two(bytes, at + 11), two(bytes, at + 14), two(bytes, at + 17)];
    const isSane = year >= 1971 && year <= 2261 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
    if (!isSane || hour > 23 || minute > 59 || second > 60) return false;
    let end = at + 19;
    let ns = 0;
    if ((bytes[end] === 0x2e || bytes[end] === 0x2c) && end + 1 < to && isDigit(bytes[end + 1])) {
      let unit = 100_000_000;
      for (end++; end < to && isDigit(bytes[end]); end++) {
        ns += ((bytes[end] ?? 0) - ZERO) * unit;
        unit = Math.trunc(unit / 10);
      }
      // Cut by the head's end: the slow way sees the same cut.
      if (end >= to) return false;
    }
    const zone = zoneMinutes(bytes, end, to);
    if (zone === null) return false;
    const key = ((year * 100 + month) * 100 + day) * 10_000 + hour * 100 + minute;
    if (key !== this.#minuteKey || !Object.is(zone, this.#minuteZone)) {
      this.#minuteMs = Number.isNaN(zone)
        ? new Date(year, month - 1, day, hour, minute).getTime()
        : Date.UTC(year, month - 1, day, hour, minute) - zone * MINUTE_MS;
      this.#minuteKey = key;
      this.#minuteZone = zone;
    }
    const ms = Math.trunc(ns / 1e6);
    this.head.unixMs = this.#minuteMs + second * 1000 + ms;
    this.head.ns = ns - ms * 1e6;
    return true;
  }
}

/** dddd-dd-ddTdd:dd:dd, with the separators that are in use. */
const isIso = (bytes: Uint8Array, at: number): boolean => {
  const dash = bytes[at + 4];
  const dash2 = bytes[at + 7];
  const middle = bytes[at + 10];
  return (
    (dash === 0x2d || dash === 0x2f) &&
    (dash2 === 0x2d || dash2 === 0x2f) &&
    (middle === 0x54 || middle === 0x20) &&
    bytes[at + 13] === 0x3a &&
    bytes[at + 16] === 0x3a &&
    DIGITS.every((offset) => isDigit(bytes[at + offset]))
  );
};
const DIGITS = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18];

/** NaN: none is told. null: it may be told in a way, or reach beyond the head, that only the slow way knows. */
const zoneMinutes = (bytes: Uint8Array, end: number, to: number): number | null => {
  const at = bytes[end] === 0x20 ? end + 1 : end;
  // Too close to the head's end to see it whole.
  if (at + 6 > to) return null;
  const byte = bytes[at];
  if (byte === 0x5a) return 0;
  if (byte === 0x55) return bytes[at + 1] === 0x54 && bytes[at + 2] === 0x43 ? 0 : Number.NaN;
  if (byte !== 0x2b && byte !== 0x2d) return Number.NaN;
  if (!isDigit(bytes[at + 1]) || !isDigit(bytes[at + 2])) return Number.NaN;
  const minutesAt = bytes[at + 3] === 0x3a ? at + 4 : at + 3;
  if (!isDigit(bytes[minutesAt]) || !isDigit(bytes[minutesAt + 1])) return Number.NaN;
  const minutes = two(bytes, at + 1) * 60 + two(bytes, minutesAt);
  return byte === 0x2d ? -minutes : minutes;
};

/** OpenTelemetry's SeverityNumber, as in severity.ts; by the lower-case word. */
const WORDS: readonly (readonly [string, number])[] = [
  ["trace", 1],
  ["debug", 5],
  ["info", 9],
  ["notice", 10],
  ["warn", 13],
  ["warning", 13],
  ["err", 17],
  ["error", 17],
  ["severe", 17],
  ["crit", 18],
  ["critical", 18],
  ["alert", 19],
  ["fatal", 21],
  ["panic", 21],
  ["emerg", 22],
];
/** Words by their length and first letter, which tells nearly all others apart from them. */
const BY_HEAD = new Map<number, readonly (readonly [Uint8Array, number])[]>();
const LONGEST = 8;
for (const [word, number] of WORDS) {
  const key = word.charCodeAt(0) * 16 + word.length;
  BY_HEAD.set(key, [...(BY_HEAD.get(key) ?? []), [Buffer.from(word, "latin1"), number]]);
}

/** 1 for bytes of \w. */
const IS_WORD = new Uint8Array(256);
for (let byte = 0; byte < 128; byte++) IS_WORD[byte] = /\w/.test(String.fromCharCode(byte)) ? 1 : 0;
/** 1 for first letters of severities and of the keys in front of them, in either case. */
const IS_HEAD = new Uint8Array(256);
for (const letter of "tdinwescafpl") {
  IS_HEAD[letter.charCodeAt(0)] = 1;
  IS_HEAD[letter.toUpperCase().charCodeAt(0)] = 1;
}

/** The first word that counts, as severity.ts has it; false when a byte beyond ASCII, or a key such as `level=`, is met before. */
const readSeverity = (bytes: Uint8Array, from: number, to: number, head: TextHead): boolean => {
  const end = Math.min(to, from + SEVERITY_HEAD);
  for (let at = from; at < end; ) {
    const first = bytes[at] ?? 0;
    if (first >= 0x80) return false;
    if (IS_WORD[first] === 0) {
      at++;
      continue;
    }
    const start = at;
    while (at < end && IS_WORD[bytes[at] ?? 0] === 1) at++;
    const length = at - start;
    if (IS_HEAD[first] === 0 || length < 3 || length > LONGEST) continue;
    if (isKey(bytes, start, length)) return false;
    const number = severityAt(bytes, start, length);
    if (number === 0) continue;
    // Cut by the head's end, or followed by what may be part of a word elsewhere: not for bytes to decide.
    if (at >= end && at < to) return false;
    const isBare = (bytes[start + 1] ?? 0) < 0x60 && isUpper(bytes, start, length);
    if (!isBare && !isBracketed(bytes, start - 1, at, from, end)) continue;
    head.severity = number;
    return true;
  }
  return true;
};

const severityAt = (bytes: Uint8Array, start: number, length: number): number => {
  const candidates = BY_HEAD.get(((bytes[start] ?? 0) | 0x20) * 16 + length);
  if (candidates === undefined) return 0;
  for (const [word, number] of candidates) {
    let same = 1;
    while (same < length && ((bytes[start + same] ?? 0) | 0x20) === word[same]) same++;
    if (same === length) return number;
  }
  return 0;
};

const isUpper = (bytes: Uint8Array, start: number, length: number): boolean => {
  for (let at = start; at < start + length; at++) if (((bytes[at] ?? 0) & 0x20) !== 0) return false;
  return true;
};

const OPENING = new Set([0x5b, 0x3c, 0x28]);
const CLOSING = new Set([0x5d, 0x3e, 0x29]);
const isBracketed = (bytes: Uint8Array, before: number, after: number, from: number, end: number): boolean =>
  before >= from && after < end && OPENING.has(bytes[before] ?? 0) && CLOSING.has(bytes[after] ?? 0);

const KEYS = ["level", "severity", "lvl"].map((key) => Buffer.from(key, "latin1"));
/** `level`, `severity`, `lvl` in any case: what follows may be the severity. */
const isKey = (bytes: Uint8Array, start: number, length: number): boolean =>
  KEYS.some(
    (key) => key.length === length && key.every((byte, index) => ((bytes[start + index] ?? 0) | 0x20) === byte),
  );
