import { z } from "zod";
import { UnixMs } from "./unix-ms.ts";

export const InvocationState = z.enum([
  "queued",
  "delivered",
  "accepted",
  "running",
  "succeeded",
  "failed",
  "timed_out",
  "cancelled",
  "refused",
  "expired",
  "lost",
]);
export type InvocationState = z.infer<typeof InvocationState>;

/** What an agent is asked to do. `command_id` is the idempotency key: an agent runs it at most once, ever. */
export const Command = z.strictObject({
  command_id: z.string().min(1).max(128),
  host: z.string().min(1).max(255),
  /** An executor on the agent's allow list: `service.restart`, `files.free`, `exec.run`, … */
  executor: z.string().min(1).max(64),
  args: z.record(z.string().max(64), z.json()),
  timeout_ms: z.int().min(1).max(3_600_000),
  output_bytes_max: z.int().min(0).max(1_048_576),
  requested_by: z.string().min(1).max(255),
  issued_at_unix_ms: UnixMs,
  /** An agent that sees the command later than this answers `expired`. */
  not_after_unix_ms: UnixMs,
});
export type Command = z.infer<typeof Command>;

/** The value on `agent.commands`: a command and the control plane's Ed25519 signature over its canonical JSON (RFC 8785). Unsigned means refused. */
export const SignedCommand = z.strictObject({
  command: Command,
  key_id: z.string().min(1).max(64),
  signature: z.base64().max(128),
});
export type SignedCommand = z.infer<typeof SignedCommand>;

export const CommandResult = z.strictObject({
  command_id: z.string().min(1).max(128),
  host: z.string().min(1).max(255),
  executor: z.string().max(64),
  state: InvocationState,
  exit_code: z.int().nullable(),
  stdout: z.string().max(1_048_576),
  stderr: z.string().max(1_048_576),
  /** True when either stream was longer than the cap; the head is kept. */
  output_truncated: z.boolean(),
  started_at_unix_ms: UnixMs.nullable(),
  ended_at_unix_ms: UnixMs.nullable(),
  /** Why it was refused, failed or lost; empty on success. */
  message: z.string().max(2000),
});
export type CommandResult = z.infer<typeof CommandResult>;
