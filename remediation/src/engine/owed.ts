import type { KeyObject } from "node:crypto";
import {
  type Dispatch,
  dispatchOf,
  type Facts,
  type GrantTerms,
  type Notification,
  type RemediationRun,
  type Step,
} from "@homeostat/schemas";
import type { FactQuery } from "../actions/fact-query.ts";
import { headsOfLine } from "../receivers/outbox.ts";
import { abandonedAt } from "./advance-incident.ts";
import type { World } from "./draft.ts";
import type { Context } from "./event.ts";
import { runbookOf } from "./plan-run.ts";
import { currentStep, isLive } from "./run-state.ts";

/** Something that the journaled state asks to be done. A restart finds the same, so starting and going on are one path. */
export type Effect =
  | { readonly kind: "gather"; readonly key: string; readonly runId: string; readonly queries: readonly FactQuery[] }
  | { readonly kind: "apply"; readonly key: string; readonly run: RemediationRun; readonly step: Step }
  | { readonly kind: "deliver"; readonly key: string; readonly notification: Notification };

const GUARD_RECHECK_MS = 1000;

const isStale = (facts: Facts | null, { now, config }: Context): boolean =>
  facts === null ||
  Object.values(facts.values).includes(null) ||
  now - facts.at_unix_ms > config.guards.facts_age_max_ms / 2;

const queriesFor = (world: World, run: RemediationRun, context: Context): readonly FactQuery[] => {
  if (run.state === "verifying") return run.plan?.verification.facts ?? [];
  const incident = world.incidents.get(run.incident_id);
  if (incident === undefined) return [];
  const filled = runbookOf(run, incident, context.config);
  return "refused" in filled ? [] : filled.queries;
};

const asksForFacts = (run: RemediationRun, context: Context): boolean =>
  run.state === "proposed" ||
  run.state === "verifying" ||
  (run.state === "guard_check" && isStale(run.before, context));

export const owed = (world: World, context: Context): readonly Effect[] => {
  const effects: Effect[] = [];
  for (const run of world.runs.values()) {
    if (!isLive(run)) continue;
    const step = currentStep(run);
    if (step !== null) effects.push({ kind: "apply", key: `apply ${step.idempotency_key}`, run, step });
    if (asksForFacts(run, context)) {
      effects.push({
        kind: "gather",
        key: `gather ${run.run_id}`,
        runId: run.run_id,
        queries: queriesFor(world, run, context),
      });
    }
  }
  for (const notification of headsOfLine(world.notifications.values())) {
    if (notification.next_attempt_at_unix_ms > context.now) continue;
    effects.push({ kind: "deliver", key: `deliver ${notification.delivery_id}`, notification });
  }
  return effects;
};

/** When the state must be looked at again although nothing has happened; null when nothing waits for time. */
export const wakeAt = (world: World, context: Context): number | null => {
  const { incident: config } = context.config;
  let wake = Infinity;
  for (const run of world.runs.values()) {
    if (!isLive(run)) continue;
    wake = Math.min(wake, run.times.deadline_unix_ms ?? Infinity);
    if (run.state === "guard_check") wake = Math.min(wake, context.now + GUARD_RECHECK_MS);
  }
  for (const incident of world.incidents.values()) {
    const { state, state_since_unix_ms: since } = incident;
    if (state === "open" || state === "reopened") wake = Math.min(wake, since + config.group_wait_ms);
    if (state === "resolved") wake = Math.min(wake, since + config.close_after_ms);
    if (state === "escalated") wake = Math.min(wake, abandonedAt(incident, context));
  }
  for (const { next_attempt_at_unix_ms } of headsOfLine(world.notifications.values()))
    wake = Math.min(wake, next_attempt_at_unix_ms);
  return wake === Infinity ? null : wake;
};

/** How many hosts of each site a grant touches, of how many that are known there. */
export type SiteShares = GrantTerms["targets"]["sites"];

/**
 * One step is a dispatch to one host. All of it but `sites` stands in the journal, so that it says the same whenever it is made, and the
 * agent knows it by its id in any case. Who has decided for the run stands in it as approver. A plan is allowed along with its way back,
 * so both go by the plan's risk.
 */
export const dispatchFor = (
  { run, step, sites }: { readonly run: RemediationRun; readonly step: Step; readonly sites: SiteShares },
  { config, signingKey }: { readonly config: Context["config"]; readonly signingKey: KeyObject },
): Dispatch => {
  const issuedAt = run.times.step_started_at_unix_ms ?? 0;
  const { decision } = run;
  const terms: GrantTerms = {
    command_id: step.idempotency_key,
    job_id: run.run_id,
    requested_by: `remediation/${run.runbook}`.slice(0, 255),
    executor: step.executor,
    risk: run.plan?.risk ?? "destructive",
    targets: { sites },
    approvals:
      decision?.approved === true && decision.by !== "" ? [{ by: decision.by, at_unix_ms: decision.at_unix_ms }] : [],
    issued_at_unix_ms: issuedAt,
    not_after_unix_ms: issuedAt + config.commands.delivery_ms,
    timeout_ms: step.timeout_ms,
    output_bytes_max: config.commands.output_bytes_max,
    limits: {},
  };
  return dispatchOf(terms, { args: step.args, hosts: [step.host], privateKey: signingKey });
};
