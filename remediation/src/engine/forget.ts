import type { Draft } from "./draft.ts";
import type { Context } from "./event.ts";

/** Above these the oldest that are over leave early; what is under way never does. */
const CLOSED_INCIDENTS_MAX = 1000;
const ENDED_RUNS_MAX = 5000;
const SENT_NOTIFICATIONS_MAX = 1000;
const SENT_KEPT_MS = 86_400_000;

interface Over {
  readonly id: string;
  readonly since: number;
}

const tooOldOrTooMany = (
  over: readonly Over[],
  { before, max }: { before: number; max: number },
): readonly string[] => {
  const oldestFirst = over.toSorted((a, b) => a.since - b.since);
  return oldestFirst
    .filter(({ since }, index) => since < before || index < oldestFirst.length - max)
    .map(({ id }) => id);
};

/** Tombstones for what is long over, so that journals and memory stay bounded; ClickHouse keeps the copies. */
export const forgetOld = (draft: Draft, { now, config }: Pick<Context, "now" | "config">): undefined => {
  const incidents: Over[] = [];
  for (const { incident_id, times } of draft.incidents.values()) {
    if (times.closed_at_unix_ms !== null) incidents.push({ id: incident_id, since: times.closed_at_unix_ms });
  }
  const runs: Over[] = [];
  for (const { run_id, times } of draft.runs.values()) {
    if (times.ended_at_unix_ms !== null) runs.push({ id: run_id, since: times.ended_at_unix_ms });
  }
  const sent: Over[] = [];
  const pending: Over[] = [];
  for (const { delivery_id, state, created_at_unix_ms } of draft.notifications.values()) {
    (state === "pending" ? pending : sent).push({ id: delivery_id, since: created_at_unix_ms });
  }
  const before = now - config.incident.retain_ms;
  for (const id of tooOldOrTooMany(incidents, { before, max: CLOSED_INCIDENTS_MAX })) draft.forget("incidents", id);
  for (const id of tooOldOrTooMany(runs, { before, max: ENDED_RUNS_MAX })) draft.forget("runs", id);
  for (const id of tooOldOrTooMany(sent, { before: now - SENT_KEPT_MS, max: SENT_NOTIFICATIONS_MAX }))
    draft.forget("notifications", id);
  for (const id of tooOldOrTooMany(pending, { before: -1, max: config.notify.pending_max })) {
    const overflowing = draft.notifications.get(id);
    if (overflowing !== undefined)
      draft.saveNotification({ ...overflowing, state: "dead", last_error: "too many were waiting" });
  }
};
