/** OpenTelemetry's SeverityNumber by the words in use (https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber). */
const NUMBERS: Readonly<Record<string, number>> = {
  trace: 1,
  debug: 5,
  info: 9,
  information: 9,
  notice: 10,
  warn: 13,
  warning: 13,
  err: 17,
  error: 17,
  severe: 17,
  crit: 18,
  critical: 18,
  alert: 19,
  fatal: 21,
  panic: 21,
  emerg: 22,
};

const WORDS = "trace|debug|info|notice|warn(?:ing)?|err(?:or)?|severe|crit(?:ical)?|alert|fatal|panic|emerg";
/** Bare words count in capitals only ("an error occurred" says nothing); in brackets or behind `level=` in any case. */
const IN_TEXT = new RegExp(
  `\\b(?i:(?:level|severity|lvl)["']?\\s*[=:]\\s*["']?(?<keyed>${WORDS})\\b)` +
    `|(?i:[[<(](?<bracketed>${WORDS})[\\]>)])|\\b(?<bare>${WORDS.toUpperCase()})\\b`,
);
const HEAD_CHARS = 256;

/** 0 is OpenTelemetry's "unspecified". */
export const severityOf = (line: string): number => {
  const found = IN_TEXT.exec(line.length > HEAD_CHARS ? line.slice(0, HEAD_CHARS) : line)?.groups;
  return severityOfWord(found?.keyed ?? found?.bracketed ?? found?.bare ?? "");
};

export const severityOfWord = (word: string): number => NUMBERS[word.toLowerCase()] ?? 0;

/** pino and bunyan count 10 (trace) to 60 (fatal). */
export const severityOfNumber = (level: number): number =>
  level >= 10 && level <= 60 ? ([0, 1, 5, 9, 13, 17, 21][Math.floor(level / 10)] ?? 0) : 0;
