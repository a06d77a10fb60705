import { afterAttempt } from "../receivers/outbox.ts";
import { advanceIncident } from "./advance-incident.ts";
import { advanceRun } from "./advance-run.ts";
import { Draft, type World } from "./draft.ts";
import type { Context, EngineEvent } from "./event.ts";
import { forgetOld } from "./forget.ts";
import { acknowledge, takeDecision } from "./people.ts";
import { reconcile } from "./reconcile.ts";
import { isLive } from "./run-state.ts";
import { takeFacts } from "./take-facts.ts";
import { takeFinding } from "./take-finding.ts";
import { takeOutcome } from "./take-outcome.ts";

/**
 * The engine's middle, pure: what has happened, and the journal records that follow from it. `advance` takes one event into a draft, then
 * lets every incident and run go as far as it can go at this moment. No record here does anything: see owed.ts for what the state asks for.
 */

const take = (draft: Draft, event: EngineEvent, context: Context): undefined => {
  switch (event.kind) {
    case "resumed":
      return reconcile(draft);
    case "tick":
      return forgetOld(draft, context);
    case "findings":
      for (const heard of event.findings) takeFinding(draft, heard, context);
      return;
    case "facts": {
      const run = draft.runs.get(event.runId);
      return run === undefined ? undefined : takeFacts(draft, run, event.facts, context);
    }
    case "step_ended": {
      const run = draft.runs.get(event.runId);
      return run === undefined ? undefined : takeOutcome(draft, run, event.outcome, context);
    }
    case "decided": {
      const run = draft.runs.get(event.runId);
      return run === undefined ? undefined : takeDecision(draft, run, event.decision, context);
    }
    case "acknowledged": {
      const incident = draft.incidents.get(event.incidentId);
      return incident === undefined ? undefined : acknowledge(draft, incident, event.by);
    }
    case "delivered": {
      const notification = draft.notifications.get(event.deliveryId);
      if (notification?.state !== "pending") return;
      return draft.saveNotification(afterAttempt(notification, event.delivery, context.config.notify, draft.now));
    }
  }
};

/** Far more than any chain of transitions at one moment is long. */
const ROUNDS_MAX = 50;

const settle = (draft: Draft, context: Context): undefined => {
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const before = draft.messages.length;
    for (const run of [...draft.runs.values()].filter(isLive))
      advanceRun(draft, draft.runs.get(run.run_id) ?? run, context);
    for (const incident of [...draft.incidents.values()])
      advanceIncident(draft, draft.incidents.get(incident.incident_id) ?? incident, context);
    if (draft.messages.length === before) return;
  }
  throw new Error(`an incident or a run does not come to rest at ${draft.now}`);
};

export const advance = (world: World, event: EngineEvent, context: Context): Draft => {
  const draft = new Draft(world, context.now, context.config);
  take(draft, event, context);
  settle(draft, context);
  return draft;
};
