import { severityOf, severityOfNumber, severityOfWord } from "./severity.ts";
import { timestampOf, timestampOfNumber } from "./timestamp.ts";

export interface LogLine {
  readonly timestampNs: bigint | null;
  readonly severityNumber: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly body: string;
  readonly attributes: Record<string, string>;
}

const ATTRIBUTES_MAX = 64;
const ATTRIBUTE_CHARS_MAX = 4096;
const MESSAGE_KEYS = ["message", "msg", "body", "log"];
const LEVEL_KEYS = ["level", "severity", "lvl", "log.level"];
const TIME_KEYS = ["time", "timestamp", "@timestamp", "ts"];
const TRACE_KEYS = ["trace_id", "traceId", "trace.id"];
const SPAN_KEYS = ["span_id", "spanId", "span.id"];
const KNOWN = new Set([...MESSAGE_KEYS, ...LEVEL_KEYS, ...TIME_KEYS, ...TRACE_KEYS, ...SPAN_KEYS]);

export const parseText = (line: string, nowUnixMs: number): LogLine => ({
  timestampNs: timestampOf(line, nowUnixMs),
  severityNumber: severityOf(line),
  traceId: "",
  spanId: "",
  body: line,
  attributes: {},
});

/** A line that is not a JSON object, or is cut, is read as text. */
export const parseJson = (line: string, nowUnixMs: number): LogLine => {
  const fields = objectOf(line);
  if (fields === null) return parseText(line, nowUnixMs);
  const message = first(fields, MESSAGE_KEYS);
  return {
    timestampNs: timeOf(first(fields, TIME_KEYS), nowUnixMs),
    severityNumber: levelOf(first(fields, LEVEL_KEYS)),
    traceId: textOf(first(fields, TRACE_KEYS), 64),
    spanId: textOf(first(fields, SPAN_KEYS), 64),
    body: typeof message === "string" ? message : line,
    attributes: attributesOf(fields),
  };
};

const objectOf = (line: string): Record<string, unknown> | null => {
  if (!line.startsWith("{")) return null;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
};

const first = (fields: Record<string, unknown>, keys: readonly string[]): unknown => {
  for (const key of keys) if (fields[key] !== undefined && fields[key] !== null) return fields[key];
  return undefined;
};

const timeOf = (value: unknown, nowUnixMs: number): bigint | null => {
  if (typeof value === "number") return timestampOfNumber(value);
  return typeof value === "string" ? timestampOf(value, nowUnixMs) : null;
};

const levelOf = (value: unknown): number => {
  if (typeof value === "number") return severityOfNumber(value);
  return typeof value === "string" ? severityOfWord(value) : 0;
};

const textOf = (value: unknown, charsMax: number): string => {
  if (value === undefined || value === null) return "";
  return (typeof value === "string" ? value : JSON.stringify(value)).slice(0, charsMax);
};

const attributesOf = (fields: Record<string, unknown>): Record<string, string> => {
  const attributes: Record<string, string> = {};
  let count = 0;
  for (const [key, value] of Object.entries(fields)) {
    if (KNOWN.has(key) || value === null) continue;
    if (++count > ATTRIBUTES_MAX) break;
    attributes[key.slice(0, 256)] = textOf(value, ATTRIBUTE_CHARS_MAX);
  }
  return attributes;
};
