import type { Command } from "./command.ts";

/** Of Ed25519: 64 bytes. */
const SIGNATURE = /^[A-Za-z0-9+/]{86}==$/;
const NOT_HEX = /[^0-9a-f]/;
const RISKS: ReadonlySet<unknown> = new Set(["read_only", "reversible", "destructive"]);
const UNIX_MS_MAX = 9_223_372_036_854;

type Fields = Readonly<Record<string, unknown>>;

const hasFields = (value: unknown, count: number): value is Fields =>
  typeof value === "object" &&
  value !== null &&
  Object.getPrototypeOf(value) === Object.prototype &&
  Object.keys(value).length === count;

const isText = (value: unknown, charsMax: number): boolean =>
  typeof value === "string" && value.length > 0 && value.length <= charsMax;

const isWhole = (value: unknown, min: number, max: number): boolean =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max;

const isDigest = (value: unknown): boolean => typeof value === "string" && value.length === 64 && !NOT_HEX.test(value);

const isJson = (value: unknown): boolean => {
  if (typeof value === "string" || typeof value === "boolean" || value === null) return true;
  if (typeof value === "number") return Number.isFinite(value);
  if (Array.isArray(value)) return value.every(isJson);
  return isRecord(value, Number.POSITIVE_INFINITY);
};

const isRecord = (value: unknown, keyCharsMax: number): boolean => {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return false;
  for (const key of Object.keys(value))
    if (key.length > keyCharsMax || key === "__proto__" || !isJson((value as Fields)[key])) return false;
  return true;
};

const isSites = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return false;
  for (const name of Object.keys(value)) {
    const site = (value as Fields)[name];
    if (!isText(name, 64) || name === "__proto__" || !hasFields(site, 2)) return false;
    if (!isWhole(site.targeted, 1, Number.MAX_SAFE_INTEGER) || !isWhole(site.of, 1, Number.MAX_SAFE_INTEGER))
      return false;
  }
  return true;
};

const isTargets = (value: unknown): boolean =>
  hasFields(value, 3) && isDigest(value.root) && isWhole(value.count, 1, 1_000_000) && isSites(value.sites);

const isGrant = (value: unknown): boolean =>
  hasFields(value, 13) &&
  isText(value.command_id, 128) &&
  isText(value.job_id, 128) &&
  isText(value.requested_by, 255) &&
  isText(value.executor, 64) &&
  isDigest(value.args_sha256) &&
  RISKS.has(value.risk) &&
  isTargets(value.targets) &&
  Array.isArray(value.approvals) &&
  value.approvals.length === 0 &&
  isWhole(value.issued_at_unix_ms, 0, UNIX_MS_MAX) &&
  isWhole(value.not_after_unix_ms, 0, UNIX_MS_MAX) &&
  isWhole(value.timeout_ms, 1, 3_600_000) &&
  isWhole(value.output_bytes_max, 0, 1_048_576) &&
  hasFields(value.limits, 0);

const isSigned = (value: unknown): boolean =>
  hasFields(value, 3) &&
  isText(value.key_id, 64) &&
  typeof value.signature === "string" &&
  SIGNATURE.test(value.signature) &&
  isGrant(value.grant);

const isProof = (value: unknown): boolean =>
  hasFields(value, 2) &&
  isWhole(value.index, 0, Number.MAX_SAFE_INTEGER) &&
  Array.isArray(value.path) &&
  value.path.length <= 32 &&
  value.path.every(isDigest);

/**
 * True: the schema `Command` takes it, as it is. False says nothing. For what nearly all commands are (read from JSON, without approvals
 * and limits) it costs a tenth of asking the schema. @throws RangeError when it is nested deeper than the stack
 */
export const isCommand = (value: unknown): value is Command =>
  hasFields(value, 4) &&
  isText(value.host, 255) &&
  isSigned(value.signed) &&
  isProof(value.proof) &&
  isRecord(value.args, 64);
