import { createRequire } from "node:module";

/**
 * The part of zod (https://zod.dev, version 4) that the agent's records are written in, for the agent's release: zod itself takes 9 to 18 MB
 * of resident memory, which is more than all of the agent's own code. A schema that uses anything else fails when it is loaded, so when a
 * release is built; `small-zod.test.ts` holds it to zod's verdicts and values on the real schemas and on damaged records.
 *
 * It is stricter nowhere but in how deep JSON may nest, and laxer nowhere; only the wording of its messages is its own. Configuration and the
 * schemas that plugins bring are checked by zod itself.
 */

export interface Issue {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

export class ZodError extends Error {
  override readonly name = "ZodError";
  readonly issues: readonly Issue[];
  constructor(issues: readonly Issue[]) {
    super(issues.map(({ path, message }) => `${path.length === 0 ? "" : `${path.join(".")}: `}${message}`).join("; "));
    this.issues = issues;
  }
}

export type SafeParsed<T> =
  | { readonly success: true; readonly data: T; readonly error?: undefined }
  | { readonly success: false; readonly error: ZodError; readonly data?: undefined };

interface RefinementContext {
  addIssue(issue: { code?: string; path?: readonly PropertyKey[]; message?: string }): void;
}

/** Collects what is wrong; beyond the cap nothing is added, and the verdict stands anyway. */
class Findings {
  readonly issues: Issue[] = [];
  readonly path: PropertyKey[] = [];
  add(code: string, message: string, below: readonly PropertyKey[] = []): typeof INVALID {
    if (this.issues.length < ISSUES_MAX) this.issues.push({ code, path: [...this.path, ...below], message });
    return INVALID;
  }
}

const ISSUES_MAX = 20;
const DEPTH_MAX = 200;
const INVALID = Symbol("invalid");
type Read = (value: unknown, found: Findings) => unknown;
type ErrorText = string | { readonly error?: string; readonly message?: string };

const textOf = (error: ErrorText | undefined, otherwise: string): string =>
  (typeof error === "string" ? error : (error?.error ?? error?.message)) ?? otherwise;

const kindOf = (value: unknown): string => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value);

const expected = (found: Findings, what: string, value: unknown): typeof INVALID =>
  found.add("invalid_type", `expected ${what}, got ${kindOf(value)}`);

const isRecord = (value: unknown): value is Record<string, unknown> => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
};

type Fallback = { readonly value: unknown; readonly isInput: boolean };

export class ZodType {
  readonly read: Read;
  /** Whether a key with this schema may be missing. */
  readonly isOptional: boolean;
  readonly fallback: Fallback | null;
  constructor(read: Read, missing: { isOptional?: boolean; fallback?: Fallback } = {}) {
    this.read = read;
    this.isOptional = missing.isOptional ?? false;
    this.fallback = missing.fallback ?? null;
  }

  safeParse(value: unknown): SafeParsed<unknown> {
    const found = new Findings();
    const data = this.read(value, found);
    if (found.issues.length === 0 && data !== INVALID) return { success: true, data };
    return { success: false, error: new ZodError(found.issues) };
  }

  parse(value: unknown): unknown {
    const parsed = this.safeParse(value);
    if (!parsed.success) throw parsed.error;
    return parsed.data;
  }

  optional(): ZodType {
    return new ZodType((value, found) => (value === undefined ? undefined : this.read(value, found)), {
      isOptional: true,
    });
  }

  nullable(): ZodType {
    return new ZodType((value, found) => (value === null ? null : this.read(value, found)), this.#missing());
  }

  default(value: unknown): ZodType {
    const make = () => (typeof value === "function" ? value() : structuredCopy(value));
    return new ZodType((given, found) => (given === undefined ? make() : this.read(given, found)), {
      isOptional: true,
      fallback: { value, isInput: false },
    });
  }

  prefault(value: unknown): ZodType {
    return new ZodType((given, found) => this.read(given === undefined ? structuredCopy(value) : given, found), {
      isOptional: true,
      fallback: { value, isInput: true },
    });
  }

  refine(holds: (value: never) => unknown, error?: ErrorText): ZodType {
    return this.#checked((value, found) => {
      if (!holds(value as never)) found.add("custom", textOf(error, "refused"));
    });
  }

  superRefine(check: (value: never, context: RefinementContext) => void): ZodType {
    return this.#checked((value, found) =>
      check(value as never, {
        addIssue: ({ code = "custom", path = [], message = "refused" }) => found.add(code, message, path),
      }),
    );
  }

  transform(change: (value: never) => unknown): ZodType {
    return new ZodType((value, found) => {
      const before = found.issues.length;
      const read = this.read(value, found);
      return read === INVALID || found.issues.length > before ? INVALID : change(read as never);
    }, this.#missing());
  }

  #checked(check: (value: unknown, found: Findings) => void): ZodType {
    return new ZodType((value, found) => {
      const before = found.issues.length;
      const read = this.read(value, found);
      if (read !== INVALID && found.issues.length === before) check(read, found);
      return found.issues.length > before ? INVALID : read;
    }, this.#missing());
  }

  #missing(): { isOptional: boolean; fallback?: Fallback } {
    return this.fallback === null
      ? { isOptional: this.isOptional }
      : { isOptional: this.isOptional, fallback: this.fallback };
  }
}

const structuredCopy = (value: unknown): unknown =>
  Array.isArray(value) ? [...value] : isRecord(value) ? { ...value } : value;

type Check = (value: never, found: Findings) => void;

/** A schema that gathers checks: `z.string().min(1).max(9)`. All checks of a value are told, as zod does. */
abstract class Checked<Self> extends ZodType {
  readonly base: Read;
  readonly checks: readonly Check[];
  constructor(base: Read, checks: readonly Check[]) {
    super((value, found) => {
      const before = found.issues.length;
      const read = base(value, found);
      if (read !== INVALID && found.issues.length === before) for (const check of checks) check(read as never, found);
      return found.issues.length > before ? INVALID : read;
    });
    this.base = base;
    this.checks = checks;
  }
  abstract again(checks: readonly Check[]): Self;
  protected with(check: Check): Self {
    return this.again([...this.checks, check]);
  }
}

class ZodString extends Checked<ZodString> {
  again(checks: readonly Check[]): ZodString {
    return new ZodString(this.base, checks);
  }
  min(length: number, error?: ErrorText): ZodString {
    return this.with((value: string, found) => {
      if (value.length < length) found.add("too_small", textOf(error, `shorter than ${length} characters`));
    });
  }
  max(length: number, error?: ErrorText): ZodString {
    return this.with((value: string, found) => {
      if (value.length > length) found.add("too_big", textOf(error, `longer than ${length} characters`));
    });
  }
  length(length: number, error?: ErrorText): ZodString {
    return this.with((value: string, found) => {
      if (value.length !== length) found.add("too_big", textOf(error, `want ${length} characters`));
    });
  }
  regex(pattern: RegExp, error?: ErrorText): ZodString {
    return this.with((value: string, found) => {
      pattern.lastIndex = 0;
      if (!pattern.test(value)) found.add("invalid_format", textOf(error, `must match ${pattern}`));
    });
  }
}

class ZodNumber extends Checked<ZodNumber> {
  again(checks: readonly Check[]): ZodNumber {
    return new ZodNumber(this.base, checks);
  }
  int(): ZodNumber {
    return this.with((value: number, found) => {
      if (!Number.isSafeInteger(value)) found.add("invalid_type", "want a whole number");
    });
  }
  min(least: number, error?: ErrorText): ZodNumber {
    return this.with((value: number, found) => {
      if (value < least) found.add("too_small", textOf(error, `less than ${least}`));
    });
  }
  gt(limit: number, error?: ErrorText): ZodNumber {
    return this.with((value: number, found) => {
      if (value <= limit) found.add("too_small", textOf(error, `not more than ${limit}`));
    });
  }
  max(most: number, error?: ErrorText): ZodNumber {
    return this.with((value: number, found) => {
      if (value > most) found.add("too_big", textOf(error, `more than ${most}`));
    });
  }
  positive(): ZodNumber {
    return this.gt(0);
  }
  nonnegative(): ZodNumber {
    return this.min(0);
  }
}

class ZodArray extends Checked<ZodArray> {
  again(checks: readonly Check[]): ZodArray {
    return new ZodArray(this.base, checks);
  }
  min(count: number, error?: ErrorText): ZodArray {
    return this.with((value: unknown[], found) => {
      if (value.length < count) found.add("too_small", textOf(error, `fewer than ${count} entries`));
    });
  }
  max(count: number, error?: ErrorText): ZodArray {
    return this.with((value: unknown[], found) => {
      if (value.length > count) found.add("too_big", textOf(error, `more than ${count} entries`));
    });
  }
}

type Shape = Readonly<Record<string, ZodType>>;

class ZodObject extends ZodType {
  readonly shape: Shape;
  readonly isStrict: boolean;
  constructor(shape: Shape, isStrict: boolean) {
    super((value, found) => readObject(shape, isStrict, value, found));
    this.shape = shape;
    this.isStrict = isStrict;
  }
  extend(more: Shape): ZodObject {
    return new ZodObject({ ...this.shape, ...more }, this.isStrict);
  }
  omit(keys: Readonly<Record<string, true>>): ZodObject {
    return new ZodObject(
      Object.fromEntries(Object.entries(this.shape).filter(([key]) => keys[key] === undefined)),
      this.isStrict,
    );
  }
  pick(keys: Readonly<Record<string, true>>): ZodObject {
    return new ZodObject(
      Object.fromEntries(Object.entries(this.shape).filter(([key]) => keys[key] !== undefined)),
      this.isStrict,
    );
  }
}

const readObject = (shape: Shape, isStrict: boolean, value: unknown, found: Findings): unknown => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return expected(found, "object", value);
  const given = value as Readonly<Record<string, unknown>>;
  const result: Record<string, unknown> = {};
  const before = found.issues.length;
  for (const key of Object.keys(shape)) {
    const schema = shape[key];
    if (schema === undefined) continue;
    const isThere = key in given;
    if (!isThere && schema.isOptional && schema.fallback === null) continue;
    found.path.push(key);
    const read = schema.read(given[key], found);
    if (!isThere && read === undefined && found.issues.length === before) expected(found, "a value", undefined);
    found.path.pop();
    if (read !== INVALID) result[key] = read;
  }
  if (isStrict) {
    const strange = Object.keys(given).filter((key) => !Object.hasOwn(shape, key));
    if (strange.length > 0) found.add("unrecognized_keys", `unknown: ${strange.slice(0, 5).join(", ").slice(0, 200)}`);
  }
  return found.issues.length > before ? INVALID : result;
};

const readRecord = (keys: ZodType, values: ZodType, value: unknown, found: Findings): unknown => {
  if (!isRecord(value)) return expected(found, "record", value);
  const result: Record<string, unknown> = {};
  const before = found.issues.length;
  for (const key of Object.keys(value)) {
    if (key === "__proto__") continue;
    found.path.push(key);
    const name = keys.read(key, found);
    const read = values.read(value[key], found);
    found.path.pop();
    if (name !== INVALID && read !== INVALID) result[String(name)] = read;
  }
  return found.issues.length > before ? INVALID : result;
};

const readArray = (entry: ZodType, value: unknown, found: Findings): unknown => {
  if (!Array.isArray(value)) return expected(found, "array", value);
  const before = found.issues.length;
  const result = value.map((one: unknown, index) => {
    found.path.push(index);
    const read = entry.read(one, found);
    found.path.pop();
    return read;
  });
  return found.issues.length > before ? INVALID : result;
};

const readTuple = (entries: readonly ZodType[], value: unknown, found: Findings): unknown => {
  if (!Array.isArray(value)) return expected(found, "array", value);
  if (value.length !== entries.length) return found.add("too_small", `want ${entries.length} entries`);
  const before = found.issues.length;
  const result = entries.map((entry, index) => {
    found.path.push(index);
    const read = entry.read(value[index], found);
    found.path.pop();
    return read;
  });
  return found.issues.length > before ? INVALID : result;
};

const readUnion = (options: readonly ZodType[], value: unknown, found: Findings): unknown => {
  for (const option of options) {
    const apart = new Findings();
    const read = option.read(value, apart);
    if (read !== INVALID && apart.issues.length === 0) return read;
  }
  return found.add("invalid_union", "is none of what is allowed");
};

/** By the value of one key, whose literal decides alone. */
const readDiscriminated = (
  key: string,
  options: ReadonlyMap<unknown, ZodObject>,
  value: unknown,
  found: Findings,
): unknown => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return expected(found, "object", value);
  const option = options.get((value as Readonly<Record<string, unknown>>)[key]);
  if (option !== undefined) return option.read(value, found);
  return found.add("invalid_union", `want one of ${[...options.keys()].join(", ")}`, [key]);
};

const readJson = (value: unknown, found: Findings, depth = 0): unknown => {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (depth > DEPTH_MAX) return found.add("custom", `nested deeper than ${DEPTH_MAX}`);
  const before = found.issues.length;
  if (Array.isArray(value)) {
    const all = value.map((one) => readJson(one, found, depth + 1));
    return found.issues.length > before ? INVALID : all;
  }
  if (!isRecord(value)) return found.add("invalid_union", `expected JSON, got ${kindOf(value)}`);
  const result: Record<string, unknown> = {};
  for (const key of Object.keys(value)) if (key !== "__proto__") result[key] = readJson(value[key], found, depth + 1);
  return found.issues.length > before ? INVALID : result;
};

class ZodLiteral extends ZodType {
  readonly values: ReadonlySet<unknown>;
  constructor(values: readonly unknown[]) {
    const all = new Set(values);
    super((value, found) => (all.has(value) ? value : found.add("invalid_value", `want ${values.join(" or ")}`)));
    this.values = all;
  }
}

class ZodEnum extends ZodLiteral {
  readonly options: readonly string[];
  constructor(options: readonly string[]) {
    super(options);
    this.options = options;
  }
}

const primitive =
  (kind: "string" | "boolean"): Read =>
  (value, found) =>
    typeof value === kind ? value : expected(found, kind, value);

const readNumber: Read = (value, found) =>
  typeof value === "number" && Number.isFinite(value) ? value : expected(found, "number", value);

const readInt: Read = (value, found) =>
  typeof value === "number" && Number.isSafeInteger(value) ? value : expected(found, "whole number", value);

/** RFC 4648, section 4, padded. */
const BASE64 = /^$|^(?:[0-9a-zA-Z+/]{4})*(?:(?:[0-9a-zA-Z+/]{2}==)|(?:[0-9a-zA-Z+/]{3}=))?$/;

/** RFC 4648, section 5, without padding. */
const BASE64URL = /^[A-Za-z0-9_-]*$/;

const discriminated = (key: string, options: readonly ZodType[]): ZodType => {
  const byValue = new Map<unknown, ZodObject>();
  for (const option of options) {
    const literal = option instanceof ZodObject ? option.shape[key] : undefined;
    if (!(option instanceof ZodObject) || !(literal instanceof ZodLiteral))
      throw new TypeError(`small-zod: options of a discriminated union are objects with a literal ${key}`);
    for (const value of literal.values) byValue.set(value, option);
  }
  return new ZodType((value, found) => readDiscriminated(key, byValue, value, found));
};

/** Loaded with the first plugin that has a schema, and not before. */
const zodItself = (): { z: { fromJSONSchema(schema: unknown): unknown } } =>
  createRequire(import.meta.url)("zod") as { z: { fromJSONSchema(schema: unknown): unknown } };

export const z = {
  string: () => new ZodString(primitive("string"), []),
  base64: () => new ZodString(primitive("string"), []).regex(BASE64, "want base64"),
  base64url: () =>
    new ZodString(primitive("string"), []).again([
      (value: string, found: Findings) => {
        if (!BASE64URL.test(value) || value.length % 4 === 1) found.add("invalid_format", "want base64url");
      },
    ]),
  number: () => new ZodNumber(readNumber, []),
  int: () => new ZodNumber(readInt, []),
  boolean: () => new ZodType(primitive("boolean")),
  unknown: () => new ZodType((value) => value, { isOptional: true }),
  literal: (value: unknown) => new ZodLiteral(Array.isArray(value) ? value : [value]),
  enum: (options: readonly string[]) => new ZodEnum(options),
  array: (entry: ZodType) => new ZodArray((value, found) => readArray(entry, value, found), []),
  object: (shape: Shape) => new ZodObject(shape, false),
  strictObject: (shape: Shape) => new ZodObject(shape, true),
  record: (keys: ZodType, values: ZodType) => new ZodType((value, found) => readRecord(keys, values, value, found)),
  partialRecord: (keys: ZodType, values: ZodType) =>
    new ZodType((value, found) => readRecord(keys, values, value, found)),
  union: (options: readonly ZodType[]) => new ZodType((value, found) => readUnion(options, value, found)),
  tuple: (entries: readonly ZodType[]) => new ZodType((value, found) => readTuple(entries, value, found)),
  discriminatedUnion: discriminated,
  fromJSONSchema: (schema: unknown): unknown => zodItself().z.fromJSONSchema(schema),
  json: () => new ZodType((value, found) => readJson(value, found)),
  ZodError,
  ZodType,
} as const;
