import { z } from "zod";
import { UnixMs } from "./unix-ms.ts";

/**
 * The value on `audit`, keyed by its number: each record holds the digest of the one before, so that none can be altered, left out or
 * put in between unseen.
 */
export const AuditRecord = z.strictObject({
  sequence: z.int().min(1),
  at_unix_ms: UnixMs,
  /** A person, or a part of the platform. */
  who: z.string().min(1).max(255),
  /** What was done: `job.submitted`, `job.approved`, `agent.enrolled`, `agent.revoked`, `shell.opened`, … */
  what: z.string().min(1).max(64),
  /** To which job, host, plugin … */
  subject: z.string().max(255),
  details: z.record(z.string().max(64), z.json()),
  /** SHA-256 of the record before, in hex; 64 zeros for the first. */
  previous_sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Of this record's canonical JSON (RFC 8785) without `sha256` and `signature`. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /**
   * Records that are published together have one signature, that of the last, which says how many it vouches for, up to and with itself;
   * the others say 0 and have none. Without it, a record's signature vouches for that record alone.
   */
  vouches_for: z.int().min(0).optional(),
  /** Ed25519 by the control plane's key over `sha256`: the bus alone cannot make a chain. Empty when a later record's vouches for it. */
  key_id: z.string().min(1).max(64),
  signature: z.base64().max(128),
});
export type AuditRecord = z.infer<typeof AuditRecord>;
