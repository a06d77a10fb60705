import type { AuditRecord } from "@homeostat/schemas";

export type AuditDetails = AuditRecord["details"];

/** Whether the whole log is what was written; otherwise the first flaw, in words, and where it is. */
export type AuditVerdict =
  | { readonly ok: true; readonly records: number; readonly head_sha256: string }
  | { readonly ok: false; readonly records: number; readonly at_sequence: number; readonly flaw: string };

export interface Audit {
  /** Resolves when the record is durable. @throws Error when this control does not lead. */
  append(who: string, what: string, subject: string, details: AuditDetails): Promise<void>;
  /** Records from this number on, oldest first; at most 1,000. */
  read(from: number, limit: number): Promise<readonly AuditRecord[]>;
  verify(): Promise<AuditVerdict>;
}
