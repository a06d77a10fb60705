import { Finding, type Outcome } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { PureEngine, START, someFinding } from "../testing/pure-engine.ts";

/**
 * Scenarios as text, one thing a line: `+5s` lets time pass, `fires <id>`, `fires <id> <severity>`, `resolves <id>`, `loses <id>` (no data),
 * `sick`/`well` (data health of the host), `up <0|1|null>` (facts are gathered), `result <succeeded|failed|unknown>`, `approve`, `refuse`,
 * `restart`; `> incident / run` is what must be so then.
 */
const play = (scenario: string, config?: unknown): void => {
  const engine = new PureEngine({ guards: { start_up_grace_ms: 0 }, ...(config as object) });
  let up: number | null = 0;
  for (const [number, line] of scenario.trim().split("\n").entries()) {
    const [verb = "", first = "", second = ""] = line.trim().split(/\s+/);
    const about = { finding_id: first, detected_at_unix_ms: START, started_at_unix_ms: START };
    if (verb.startsWith("+")) {
      engine.now += Number.parseInt(verb.slice(1), 10) * 1000;
      engine.tell({ kind: "tick" });
    } else if (verb === "fires") {
      const severity = second === "" ? "critical" : Finding.shape.severity.parse(second);
      engine.say(someFinding({ ...about, severity, detected_at_unix_ms: engine.now, started_at_unix_ms: engine.now }));
    } else if (verb === "resolves" || verb === "loses") {
      const known = [...engine.world.incidents.values()]
        .flatMap(({ findings }) => findings)
        .find(({ finding_id }) => finding_id === first);
      engine.say({ ...(known ?? someFinding(about)), state: verb === "resolves" ? "resolved" : "no_data" });
    } else if (verb === "sick" || verb === "well") {
      const state = verb === "sick" ? "firing" : "resolved";
      engine.say(
        someFinding({ finding_id: "h", category: "data_health", entity: { host: "a" }, rule: "host-silent", state }),
      );
    } else if (verb === "up") {
      up = first === "null" ? null : Number(first);
      engine.gather(() => up);
    } else if (verb === "result") {
      const [step] = engine.steps();
      if (step === undefined) throw new Error(`line ${number + 1}: no step is under way`);
      const status = first as Outcome["status"];
      const outcome = { status, retryable: false, command_id: step.step.idempotency_key, exit_code: 0, message: first };
      engine.tell({ kind: "step_ended", runId: step.runId, outcome });
    } else if (verb === "approve" || verb === "refuse") {
      const run = [...engine.world.runs.values()].at(-1);
      engine.tell({
        kind: "decided",
        runId: run?.run_id ?? "",
        decision: { by: "ann", approved: verb === "approve", note: "" },
      });
    } else if (verb === "restart") engine.restart();
    else if (verb === ">") {
      const incident = [...engine.world.incidents.values()]
        .filter(({ findings }) => findings.some(({ category }) => category === "symptom"))
        .at(-1);
      const run = [...engine.world.runs.values()].at(-1);
      const is = [incident?.state ?? "none", ...(run === undefined ? [] : ["/", run.state])].join(" ");
      expect(is, `line ${number + 1}: ${line.trim()}`).toBe(line.trim().slice(2));
    } else throw new Error(`line ${number + 1}: ${line}`);
  }
};

const SCENARIOS: Readonly<Record<string, string>> = {
  "heals: the whole way": `
    fires f1
    > open
    +1s
    > diagnosing / proposed
    up 0
    > mitigating / running
    result succeeded
    > verifying / verifying
    up 1
    +3s
    up 1
    resolves f1
    > verifying / verifying
    +2s
    up 1
    > resolved / succeeded
    +299s
    > resolved / succeeded
    +1s
    > closed / succeeded`,
  "ends by itself before anything was done": `
    fires f1
    resolves f1
    > resolved`,
  "ends by itself while the run waits for facts": `
    fires f1
    +1s
    > diagnosing / proposed
    resolves f1
    > resolved / suppressed`,
  "a finding that stays mild opens nothing": `
    fires f1 info
    +10s
    > none`,
  "no data is not health": `
    fires f1
    +1s
    up 0
    result succeeded
    loses f1
    up null
    +20s
    up null
    > verifying / verifying
    +25s
    > escalated / inconclusive`,
  "health must hold without a break": `
    fires f1
    +1s
    up 0
    result succeeded
    resolves f1
    up 1
    +4s
    up 0
    +1s
    up 1
    +4s
    up 1
    > verifying / verifying
    +1s
    up 1
    > resolved / succeeded`,
  "healthy facts are not enough while the finding fires": `
    fires f1
    +1s
    up 0
    result succeeded
    up 1
    +10s
    up 1
    > verifying / verifying
    +35s
    > escalated / inconclusive`,
  "what did not help and cannot be taken back is escalated": `
    fires f1
    +1s
    up 0
    result succeeded
    up 0
    +45s
    > escalated / escalated`,
  "an unknown outcome is escalated, and later ends when its finding does": `
    fires f1
    +1s
    up 0
    result unknown
    > escalated / escalated
    resolves f1
    > resolved / escalated`,
  "a failed step is escalated": `
    fires f1
    +1s
    up 0
    result failed
    > escalated / failed`,
  "a result that never comes is given up at the deadline": `
    fires f1
    +1s
    up 0
    +59s
    > mitigating / running
    +1s
    > escalated / escalated`,
  "fires again within the window: reopened, cooled down, done again": `
    fires f1
    +1s
    up 0
    result succeeded
    resolves f1
    up 1
    +5s
    up 1
    > resolved / succeeded
    +10s
    fires f2
    > reopened / succeeded
    +1s
    up 0
    > diagnosing / guard_check
    +50s
    up 0
    > mitigating / running`,
  "fires again after it was closed: an incident of its own": `
    fires f1
    resolves f1
    +300s
    > closed
    fires f2
    > open`,
  "a sick observer holds the run, and lets it go when it is well": `
    sick
    fires f1
    +1s
    up 0
    > diagnosing / guard_check
    +10s
    > diagnosing / guard_check
    well
    > mitigating / running`,
  "a run that is held too long is suppressed, and a person is asked": `
    sick
    fires f1
    +1s
    up 0
    +119s
    > diagnosing / guard_check
    +1s
    > escalated / suppressed`,
  "no facts at all: nothing is done": `
    fires f1
    +1s
    > diagnosing / proposed
    +120s
    > escalated / suppressed`,
  "a restart while running changes nothing": `
    fires f1
    +1s
    restart
    up 0
    restart
    > mitigating / running
    result succeeded
    restart
    > verifying / verifying
    resolves f1
    up 1
    +5s
    restart
    up 1
    > resolved / succeeded`,
};

describe("an incident and its run", () => {
  for (const [name, scenario] of Object.entries(SCENARIOS)) it(name, () => play(scenario));

  it("asks a person, and asks the guards again after the word", () => {
    const runbook = {
      name: "ask-first",
      autonomy: "approve",
      action: "restart_service",
      match: { entity_has: ["service"] },
      params: { service: "{{entity.service}}" },
      verify: { facts: [{ name: "up", metric: "m", aggregate: "last" }], checks: [{ fact: "up", op: "ge", value: 1 }] },
    };
    play(
      `
      fires f1
      +1s
      up 0
      > diagnosing / awaiting_approval
      +600s
      approve
      > diagnosing / guard_check
      up 0
      > mitigating / running`,
      { runbooks: [runbook] },
    );
    play(
      `
      fires f1
      +1s
      up 0
      refuse
      > escalated / suppressed`,
      { runbooks: [runbook] },
    );
    play(
      `
      fires f1
      +1s
      up 0
      +3600s
      > escalated / suppressed`,
      { runbooks: [runbook] },
    );
  });

  it("takes back what made nothing better, where there is a way back", () => {
    const runbook = {
      name: "flip",
      autonomy: "auto",
      action: "run_command",
      params: { command: "flip", revert: { command: "flop" } },
      verify: { facts: [{ name: "up", metric: "m", aggregate: "last" }], checks: [{ fact: "up", op: "ge", value: 1 }] },
    };
    play(
      `
      fires f1
      +1s
      up 0
      result succeeded
      up 0
      +60s
      > verifying / rolling_back
      result succeeded
      > escalated / rolled_back`,
      { runbooks: [runbook] },
    );
  });

  it("stops after the second run that did not help", () => {
    const engine = new PureEngine({ guards: { start_up_grace_ms: 0 }, incident: { close_after_ms: 0 } });
    for (const id of ["f1", "f2", "f3"]) {
      engine.say(someFinding({ finding_id: id, detected_at_unix_ms: engine.now, started_at_unix_ms: engine.now }));
      engine.now += 1000;
      engine.tell({ kind: "tick" });
      engine.gather(() => 0);
      for (const { runId, step } of engine.steps()) {
        const outcome = {
          status: "failed",
          retryable: false,
          command_id: step.idempotency_key,
          exit_code: 1,
          message: "no",
        } as const;
        engine.tell({ kind: "step_ended", runId, outcome });
      }
      engine.say(someFinding({ finding_id: id, state: "resolved", detected_at_unix_ms: engine.now - 1000 }));
      engine.now += 120_000;
      engine.tell({ kind: "tick" });
    }
    const runs = [...engine.world.runs.values()];
    expect(runs.map(({ state }) => state)).toEqual(["failed", "failed", "suppressed"]);
    expect(runs[2]?.reason).toMatch(/short_circuit.*2 times in a row/);
  });
});
