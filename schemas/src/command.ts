import { z } from "zod";
import { Risk } from "./remediation-run.ts";
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

const ENDED: ReadonlySet<InvocationState> = new Set([
  "succeeded",
  "failed",
  "timed_out",
  "cancelled",
  "refused",
  "expired",
  "lost",
]);
/** Nothing more happens to it; of `lost` alone an agent that comes back may still tell what became of it. */
export const hasEnded = (state: InvocationState): boolean => ENDED.has(state);

export const HostName = z.string().min(1).max(255);
const Sha256Hex = z.string().regex(/^[0-9a-f]{64}$/, "want 64 hex digits");
export const CommandArgs = z.record(z.string().max(64), z.json());
export type CommandArgs = z.infer<typeof CommandArgs>;

/** What a child of an executor may take; enforced with cgroup v2 where the host has it, otherwise with ulimit and nice. */
export const ResourceLimits = z.strictObject({
  /** Of one core; 50 is half a core. */
  cpu_percent: z.int().min(1).max(100_000).optional(),
  memory_bytes: z
    .int()
    .min(4 * 1_048_576)
    .optional(),
});
export type ResourceLimits = z.infer<typeof ResourceLimits>;

export const Approval = z.strictObject({ by: z.string().min(1).max(255), at_unix_ms: UnixMs });
export type Approval = z.infer<typeof Approval>;

/**
 * What the control plane allows: who may have what done, where, how and until when. The signature over its canonical JSON (RFC 8785) is
 * checked by the agent itself, so nothing between can add to it. `command_id` is nonce and idempotency key at once: an agent runs it at
 * most once, ever.
 */
export const Grant = z.strictObject({
  command_id: z.string().min(1).max(128),
  /** The job or the remediation run that it belongs to. */
  job_id: z.string().min(1).max(128),
  requested_by: z.string().min(1).max(255),
  /** An executor on the agent's allow list: `service.restart`, `files.free`, `exec.run`, or a plugin's. */
  executor: z.string().min(1).max(64),
  /** Of the arguments' canonical JSON. */
  args_sha256: Sha256Hex,
  risk: Risk,
  targets: z.strictObject({
    /** Root of the tree of hosts (host-tree.ts). */
    root: Sha256Hex,
    count: z.int().min(1).max(1_000_000),
    /** For the whole job, and the others that run and change something at that time: how many hosts of each site are to be touched, of how many that are known there. For limits such as "at most 10 % of a site". */
    sites: z.record(z.string().min(1).max(64), z.strictObject({ targeted: z.int().min(1), of: z.int().min(1) })),
  }),
  approvals: z.array(Approval).max(16),
  issued_at_unix_ms: UnixMs,
  /** An agent that sees the command later than this answers `expired`. */
  not_after_unix_ms: UnixMs,
  timeout_ms: z.int().min(1).max(3_600_000),
  output_bytes_max: z.int().min(0).max(1_048_576),
  limits: ResourceLimits,
});
export type Grant = z.infer<typeof Grant>;

export const SignedGrant = z.strictObject({
  grant: Grant,
  key_id: z.string().min(1).max(64),
  signature: z.base64().max(128),
});
export type SignedGrant = z.infer<typeof SignedGrant>;

export const DISPATCH_HOSTS_MAX = 1_000;

/** On `agent.commands`, keyed by command_id: one grant, and all hosts that it is for, in the order of its tree. */
export const Dispatch = z.strictObject({
  signed: SignedGrant,
  args: CommandArgs,
  hosts: z.array(HostName).min(1).max(DISPATCH_HOSTS_MAX),
});
export type Dispatch = z.infer<typeof Dispatch>;

/** Takes back what a dispatch has asked for, for good: what has not begun never begins, what runs is ended. Signed like a grant. */
export const Cancel = z.strictObject({
  command_id: z.string().min(1).max(128),
  /** Empty: all hosts of the dispatch. */
  hosts: z.array(HostName).max(DISPATCH_HOSTS_MAX),
  cancelled_by: z.string().min(1).max(255),
  at_unix_ms: UnixMs,
  /** Of the grant: an agent remembers the cancellation until then. */
  not_after_unix_ms: UnixMs,
});
export type Cancel = z.infer<typeof Cancel>;

export const SignedCancel = z.strictObject({
  cancel: Cancel,
  key_id: z.string().min(1).max(64),
  signature: z.base64().max(128),
});
export type SignedCancel = z.infer<typeof SignedCancel>;

/** The value on `agent.commands`. */
export const AgentOrder = z.union([Dispatch, SignedCancel]);
export type AgentOrder = z.infer<typeof AgentOrder>;

/** What one agent gets of a dispatch. */
export const Command = z.strictObject({
  signed: SignedGrant,
  args: CommandArgs,
  host: HostName,
  proof: z.strictObject({ index: z.int().min(0), path: z.array(Sha256Hex).max(32) }),
});
export type Command = z.infer<typeof Command>;

/** The value on `agent.results`, keyed by host. (command_id, host) names an invocation. */
export const CommandResult = z.strictObject({
  command_id: z.string().min(1).max(128),
  host: HostName,
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

/** How an invocation gets on. May be lost on the way: only the result counts. On `agent.progress` from agents that speak to the bus themselves. */
export const Progress = z.strictObject({
  command_id: z.string().min(1).max(128),
  host: HostName,
  at_unix_ms: UnixMs,
  state: z.enum(["accepted", "running"]),
  output: z
    .strictObject({
      stream: z.enum(["stdout", "stderr", "pty"]),
      /** Counts from 0 for each invocation, over all its streams. */
      sequence: z.int().min(0),
      data: z.base64().max(98_304),
    })
    .nullable(),
});
export type Progress = z.infer<typeof Progress>;
