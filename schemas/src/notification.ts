import { z } from "zod";
import { UnixMs } from "./unix-ms.ts";

/** A record of `notify.outbox`, keyed by delivery_id: the whole state of one delivery, so that it survives a restart. */
export const Notification = z.strictObject({
  delivery_id: z.string().min(1).max(128),
  receiver: z.string().min(1).max(64),
  incident_id: z.string().min(1).max(64),
  /** What happened to the incident: `opened`, `escalated`, `resolved`, … */
  event: z.string().min(1).max(64),
  state: z.enum(["pending", "delivered", "dead"]),
  payload: z.json(),
  attempts: z.int().min(0),
  next_attempt_at_unix_ms: UnixMs,
  created_at_unix_ms: UnixMs,
  /** The last failure, secrets redacted; empty when none. */
  last_error: z.string().max(500),
});
export type Notification = z.infer<typeof Notification>;
