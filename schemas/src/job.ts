import { z } from "zod";
import { Approval, CommandArgs, HostName, InvocationState, ResourceLimits } from "./command.ts";
import { Risk } from "./remediation-run.ts";
import { UnixMs } from "./unix-ms.ts";

/** All that are given must hold. Nothing at all selects nobody: a job for everybody says `labels: "*"`. */
export const TargetSelector = z.strictObject({
  hosts: z.array(HostName).max(20_000).optional(),
  /** `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key`, `!key`, joined by commas (all must hold), as in Kubernetes; `*` is every agent. */
  labels: z.string().max(2_000).optional(),
  site: z.string().min(1).max(64).optional(),
  /** Of what the rest selects, rounded up; which of them is decided by a digest of what is asked and the host: 20 % take in the 10 % of the same request. */
  percent: z.number().gt(0).max(100).optional(),
});
export type TargetSelector = z.infer<typeof TargetSelector>;

export const BatchPolicy = z.strictObject({
  /** Waves of 1, 2, 4 … hosts up to `concurrency_max`, each after the one before has ended well; without it, `concurrency_max` at once from the start. */
  ramp: z.boolean().default(true),
  concurrency_max: z.int().min(1).max(20_000).default(100),
  /** More errors than this: nothing more is sent, what runs ends, and both are told. Everything but `succeeded` is an error. */
  errors_max: z.int().min(0).max(20_000).default(0),
});
export type BatchPolicy = z.infer<typeof BatchPolicy>;

/** What a person or a program asks for. */
export const JobRequest = z.strictObject({
  executor: z.string().min(1).max(64),
  args: CommandArgs.default({}),
  targets: TargetSelector,
  batch: BatchPolicy.prefault({}),
  timeout_ms: z.int().min(1).max(3_600_000).default(60_000),
  /** Commands that no agent has accepted by then are never run. */
  expires_ms: z
    .int()
    .min(1_000)
    .max(24 * 3_600_000)
    .default(600_000),
  output_bytes_max: z.int().min(0).max(1_048_576).default(65_536),
  limits: ResourceLimits.prefault({}),
  /** Raises what the control plane's policy says of the executor; never lowers it. */
  risk: Risk.optional(),
  reason: z.string().max(1_000).default(""),
});
export type JobRequest = z.infer<typeof JobRequest>;

export const JobState = z.enum([
  "awaiting_approval",
  "running",
  /** Too many errors, or cancelled: nothing more is sent, what runs is brought to its end. */
  "stopping",
  "succeeded",
  "failed",
  "cancelled",
  "rejected",
  "expired",
]);
export type JobState = z.infer<typeof JobState>;

export const InvocationCounts = z.partialRecord(InvocationState, z.int().min(0));
export type InvocationCounts = z.infer<typeof InvocationCounts>;

/** One bit for each of a job's hosts, in their order, from the lowest bit of the first byte on; zeros at the end are left out. */
const HostBits = z.base64().max(3_336);

/**
 * Bits, since names or numbers of 20,000 hosts would not fit the record beside the hosts themselves. The host at place i was sent the
 * command `<job_id>.<n>`, where n + 1 is how many dispatches begin at places up to and with i.
 */
const LostHosts = z.strictObject({ lost: HostBits, dispatch_starts: HostBits });

/** The value on `agent.jobs`, keyed by job_id: the newest record of a job is the truth. Dispatches and results stand on their own topics. */
export const Job = z.strictObject({
  job_id: z.string().min(1).max(100),
  request: JobRequest,
  requested_by: z.string().min(1).max(255),
  risk: Risk,
  state: JobState,
  /** Decided once, when the job was made. */
  hosts: z.array(HostName).max(20_000),
  sites: z.record(z.string().max(64), z.strictObject({ targeted: z.int().min(1), of: z.int().min(1) })),
  approvals: z.array(Approval).max(16),
  created_at_unix_ms: UnixMs,
  /** While it awaits approval, until when it may be approved; then, until when its commands may begin. */
  not_after_unix_ms: UnixMs,
  /** Why nothing more is sent although hosts are left. */
  stop_cause: z.enum(["errors", "cancelled", "expired"]).optional(),
  ended_at_unix_ms: UnixMs.nullable(),
  /** When it has ended; before, counts are folded from the results. `queued` are hosts that were never sent anything. */
  counts: InvocationCounts,
  /** When it has ended, and while there are any: those that are `lost`, so that whoever leads by then can count what they tell after all. */
  lost_hosts: LostHosts.optional(),
  /** Why it stopped, was cancelled or rejected; by whom. */
  message: z.string().max(2_000),
});
export type Job = z.infer<typeof Job>;
