import type { LogRecord, Resource } from "../../gateway/intake.ts";
import { anyValueText, readAttribute } from "./any-value.ts";
import { NO_RESOURCE, NO_SCOPE, readResource, readScope, type Scope } from "./resource-and-scope.ts";
import {
  BYTES,
  enter,
  FIXED32,
  FIXED64,
  hex,
  keep,
  leave,
  nanoseconds,
  skip,
  text,
  VARINT,
  type Wire,
} from "./wire.ts";

/** What one ResourceLogs of an ExportLogsServiceRequest says. */
export interface ResourceLogs {
  readonly resource: Resource;
  readonly records: readonly LogRecord[];
}

const tag = (field: number, wireType: number): number => (field << 3) | wireType;

const RESOURCE_LOGS = tag(1, BYTES);

/** All of a protobuf ExportLogsServiceRequest (or LogsData, which has the same shape). Throws an Error of protobufjs when it is none. */
export const readLogsRequest = (wire: Wire): ResourceLogs[] => {
  const all: ResourceLogs[] = [];
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === RESOURCE_LOGS) all.push(readResourceLogs(wire));
    else skip(wire, fieldTag);
  }
  return all;
};

const RESOURCE = tag(1, BYTES);
const SCOPE_LOGS = tag(2, BYTES);

const readResourceLogs = (wire: Wire): ResourceLogs => {
  keep(wire);
  const outer = enter(wire);
  let resource = NO_RESOURCE;
  const records: LogRecord[] = [];
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === RESOURCE) resource = readResource(wire);
    else if (fieldTag === SCOPE_LOGS) readScopeLogs(wire, records);
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  return { resource, records };
};

const SCOPE = tag(1, BYTES);
const LOG_RECORDS = tag(2, BYTES);

/** A scope may stand behind its records, though no known encoder puts it there: then all are read a second time, at most once. */
const readScopeLogs = (wire: Wire, records: LogRecord[]): void => {
  const outer = enter(wire);
  const start = wire.pos;
  const first = records.length;
  const scope = readRecords(wire, NO_SCOPE, records);
  if (scope.isLate) {
    wire.pos = start;
    records.length = first;
    readRecords(wire, scope.scope, records, true);
  }
  leave(wire, outer);
};

const readRecords = (
  wire: Wire,
  known: Scope,
  records: LogRecord[],
  isKnown = false,
): { scope: Scope; isLate: boolean } => {
  const first = records.length;
  let scope = known;
  let isLate = false;
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === LOG_RECORDS) records.push(readLogRecord(wire, scope));
    else if (fieldTag === SCOPE && !isKnown) {
      scope = readScope(wire);
      isLate ||= records.length > first;
    } else skip(wire, fieldTag);
  }
  return { scope, isLate };
};

const TIME = tag(1, FIXED64);
const SEVERITY_NUMBER = tag(2, VARINT);
const SEVERITY_TEXT = tag(3, BYTES);
const BODY = tag(5, BYTES);
const ATTRIBUTES = tag(6, BYTES);
const DROPPED_ATTRIBUTES = tag(7, VARINT);
const FLAGS = tag(8, FIXED32);
const TRACE_ID = tag(9, BYTES);
const SPAN_ID = tag(10, BYTES);
const OBSERVED_TIME = tag(11, FIXED64);
const EVENT_NAME = tag(12, BYTES);

/** The lowest byte of a record's flags (LOG_RECORD_FLAGS_TRACE_FLAGS_MASK). */
const TRACE_FLAGS_MASK = 0xff;

/** https://opentelemetry.io/docs/specs/otel/logs/data-model/ */
const readLogRecord = (wire: Wire, scope: Scope): LogRecord => {
  keep(wire);
  const outer = enter(wire);
  const attributes: Record<string, string> = { ...scope.attributes };
  const record = {
    timeUnixNano: 0n,
    observedUnixNano: 0n,
    severityNumber: 0,
    severityText: "",
    eventName: "",
    scopeName: scope.name,
    traceId: "",
    spanId: "",
    traceFlags: 0,
    body: "",
    attributes,
  };
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === ATTRIBUTES) readAttribute(wire, attributes);
    else if (fieldTag === TIME) record.timeUnixNano = nanoseconds(wire);
    else if (fieldTag === OBSERVED_TIME) record.observedUnixNano = nanoseconds(wire);
    else if (fieldTag === SEVERITY_NUMBER) record.severityNumber = wire.int32();
    else if (fieldTag === SEVERITY_TEXT) record.severityText = text(wire);
    else if (fieldTag === BODY) record.body = anyValueText(wire);
    else if (fieldTag === TRACE_ID) record.traceId = hex(wire);
    else if (fieldTag === SPAN_ID) record.spanId = hex(wire);
    else if (fieldTag === FLAGS) record.traceFlags = wire.fixed32() & TRACE_FLAGS_MASK;
    else if (fieldTag === EVENT_NAME) record.eventName = text(wire);
    else if (fieldTag === DROPPED_ATTRIBUTES) noteDropped(attributes, wire.uint32());
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  return record;
};

/** https://opentelemetry.io/docs/specs/otel/common/mapping-to-non-otlp/#dropped-attributes-count */
const noteDropped = (attributes: Record<string, string>, count: number): void => {
  if (count > 0) attributes["otel.dropped_attributes_count"] = String(count);
};
