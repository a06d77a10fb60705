import type { KeyObject } from "node:crypto";
import {
  type Command,
  type Facts,
  type Notification,
  type RemediationRun,
  type SignedCommand,
  type Step,
  signCommand,
} from "@homeostat/schemas";
import type { FactQuery } from "../actions/fact-query.ts";
import { headsOfLine } from "../receivers/outbox.ts";
import { abandonedAt, currentStep, isLive } from "./advance.ts";
import type { World } from "./draft.ts";
import type { Context } from "./event.ts";
import { runbookOf } from "./plan-run.ts";

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

/** The same bytes whenever it is made, since all of it stands in the journal and Ed25519 is deterministic (RFC 8032). */
export const commandFor = (
  { run, step }: { readonly run: RemediationRun; readonly step: Step },
  { config, signingKey }: { readonly config: Context["config"]; readonly signingKey: KeyObject },
): SignedCommand => {
  const issuedAt = run.times.step_started_at_unix_ms ?? 0;
  const command: Command = {
    command_id: step.idempotency_key,
    host: step.host,
    executor: step.executor,
    args: step.args,
    timeout_ms: step.timeout_ms,
    output_bytes_max: config.commands.output_bytes_max,
    requested_by: `remediation/${run.runbook}`.slice(0, 255),
    issued_at_unix_ms: issuedAt,
    not_after_unix_ms: issuedAt + config.commands.delivery_ms,
  };
  return signCommand(command, signingKey);
};
