import type { Finding, Incident, RemediationRun } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { RemediationConfig } from "../config.ts";
import { openIncident } from "../incident/incident.ts";
import { START, someFinding } from "../testing/pure-engine.ts";
import { checkGuards, type GuardView } from "./guards.ts";

const NOW = START + 10_000_000;
const MINUTE = 60_000;

const aRun = (changes: Partial<RemediationRun> = {}, times: Partial<RemediationRun["times"]> = {}): RemediationRun => ({
  run_id: "this",
  incident_id: "i1",
  entity: { host: "a", service: "shop" },
  finding_ids: ["f1"],
  runbook: "restart",
  autonomy: "auto",
  state: "guard_check",
  plan: null,
  guards: [],
  outcomes: [],
  rollback: null,
  before: { at_unix_ms: NOW - 1000, values: { up: 0 } },
  after: null,
  verdict: null,
  decision: null,
  reason: "",
  version: 1,
  ...changes,
  times: {
    proposed_at_unix_ms: NOW,
    started_at_unix_ms: null,
    applied_at_unix_ms: null,
    step_started_at_unix_ms: null,
    healthy_since_unix_ms: null,
    deadline_unix_ms: NOW + 2 * MINUTE,
    ended_at_unix_ms: null,
    ...times,
  },
});

const past = (
  id: string,
  state: RemediationRun["state"],
  minutesAgo: number,
  changes: Partial<RemediationRun> = {},
): RemediationRun =>
  aRun(
    { run_id: id, state, ...changes },
    {
      started_at_unix_ms: NOW - minutesAgo * MINUTE - 1000,
      ended_at_unix_ms: NOW - minutesAgo * MINUTE,
      deadline_unix_ms: null,
    },
  );

const sick = (changes: Partial<Finding> = {}): Incident =>
  openIncident(
    "sick",
    someFinding({ category: "data_health", entity: { host: "a" }, summary: "silent", ...changes }),
    NOW,
  );

const elsewhere = { entity: { host: "b", service: "shop" } };

interface Row {
  readonly what: string;
  readonly view: Partial<GuardView>;
  /** The guards that do not pass, each with what it wants. */
  readonly held: Readonly<Record<string, "wait" | "stop">>;
}

const ROWS: readonly Row[] = [
  { what: "nothing is in the way", view: {}, held: {} },
  {
    what: "the engine has just begun to lead",
    view: { leaderSinceUnixMs: NOW - 14_000 },
    held: { start_up_grace: "wait" },
  },
  { what: "the host's data health is in doubt", view: { incidents: [sick()] }, held: { observer_health: "wait" } },
  { what: "another host's data health is in doubt", view: { incidents: [sick({ entity: { host: "b" } })] }, held: {} },
  { what: "the doubt is over", view: { incidents: [sick({ state: "resolved" })] }, held: {} },
  { what: "no heartbeat was ever seen", view: { heartbeats: new Map() }, held: { observer_health: "wait" } },
  {
    what: "the heartbeat is old",
    view: { heartbeats: new Map([["a", { atUnixMs: NOW - 61_000, state: "online" }]]) },
    held: { observer_health: "wait" },
  },
  {
    what: "the agent is quarantined",
    view: { heartbeats: new Map([["a", { atUnixMs: NOW, state: "quarantined" }]]) },
    held: { observer_health: "wait" },
  },
  { what: "no facts were gathered", view: { run: aRun({ before: null }) }, held: { fresh_signals: "wait" } },
  {
    what: "a fact is absent",
    view: { run: aRun({ before: { at_unix_ms: NOW, values: { up: null } } }) },
    held: { fresh_signals: "wait" },
  },
  {
    what: "the facts are old",
    view: { run: aRun({ before: { at_unix_ms: NOW - 31_000, values: { up: 0 } } }) },
    held: { fresh_signals: "wait" },
  },
  {
    what: "another runbook acts on the same entity",
    view: { runs: [aRun({ run_id: "x", runbook: "y", state: "verifying" }, { started_at_unix_ms: NOW - 1 })] },
    held: { one_at_a_time: "wait" },
  },
  {
    what: "the same runbook acts elsewhere",
    view: { runs: [aRun({ ...elsewhere, run_id: "x", state: "running" }, { started_at_unix_ms: NOW - 1 })] },
    held: {},
  },
  { what: "it ended here 30 s ago", view: { runs: [past("x", "succeeded", 0.5)] }, held: { cooldown: "wait" } },
  {
    what: "the cooldown outlasts the run's patience",
    view: { cooldownMs: 10 * MINUTE, runs: [past("x", "succeeded", 1)] },
    held: { cooldown: "stop" },
  },
  {
    what: "four runs here within the hour",
    view: { runs: [5, 15, 25, 59].map((ago) => past(`x${ago}`, "succeeded", ago)) },
    held: { budget: "stop" },
  },
  {
    what: "four runs here, one of them over an hour ago",
    view: { runs: [5, 15, 25, 60].map((ago) => past(`x${ago}`, "succeeded", ago)) },
    held: {},
  },
  {
    what: "two in a row did not help",
    view: { runs: [past("x", "failed", 70), past("y", "inconclusive", 90)] },
    held: { short_circuit: "stop" },
  },
  {
    what: "two did not help, and one since did",
    view: { runs: [past("w", "succeeded", 65), past("x", "failed", 70), past("y", "escalated", 90)] },
    held: {},
  },
];

describe("the guards", () => {
  it.for(ROWS)("$what", ({ view, held }) => {
    const checked = checkGuards({
      run: aRun(),
      cooldownMs: MINUTE,
      runs: [],
      incidents: [],
      heartbeats: new Map([["a", { atUnixMs: NOW - 1000, state: "online" }]]),
      leaderSinceUnixMs: START,
      now: NOW,
      config: RemediationConfig.parse({}),
      ...view,
    });
    const failed = checked.filter(({ passed }) => !passed).map(({ guard, ifNot }) => [guard, ifNot]);
    expect(Object.fromEntries(failed)).toEqual(held);
    for (const { reason } of checked) expect(reason).not.toBe("");
  });
});
