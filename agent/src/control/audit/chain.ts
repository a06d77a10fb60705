import { createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";
import { AuditRecord, canonicalJson, keyId } from "@homeostat/schemas";

/** Where a chain ends. */
export interface Head {
  readonly sequence: number;
  readonly sha256: string;
}

/** Before the first record. */
export const GENESIS: Head = { sequence: 0, sha256: "0".repeat(64) };

export type AuditEntry = Pick<AuditRecord, "at_unix_ms" | "who" | "what" | "subject" | "details">;

const digestOf = (record: AuditRecord): string => {
  const { sha256: _, signature: __, ...rest } = record;
  return hash("sha256", canonicalJson(rest));
};

/** A lone surrogate has no canonical form, and must not keep what was done out of the log. */
const wellFormed = (text: string, charsMax: number): string => text.toWellFormed().slice(0, charsMax).toWellFormed();

/** The same for all that a person said of it: reasons, notes, expressions, and what was cut of them. */
const putRight = <T>(value: T): T => {
  if (typeof value === "string") return value.toWellFormed() as T;
  if (Array.isArray(value)) return value.map(putRight) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, putRight(one)])) as T;
};

/** What comes next in a chain, to be published together. The last is signed over its digest, which holds everything else and the digest of the one before. */
export const nextRecords = (
  entries: readonly AuditEntry[],
  { head, key }: { readonly head: Head; readonly key: KeyObject },
): readonly AuditRecord[] => {
  const records: AuditRecord[] = [];
  let before = head;
  for (const [at, entry] of entries.entries()) {
    const isLast = at === entries.length - 1;
    const record = unsignedOf(entry, before, keyId(key));
    if (entries.length > 1) record.vouches_for = isLast ? entries.length : 0;
    record.sha256 = digestOf(record);
    if (isLast) record.signature = sign(null, Buffer.from(record.sha256, "hex"), key).toString("base64");
    records.push(record);
    before = record;
  }
  return records;
};

const unsignedOf = (entry: AuditEntry, head: Head, key_id: string): AuditRecord => ({
  sequence: head.sequence + 1,
  at_unix_ms: entry.at_unix_ms,
  who: wellFormed(entry.who, 255) || "unknown",
  what: wellFormed(entry.what, 64),
  subject: wellFormed(entry.subject, 255),
  details: putRight(entry.details),
  previous_sha256: head.sha256,
  sha256: "",
  key_id,
  signature: "",
});

/** Whether one of these keys signed it: then all that it vouches for stands before it. Of what comes in one publish that is the last alone. */
export const isSigned = (record: AuditRecord, keys: readonly KeyObject[]): boolean => {
  const key = keys.find((one) => keyId(one) === record.key_id);
  if (key === undefined || record.signature === "" || digestOf(record) !== record.sha256) return false;
  return verify(null, Buffer.from(record.sha256, "hex"), publicHalf(key), Buffer.from(record.signature, "base64"));
};

const publicHalf = (key: KeyObject): KeyObject => (key.type === "private" ? createPublicKey(key) : key);

export interface Flaw {
  readonly at_sequence: number;
  readonly flaw: string;
}

/** A publish that the bus was asked for twice stands twice at the end; of a publish, and so of its repetition, AuditWriter says how long it is. */
const REPEATED_MAX = 4_096;

/** What can be said twice with nothing new in it. */
const identityOf = ({ sha256, key_id, signature, vouches_for }: AuditRecord): string =>
  `${sha256} ${key_id} ${signature} ${vouches_for ?? 1}`;

/** Follows a chain record by record and keeps the first flaw. A record that comes once more, as it was, is passed over. */
export class ChainCheck {
  #head: Head = GENESIS;
  /** The newest of the chain, by their numbers. */
  readonly #newest = new Map<number, string>();
  /** Behind the last signature. */
  #unsigned = 0;
  readonly #keys: ReadonlyMap<string, KeyObject>;

  /** Public or private keys; whoever has changed keys passes the older ones too. */
  constructor(keys: readonly KeyObject[]) {
    this.#keys = new Map(keys.map((key) => [keyId(key), publicHalf(key)]));
  }

  get head(): Head {
    return this.#head;
  }

  /** What is wrong with this record behind the ones before, or null. `key` is that of its message. */
  next(value: unknown, key: string | null): Flaw | null {
    const expected = this.#head.sequence + 1;
    const flaw = (text: string): Flaw => ({ at_sequence: expected, flaw: text });
    const parsed = AuditRecord.safeParse(value);
    if (!parsed.success) return flaw(`record ${expected} cannot be read`);
    const record = parsed.data;
    if (this.#isRepeated(record, key)) return null;
    if (record.sequence !== expected)
      return flaw(
        record.sequence > expected
          ? `record ${expected} is missing: ${record.sequence} follows ${this.#head.sequence}`
          : `record ${record.sequence} comes again, or out of order, where ${expected} belongs`,
      );
    if (key !== String(record.sequence)) return flaw(`record ${expected} lies under the key ${JSON.stringify(key)}`);
    if (record.previous_sha256 !== this.#head.sha256)
      return flaw(`record ${expected} does not follow record ${this.#head.sequence}: another one stood there`);
    if (digestOf(record) !== record.sha256) return flaw(`record ${expected} was altered: its digest is another`);
    const unproven = this.#unproven(record);
    if (unproven !== null) return flaw(unproven);
    this.#unsigned = record.vouches_for === 0 ? this.#unsigned + 1 : 0;
    this.#head = { sequence: record.sequence, sha256: record.sha256 };
    this.#newest.set(record.sequence, identityOf(record));
    this.#newest.delete(record.sequence - REPEATED_MAX);
    return null;
  }

  /** Whoever is told that a publish has failed, or told nothing, may ask for it again: it stands there twice, and says the same. */
  #isRepeated(record: AuditRecord, key: string | null): boolean {
    const known = this.#newest.get(record.sequence);
    return known === identityOf(record) && digestOf(record) === record.sha256 && key === String(record.sequence);
  }

  /** What is wrong with where the log ends, or null. */
  end(): Flaw | null {
    if (this.#unsigned === 0) return null;
    const at_sequence = this.#head.sequence - this.#unsigned + 1;
    return { at_sequence, flaw: `nobody vouches for the records from ${at_sequence} to the end` };
  }

  #unproven({ sequence, sha256, key_id, signature, vouches_for = 1 }: AuditRecord): string | null {
    if (vouches_for === 0)
      return signature === "" ? null : `record ${sequence} is signed, and says that another one is`;
    if (vouches_for !== this.#unsigned + 1)
      return `record ${sequence} vouches for ${vouches_for} records, where ${this.#unsigned + 1} end`;
    const publicKey = this.#keys.get(key_id);
    if (publicKey === undefined) return `record ${sequence} is signed by an unknown key ${key_id}`;
    return verify(null, Buffer.from(sha256, "hex"), publicKey, Buffer.from(signature, "base64"))
      ? null
      : `the signature of record ${sequence} is wrong`;
  }
}
