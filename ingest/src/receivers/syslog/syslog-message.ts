import type { LogRecord } from "../../gateway/intake.ts";
import { type Priority, priorityOf } from "./severity.ts";
import { readStructuredData } from "./structured-data.ts";
import { type BsdTime, rfc3339Nano } from "./syslog-time.ts";

/** What a message says; `host` and `service` are "" where it does not. */
export interface SyslogMessage {
  readonly host: string;
  readonly service: string;
  readonly record: LogRecord;
}

export interface ReadAt {
  readonly nowUnixMs: number;
  readonly bsdTime: BsdTime;
}

const PRI = /^<(0|[1-9]\d{0,2})>/;
const RFC_5424 = /1 (\S{1,64}) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) /y;
const BSD_TIME = /(?:\*|\.)?([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) /y;
const ISO_TIME = /(\d{4}-\S{5,60}) /y;
const HOST = /([^\s:[\]]{1,255}|[\da-fA-F:.]{2,45}) (?=.)/sy;
const TAG = /([^\s:[\]]{1,48})(?:\[([^\]\s]{1,128})\])?: ?/y;
/** Without a host before it: the space tells it from an address. */
const FIRST_TAG = /([^\s:[\]]{1,48})(?:\[([^\]\s]{1,128})\])?: /y;
const BOM = "\u{feff}";
const MS_TO_NS = 1_000_000n;

/**
 * Reads RFC 5424, and RFC 3164 as it is found: with its time or one of RFC 3339, with or without a host. What is neither is kept whole as the body, with
 * the attribute `syslog.unparsed`. Fields go where OpenTelemetry's logs data model (appendix A) puts them.
 */
export const readSyslog = (text: string, at: ReadAt): SyslogMessage => {
  const match = PRI.exec(text);
  const priority = match === null ? null : priorityOf(Number(match[1]));
  if (match === null || priority === null) return unparsed(text, null, at);
  const from = match[0].length;
  return readRfc5424(text, from, priority, at) ?? readRfc3164(text, from, priority, at) ?? unparsed(text, priority, at);
};

const readRfc5424 = (text: string, from: number, priority: Priority, at: ReadAt): SyslogMessage | null => {
  RFC_5424.lastIndex = from;
  const match = RFC_5424.exec(text);
  if (match === null) return null;
  const [, time = "", host = "", app = "", procid = "", msgid = ""] = match;
  const timeUnixNano = time === "-" ? 0n : rfc3339Nano(time);
  const data = readStructuredData(text, RFC_5424.lastIndex);
  if (timeUnixNano === null || data === null || (data.end < text.length && text[data.end] !== " ")) return null;
  const rest = text.slice(data.end + 1);
  const attributes = {
    ...data.attributes,
    "syslog.version": "1",
    ...given("syslog.procid", said(procid)),
    ...given("syslog.msgid", said(msgid)),
  };
  const body = rest.startsWith(BOM) ? rest.slice(1) : rest;
  return { host: said(host), service: said(app), record: recordOf({ timeUnixNano, body, attributes, priority }, at) };
};

const readRfc3164 = (text: string, from: number, priority: Priority, at: ReadAt): SyslogMessage | null => {
  const time = readTime(text, from, at);
  if (time === null) return null;
  const { timeUnixNano } = time;
  const tagFirst = readTag(FIRST_TAG, text, time.end);
  const host = tagFirst === null ? readHost(text, time.end) : { host: "", end: time.end };
  const tag = tagFirst ?? readTag(TAG, text, host.end) ?? { service: "", procid: "", end: host.end };
  const attributes = given("syslog.procid", tag.procid);
  const body = text.slice(tag.end);
  return { host: host.host, service: tag.service, record: recordOf({ timeUnixNano, body, attributes, priority }, at) };
};

const readTime = (text: string, from: number, at: ReadAt): { timeUnixNano: bigint; end: number } | null => {
  BSD_TIME.lastIndex = from;
  const bsd = BSD_TIME.exec(text);
  if (bsd !== null) {
    const [day = 0, hour = 0, minute = 0, second = 0] = bsd.slice(2).map(Number);
    if (hour > 23 || minute > 59 || second > 59) return null;
    const timeUnixNano = at.bsdTime.nano(bsd[1] ?? "", { day, hour, minute, second }, at.nowUnixMs);
    return timeUnixNano === null ? null : { timeUnixNano, end: BSD_TIME.lastIndex };
  }
  ISO_TIME.lastIndex = from;
  const iso = ISO_TIME.exec(text);
  const timeUnixNano = iso === null ? null : rfc3339Nano(iso[1] ?? "");
  return timeUnixNano === null ? null : { timeUnixNano, end: ISO_TIME.lastIndex };
};

const readHost = (text: string, from: number): { host: string; end: number } => {
  HOST.lastIndex = from;
  const host = HOST.exec(text)?.[1];
  return host === undefined ? { host: "", end: from } : { host, end: HOST.lastIndex };
};

const readTag = (tag: RegExp, text: string, from: number): { service: string; procid: string; end: number } | null => {
  tag.lastIndex = from;
  const match = tag.exec(text);
  return match === null ? null : { service: match[1] ?? "", procid: match[2] ?? "", end: tag.lastIndex };
};

const unparsed = (text: string, priority: Priority | null, at: ReadAt): SyslogMessage => {
  const attributes = { "syslog.unparsed": "true" };
  return { host: "", service: "", record: recordOf({ timeUnixNano: 0n, body: text, attributes, priority }, at) };
};

/** `-` stands for what is not told. */
const said = (field: string): string => (field === "-" ? "" : field);

const given = (name: string, value: string): Record<string, string> => (value === "" ? {} : { [name]: value });

const recordOf = (
  read: { timeUnixNano: bigint; body: string; attributes: Record<string, string>; priority: Priority | null },
  { nowUnixMs }: ReadAt,
): LogRecord => ({
  timeUnixNano: read.timeUnixNano,
  observedUnixNano: BigInt(nowUnixMs) * MS_TO_NS,
  severityNumber: read.priority?.severityNumber ?? 0,
  severityText: read.priority?.severityText ?? "",
  eventName: "",
  scopeName: "",
  traceId: "",
  spanId: "",
  traceFlags: 0,
  body: read.body,
  attributes:
    read.priority === null ? read.attributes : { ...read.attributes, "syslog.facility": read.priority.facility },
});
