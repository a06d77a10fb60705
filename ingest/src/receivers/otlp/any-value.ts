import { BYTES, enter, FIXED64, int64Text, leave, skip, span, text, VARINT, type Wire } from "./wire.ts";

/** AnyValue within AnyValue. Nobody nests deeper by intent; protobufjs stops its own recursion near the same depth. */
export const ANY_VALUE_DEPTH_MAX = 32;

const tag = (field: number, wireType: number): number => (field << 3) | wireType;

const STRING = tag(1, BYTES);
const BOOL = tag(2, VARINT);
const INT = tag(3, VARINT);
const DOUBLE = tag(4, FIXED64);
const ARRAY = tag(5, BYTES);
const KVLIST = tag(6, BYTES);
const BYTES_VALUE = tag(7, BYTES);
const VALUES = tag(1, BYTES);
const KEY = tag(1, BYTES);
const VALUE = tag(2, BYTES);

/** As the specification wants what JSON has no number for (https://opentelemetry.io/docs/specs/otel/common/#anyvalue-representation-for-non-otlp-protocols). */
const doubleText = (value: number): string =>
  Number.isNaN(value) || Number.isFinite(value) ? String(value) : value > 0 ? "Infinity" : "-Infinity";

const base64 = (wire: Wire): string => {
  const start = span(wire);
  return wire.buf.toString("base64", start, wire.pos);
};

/**
 * The AnyValue that comes next as text: a string as it is, numbers and booleans in their usual spelling, bytes in base64, arrays and
 * maps as JSON, "" when it holds nothing.
 */
export const anyValueText = (wire: Wire): string => {
  const outer = enter(wire);
  let value = "";
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === STRING) value = text(wire);
    else if (fieldTag === INT) value = int64Text(wire);
    else if (fieldTag === DOUBLE) value = doubleText(wire.double());
    else if (fieldTag === BOOL) value = wire.bool() ? "true" : "false";
    else if (fieldTag === BYTES_VALUE) value = base64(wire);
    else if (fieldTag === ARRAY) value = arrayJson(wire, 1);
    else if (fieldTag === KVLIST) value = mapJson(wire, 1);
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  return value;
};

const anyValueJson = (wire: Wire, depth: number): string => {
  if (depth > ANY_VALUE_DEPTH_MAX) throw new RangeError(`a value is nested deeper than ${ANY_VALUE_DEPTH_MAX} levels`);
  const outer = enter(wire);
  let value = "null";
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === STRING) value = JSON.stringify(text(wire));
    else if (fieldTag === INT) value = int64Text(wire);
    else if (fieldTag === DOUBLE) value = doubleJson(wire.double());
    else if (fieldTag === BOOL) value = wire.bool() ? "true" : "false";
    else if (fieldTag === BYTES_VALUE) value = JSON.stringify(base64(wire));
    else if (fieldTag === ARRAY) value = arrayJson(wire, depth + 1);
    else if (fieldTag === KVLIST) value = mapJson(wire, depth + 1);
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  return value;
};

const doubleJson = (value: number): string =>
  Number.isFinite(value) ? String(value) : JSON.stringify(doubleText(value));

const arrayJson = (wire: Wire, depth: number): string => {
  const outer = enter(wire);
  const parts: string[] = [];
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === VALUES) parts.push(anyValueJson(wire, depth));
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  return `[${parts.join(",")}]`;
};

const mapJson = (wire: Wire, depth: number): string => {
  const outer = enter(wire);
  const parts: string[] = [];
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === VALUES) parts.push(entryJson(wire, depth));
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  return `{${parts.join(",")}}`;
};

const entryJson = (wire: Wire, depth: number): string => {
  const outer = enter(wire);
  let key = "";
  let value = "null";
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === KEY) key = text(wire);
    else if (fieldTag === VALUE) value = anyValueJson(wire, depth);
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  return `${JSON.stringify(key)}:${value}`;
};

/** Reads the KeyValue that comes next into `attributes`, its key behind `prefix`. A key that was there is overwritten. */
export const readAttribute = (wire: Wire, attributes: Record<string, string>, prefix = ""): void => {
  const outer = enter(wire);
  let key = "";
  let value = "";
  while (wire.pos < wire.len) {
    const fieldTag = wire.tag();
    if (fieldTag === KEY) key = text(wire);
    else if (fieldTag === VALUE) value = anyValueText(wire);
    else skip(wire, fieldTag);
  }
  leave(wire, outer);
  setText(attributes, prefix === "" ? key : prefix + key, value);
};

/** `__proto__` as a plain assignment would vanish. */
export const setText = (texts: Record<string, string>, key: string, value: string): void => {
  if (key === "__proto__") {
    Object.defineProperty(texts, key, { value, enumerable: true, configurable: true, writable: true });
  } else {
    texts[key] = value;
  }
};
