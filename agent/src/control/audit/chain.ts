import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
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
  return createHash("sha256").update(canonicalJson(rest)).digest("hex");
};

/** Naming a key takes longer than signing with it. */
const names = new WeakMap<KeyObject, string>();
const nameOf = (key: KeyObject): string => {
  const name = names.get(key) ?? keyId(key);
  names.set(key, name);
  return name;
};

/** A lone surrogate has no canonical form, and must not keep what was done out of the log. */
const wellFormed = (text: string, charsMax: number): string => text.toWellFormed().slice(0, charsMax).toWellFormed();

/** The next record of a chain. Signed over its digest, which holds everything else. */
export const nextRecord = (
  entry: AuditEntry,
  { head, key }: { readonly head: Head; readonly key: KeyObject },
): AuditRecord => {
  const unsigned: AuditRecord = {
    sequence: head.sequence + 1,
    at_unix_ms: entry.at_unix_ms,
    who: wellFormed(entry.who, 255) || "unknown",
    what: wellFormed(entry.what, 64),
    subject: wellFormed(entry.subject, 255),
    details: entry.details,
    previous_sha256: head.sha256,
    sha256: "",
    key_id: nameOf(key),
    signature: "",
  };
  const sha256 = digestOf(unsigned);
  return { ...unsigned, sha256, signature: sign(null, Buffer.from(sha256, "hex"), key).toString("base64") };
};

export interface Flaw {
  readonly at_sequence: number;
  readonly flaw: string;
}

/** Follows a chain record by record and keeps the first flaw. */
export class ChainCheck {
  #head: Head = GENESIS;
  readonly #keys: ReadonlyMap<string, KeyObject>;

  /** Public or private keys; whoever has changed keys passes the older ones too. */
  constructor(keys: readonly KeyObject[]) {
    this.#keys = new Map(keys.map((key) => [keyId(key), key.type === "private" ? createPublicKey(key) : key]));
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
    const publicKey = this.#keys.get(record.key_id);
    if (publicKey === undefined) return flaw(`record ${expected} is signed by an unknown key ${record.key_id}`);
    if (!verify(null, Buffer.from(record.sha256, "hex"), publicKey, Buffer.from(record.signature, "base64")))
      return flaw(`the signature of record ${expected} is wrong`);
    this.#head = { sequence: record.sequence, sha256: record.sha256 };
    return null;
  }
}
