import { entityKey, type GuardVerdict, type Incident, type RemediationRun } from "@homeostat/schemas";
import type { RemediationConfig } from "../config.ts";

const HOUR_MS = 3_600_000;

/** What the guards look at: the journals' state, and what the engine has seen since it leads. */
export interface GuardView {
  readonly run: RemediationRun;
  readonly cooldownMs: number;
  readonly runs: Iterable<RemediationRun>;
  readonly incidents: Iterable<Incident>;
  readonly heartbeats: ReadonlyMap<string, HeartbeatSeen>;
  readonly leaderSinceUnixMs: number;
  readonly now: number;
  readonly config: Pick<RemediationConfig, "guards" | "budgets">;
}

export interface HeartbeatSeen {
  readonly atUnixMs: number;
  readonly state: string;
}

/** `stop`: waiting will not change it in time. */
export interface Checked extends GuardVerdict {
  readonly ifNot: "wait" | "stop";
}

type Guard = (view: GuardView & { readonly runs: readonly RemediationRun[] }) => Omit<Checked, "guard">;

const pass = (reason: string): Omit<Checked, "guard"> => ({ passed: true, reason, ifNot: "wait" });
const wait = (reason: string): Omit<Checked, "guard"> => ({ passed: false, reason, ifNot: "wait" });
const stop = (reason: string): Omit<Checked, "guard"> => ({ passed: false, reason, ifNot: "stop" });

const seconds = (ms: number): string => `${Math.ceil(ms / 1000)} s`;

const ACTING: readonly RemediationRun["state"][] = ["running", "verifying", "rolling_back"];
const DID_NOT_HELP: readonly RemediationRun["state"][] = ["failed", "escalated", "rolled_back", "inconclusive"];

const isActing = (run: RemediationRun): boolean => ACTING.includes(run.state);

const touchesSame = (a: RemediationRun, b: RemediationRun): boolean => entityKey(a.entity) === entityKey(b.entity);

/** Right after a start the engine sees much at once and little of it fresh; acting on it en masse is how automation does harm. */
const startUpGrace: Guard = ({ leaderSinceUnixMs, now, config }) => {
  const left = leaderSinceUnixMs + config.guards.start_up_grace_ms - now;
  return left > 0
    ? wait(`the engine leads since a moment; ${seconds(left)} of grace are left`)
    : pass("the engine is past its start");
};

/** A sick observer heals nobody. */
const observerHealth: Guard = ({ run, incidents, heartbeats, now, config }) => {
  const { host } = run.entity;
  for (const incident of incidents) {
    const sick = incident.findings.find(
      (finding) => finding.category === "data_health" && finding.state === "firing" && finding.entity.host === host,
    );
    if (sick !== undefined && incident.state !== "closed")
      return wait(`data health of ${host}: ${sick.summary}`.slice(0, 500));
  }
  const beat = heartbeats.get(host);
  if (beat === undefined) return wait(`no heartbeat of the agent on ${host} was seen`);
  const age = now - beat.atUnixMs;
  if (age > config.guards.heartbeat_age_max_ms) return wait(`the last heartbeat of ${host} is ${seconds(age)} old`);
  if (beat.state === "offline" || beat.state === "quarantined" || beat.state === "retired")
    return wait(`the agent on ${host} is ${beat.state}`);
  return pass(`the agent on ${host} was heard ${seconds(Math.max(0, age))} ago`);
};

const freshSignals: Guard = ({ run, now, config }) => {
  if (run.before === null) return wait("no facts were gathered yet");
  const absent = Object.entries(run.before.values).filter(([, value]) => value === null);
  if (absent.length > 0) return wait(`no data for: ${absent.map(([name]) => name).join(", ")}`.slice(0, 500));
  const age = now - run.before.at_unix_ms;
  if (age > config.guards.facts_age_max_ms) return wait(`the facts are ${seconds(age)} old`);
  return pass(`all facts are there (${Object.keys(run.before.values).length}), ${seconds(Math.max(0, age))} old`);
};

const oneAtATime: Guard = ({ run, runs, config }) => {
  const acting = runs.filter((other) => other.run_id !== run.run_id && isActing(other));
  const same = acting.find((other) => touchesSame(other, run));
  if (same !== undefined) return wait(`run ${same.run_id} (${same.runbook}) is ${same.state} on the same entity`);
  if (acting.length >= config.budgets.concurrent_max)
    return wait(`${acting.length} runs are under way in the fleet, the limit`);
  return pass("no other run is under way here");
};

const cooldown: Guard = ({ run, runs, cooldownMs, now }) => {
  const ends = runs
    .filter((other) => other.run_id !== run.run_id && other.runbook === run.runbook && touchesSame(other, run))
    .filter((other) => other.times.started_at_unix_ms !== null)
    .map((other) => other.times.ended_at_unix_ms ?? now);
  const left = ends.length === 0 ? 0 : Math.max(...ends) + cooldownMs - now;
  if (left <= 0) return pass("cool");
  const isTooLong = run.times.deadline_unix_ms !== null && now + left > run.times.deadline_unix_ms;
  return (isTooLong ? stop : wait)(`${run.runbook} ended here lately; it cools down for ${seconds(left)} more`);
};

const budget: Guard = ({ run, runs, now, config }) => {
  const started = runs.filter(
    ({ run_id, times }) => run_id !== run.run_id && (times.started_at_unix_ms ?? -HOUR_MS) > now - HOUR_MS,
  );
  const here = started.filter((other) => touchesSame(other, run)).length;
  const { per_entity_per_hour, fleet_per_hour } = config.budgets;
  if (here >= per_entity_per_hour) return stop(`${here} runs on this entity within an hour, the limit`);
  if (started.length >= fleet_per_hour) return stop(`${started.length} runs in the fleet within an hour, the limit`);
  return pass(
    `${here} of ${per_entity_per_hour} here and ${started.length} of ${fleet_per_hour} in the fleet within an hour`,
  );
};

const shortCircuit: Guard = ({ run, runs, config }) => {
  const endedNewestFirst = runs
    .filter((other) => other.runbook === run.runbook && touchesSame(other, run))
    .filter(({ times }) => times.started_at_unix_ms !== null && times.ended_at_unix_ms !== null)
    .sort((a, b) => (b.times.ended_at_unix_ms ?? 0) - (a.times.ended_at_unix_ms ?? 0));
  const firstGood = endedNewestFirst.findIndex(({ state }) => !DID_NOT_HELP.includes(state));
  const inARow = firstGood < 0 ? endedNewestFirst.length : firstGood;
  return inARow >= config.guards.failed_runs_max
    ? stop(`${run.runbook} did not help here ${inARow} times in a row`)
    : pass(inARow === 0 ? "the last run here helped, or there was none" : `${inARow} runs in a row did not help`);
};

export const GUARDS = {
  start_up_grace: startUpGrace,
  observer_health: observerHealth,
  fresh_signals: freshSignals,
  one_at_a_time: oneAtATime,
  cooldown,
  budget,
  short_circuit: shortCircuit,
} as const satisfies Record<string, Guard>;

/** Every guard's word, also of those that pass: a person wants to see what was weighed. */
export const checkGuards = (view: GuardView): readonly Checked[] => {
  const runs = [...view.runs];
  return Object.entries(GUARDS).map(([guard, check]) => ({ guard, ...check({ ...view, runs }) }));
};
