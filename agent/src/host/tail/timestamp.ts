const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/** A timestamp stands near the head of a line or not at all. */
const HEAD_CHARS = 96;
const DAY_MS = 86_400_000;

/** 2026-03-01T12:00:00.123456Z, 2026/03/01 12:00:00,123 +0100, … (ISO 8601 and RFC 3339, with the looser separators in use). */
const ISO =
  /(?<![\d])(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)? ?(Z|UTC|[+-]\d\d:?\d\d)?/;
/** 01/Mar/2026:12:00:00 +0100 (Common Log Format). */
const COMMON = /(\d\d)\/([A-Z][a-z]{2})\/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})/;
/** Mar  1 12:00:00 (RFC 3164): without a year, and in local time. */
const SYSLOG = /^(?:<\d{1,3}>)?([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)/;

/** Nanoseconds since 1970 as the line's head tells them; null when it does not. Without a zone it is the machine's local time. */
export const timestampOf = (line: string, nowUnixMs: number): bigint | null => {
  const head = line.length > HEAD_CHARS ? line.slice(0, HEAD_CHARS) : line;
  return iso(head) ?? common(head) ?? syslog(head, nowUnixMs);
};

/** Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size. */
export const timestampOfNumber = (value: number): bigint | null => {
  if (!Number.isFinite(value) || value < 1e8) return null;
  if (value < 1e11) return BigInt(Math.round(value * 1e6)) * 1000n;
  if (value < 1e14) return BigInt(Math.round(value * 1e3)) * 1000n;
  if (value < 1e17) return BigInt(Math.round(value)) * 1000n;
  return value < 9.2e18 ? BigInt(Math.round(value)) : null;
};

const iso = (head: string): bigint | null => {
  const found = ISO.exec(head);
  if (found === null) return null;
  const [, year, month, day, hour, minute, second, fraction = "", zone] = found;
  const parts = [year, month, day, hour, minute, second].map(Number);
  const ns = BigInt(fraction.padEnd(9, "0"));
  return fromParts(parts, zone, ns);
};

const common = (head: string): bigint | null => {
  const found = COMMON.exec(head);
  if (found === null) return null;
  const [, day, month = "", year, hour, minute, second, zone] = found;
  return fromParts([year, MONTHS.indexOf(month) + 1, day, hour, minute, second].map(Number), zone, 0n);
};

const syslog = (head: string, nowUnixMs: number): bigint | null => {
  const found = SYSLOG.exec(head);
  if (found === null) return null;
  const [, month = "", day, hour, minute, second] = found;
  const year = new Date(nowUnixMs).getFullYear();
  const parts = [MONTHS.indexOf(month) + 1, day, hour, minute, second].map(Number);
  const thisYear = fromParts([year, ...parts], undefined, 0n);
  // In January a line of December speaks of last year.
  if (thisYear === null || thisYear / 1_000_000n <= BigInt(nowUnixMs + DAY_MS)) return thisYear;
  return fromParts([year - 1, ...parts], undefined, 0n);
};

const fromParts = (parts: readonly number[], zone: string | undefined, ns: bigint): bigint | null => {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts;
  if (year < 1971 || year > 2261 || month < 1 || month > 12 || day < 1 || day > 31) return null;
  if (hour > 23 || minute > 59 || second > 60) return null;
  const ms =
    zone === undefined
      ? new Date(year, month - 1, day, hour, minute, second).getTime()
      : Date.UTC(year, month - 1, day, hour, minute, second) - zoneMs(zone);
  return BigInt(ms) * 1_000_000n + ns;
};

const zoneMs = (zone: string): number => {
  if (zone === "Z" || zone === "UTC") return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2));
  return (zone.startsWith("-") ? -1 : 1) * minutes * 60_000;
};
