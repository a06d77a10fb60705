import { z } from "zod";
import { Entity } from "./entity.ts";
import { UnixMs } from "./unix-ms.ts";

export const Autonomy = z.enum(["observe", "suggest", "approve", "auto"]);
export type Autonomy = z.infer<typeof Autonomy>;

export const Risk = z.enum(["read_only", "reversible", "destructive"]);
export type Risk = z.infer<typeof Risk>;

export const RunState = z.enum([
  "proposed",
  "guard_check",
  "suppressed",
  "awaiting_approval",
  "running",
  "verifying",
  "succeeded",
  "inconclusive",
  "rolling_back",
  "rolled_back",
  "failed",
  "escalated",
]);
export type RunState = z.infer<typeof RunState>;

/** One command for one agent. The key is the same for every attempt, so that the agent runs it at most once. */
export const Step = z.strictObject({
  idempotency_key: z.string().min(1).max(128),
  host: z.string().min(1).max(255),
  executor: z.string().min(1).max(64),
  args: z.record(z.string().max(64), z.json()),
  timeout_ms: z.int().min(1).max(3_600_000),
  summary: z.string().min(1).max(500),
});
export type Step = z.infer<typeof Step>;

/** One number to be measured: `aggregate` over the samples of the last `window_s` of every series of `metric` that carries these labels. */
export const FactQuery = z.strictObject({
  /** How checks and Facts call it. */
  name: z.string().min(1).max(200),
  metric: z.string().min(1).max(255),
  labels: z.record(z.string().min(1).max(100), z.string().max(4096)),
  aggregate: z.enum(["last", "min", "max", "avg", "sum", "count"]),
  window_s: z.int().min(1).max(86_400),
});
export type FactQuery = z.infer<typeof FactQuery>;

/** Holds when the fact is there and stands so to the value. */
export const Check = z.strictObject({
  fact: z.string().min(1).max(200),
  op: z.enum(["lt", "le", "eq", "ge", "gt"]),
  value: z.number(),
});
export type Check = z.infer<typeof Check>;

/** What "healed" means: every check holds for `for_ms` without a break, before `timeout_ms` is over. */
export const Verification = z.strictObject({
  facts: z.array(FactQuery).max(20),
  checks: z.array(Check).max(20),
  for_ms: z.int().min(0).max(3_600_000),
  timeout_ms: z.int().min(1).max(86_400_000),
});
export type Verification = z.infer<typeof Verification>;

/** Plans are data: a dry run shows the very plan that a real run applies. It says how it will be verified, so that a changed configuration cannot. */
export const Plan = z.strictObject({
  action: z.string().min(1).max(64),
  params: z.record(z.string().max(64), z.json()),
  target: Entity,
  risk: Risk,
  steps: z.array(Step).min(1).max(100),
  verification: Verification,
  summary: z.string().min(1).max(500),
});
export type Plan = z.infer<typeof Plan>;

export const GuardVerdict = z.strictObject({
  guard: z.string().min(1).max(64),
  passed: z.boolean(),
  reason: z.string().max(500),
});
export type GuardVerdict = z.infer<typeof GuardVerdict>;

/** What became of a step. `unknown`: it may have run; never repeated, always escalated. */
export const Outcome = z.strictObject({
  status: z.enum(["succeeded", "failed", "unknown"]),
  retryable: z.boolean(),
  command_id: z.string().max(128),
  exit_code: z.int().nullable(),
  message: z.string().max(2000),
});
export type Outcome = z.infer<typeof Outcome>;

export const Verdict = z.enum(["healed", "unchanged", "worse", "inconclusive"]);
export type Verdict = z.infer<typeof Verdict>;

/** Measured values by name at one moment; null is "no data", which is never "fine". */
export const Facts = z.strictObject({
  at_unix_ms: UnixMs,
  values: z.record(z.string().max(200), z.number().nullable()),
});
export type Facts = z.infer<typeof Facts>;

export const RemediationRun = z.strictObject({
  run_id: z.string().min(1).max(64),
  incident_id: z.string().min(1).max(64),
  /** What the guards count by, and the findings that the runbook answers. */
  entity: Entity,
  finding_ids: z.array(z.string().min(1).max(64)).max(50),
  runbook: z.string().min(1).max(128),
  autonomy: Autonomy,
  state: RunState,
  plan: Plan.nullable(),
  guards: z.array(GuardVerdict).max(20),
  /** One per step of the plan, in order; shorter while the run is under way. */
  outcomes: z.array(Outcome).max(100),
  /** How a run that did not help is taken back; null until it is tried. */
  rollback: z.strictObject({ plan: Plan, outcomes: z.array(Outcome).max(100) }).nullable(),
  before: Facts.nullable(),
  after: Facts.nullable(),
  verdict: Verdict.nullable(),
  decision: z
    .strictObject({ by: z.string().max(255), approved: z.boolean(), at_unix_ms: UnixMs, note: z.string().max(500) })
    .nullable(),
  /** Why the run ended as it did, for a person. */
  reason: z.string().max(1000),
  times: z.strictObject({
    proposed_at_unix_ms: UnixMs,
    started_at_unix_ms: UnixMs.nullable(),
    applied_at_unix_ms: UnixMs.nullable(),
    /** When the step under way was begun: it dates the command, so that sending it again sends the same bytes. */
    step_started_at_unix_ms: UnixMs.nullable(),
    /** Since when every check has held without a break. */
    healthy_since_unix_ms: UnixMs.nullable(),
    /** The present state gives up here; set when it is entered, so that a restart does not lengthen it. Null once the run has ended. */
    deadline_unix_ms: UnixMs.nullable(),
    ended_at_unix_ms: UnixMs.nullable(),
  }),
  version: z.int().min(1),
});
export type RemediationRun = z.infer<typeof RemediationRun>;

/** A record of `remediation.journal`, keyed by run_id; written before the side effect that it names. */
export const RemediationRecord = z.strictObject({
  event: z.string().min(1).max(64),
  at_unix_ms: UnixMs,
  run: RemediationRun,
});
export type RemediationRecord = z.infer<typeof RemediationRecord>;
