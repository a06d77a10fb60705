import { z } from "zod";
import { HostName } from "./command.ts";
import { UnixMs } from "./unix-ms.ts";

/** The value on `agent.identities` (compacted, keyed by host): who may speak as this host. */
export const AgentIdentity = z.strictObject({
  host: HostName,
  site: z.string().min(1).max(64),
  /** quarantined: it may connect and report, and is sent no commands. revoked: it may not connect. */
  state: z.enum(["active", "quarantined", "revoked"]),
  /** Serial numbers, in hex, of certificates that are still valid by their dates, newest first. */
  serials: z.array(z.string().max(64)).max(8),
  enrolled_at_unix_ms: UnixMs,
  changed_at_unix_ms: UnixMs,
  changed_by: z.string().max(255),
  reason: z.string().max(1_000),
});
export type AgentIdentity = z.infer<typeof AgentIdentity>;
