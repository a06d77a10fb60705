/** Severity numbers (https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber) of the words that logging libraries use. */
const SEVERITY_NUMBERS: ReadonlyMap<string, number> = new Map([
  ["trace", 1],
  ["finest", 1],
  ["verbose", 1],
  ["debug", 5],
  ["dbg", 5],
  ["fine", 5],
  ["info", 9],
  ["information", 9],
  ["informational", 9],
  ["notice", 10],
  ["warn", 13],
  ["warning", 13],
  ["wrn", 13],
  ["error", 17],
  ["err", 17],
  ["eror", 17],
  ["severe", 17],
  ["crit", 18],
  ["critical", 18],
  ["alert", 19],
  ["fatal", 21],
  ["emerg", 21],
  ["emergency", 21],
  ["panic", 21],
]);

/** Longer than any of the words. */
const WORD_LENGTH_MAX = 16;

/** 0 when it is none of the words that are known. */
export const severityNumberOf = (level: string): number =>
  level.length > WORD_LENGTH_MAX ? 0 : (SEVERITY_NUMBERS.get(level.toLowerCase()) ?? 0);
