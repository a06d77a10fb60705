import { entityKey, type RemediationRun } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PureEngine, someFinding } from "../testing/pure-engine.ts";

const HOUR_MS = 3_600_000;
const LIMITS = { per_entity_per_hour: 2, fleet_per_hour: 4, concurrent_max: 2 };
const ENTITIES = [
  { host: "a", service: "shop" },
  { host: "a", service: "stock" },
  { host: "b", service: "shop" },
] as const;

const mulberry32 = (seed: number) => {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
};

const ACTING: readonly RemediationRun["state"][] = ["running", "verifying", "rolling_back"];

/** One fleet, one seed: faults come and go, agents answer or do not, the process dies between and within its writes. */
class Simulation {
  readonly #random: () => number;
  readonly #engine = new PureEngine({
    budgets: LIMITS,
    guards: { start_up_grace_ms: 5000, wait_ms: 60_000 },
    incident: { close_after_ms: 60_000 },
  });
  readonly #firing = new Map<string, ReturnType<typeof someFinding>>();
  readonly #sent = new Set<string>();
  #episodes = 0;

  constructor(seed: number) {
    this.#random = mulberry32(seed);
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.#random() * items.length)];
  }

  /** Now and then only a part of what was decided becomes durable. */
  #writes(): number {
    return this.#chance(0.05) ? Math.floor(this.#random() * 3) : Infinity;
  }

  step(): void {
    const engine = this.#engine;
    const dice = this.#random();
    if (dice < 0.12) this.#faultBegins();
    else if (dice < 0.24) this.#faultEnds();
    else if (dice < 0.3) engine.restart();
    else if (dice < 0.5) engine.gather(() => this.#pick([0, 0, 1, 1, 1, null]) ?? null);
    else if (dice < 0.7) this.#agentsAnswer();
    else {
      engine.now += Math.floor(this.#random() * (this.#chance(0.05) ? HOUR_MS : 20_000));
      engine.tell({ kind: "tick" }, this.#writes());
    }
    // What was written in part is what the next process finds.
    if (this.#chance(0.1)) engine.restart();
    this.check();
  }

  #faultBegins(): void {
    const entity = this.#pick(ENTITIES) ?? ENTITIES[0];
    const key = entityKey(entity);
    if (this.#firing.has(key)) return;
    this.#episodes += 1;
    const { now } = this.#engine;
    const category = this.#chance(0.1) ? "data_health" : "symptom";
    const times = { started_at_unix_ms: now, detected_at_unix_ms: now };
    const finding = someFinding({ finding_id: `f${this.#episodes}`, entity, category, ...times });
    this.#firing.set(key, finding);
    this.#engine.say(finding, this.#writes());
  }

  #faultEnds(): void {
    const key = this.#pick([...this.#firing.keys()]);
    const finding = key === undefined ? undefined : this.#firing.get(key);
    if (key === undefined || finding === undefined) return;
    this.#firing.delete(key);
    this.#engine.say({ ...finding, state: "resolved" });
  }

  #agentsAnswer(): void {
    for (const { runId, step } of this.#engine.steps()) {
      const written = this.#engine.journal.some(
        (record) =>
          "run" in record && record.run.run_id === runId && ["running", "rolling_back"].includes(record.run.state),
      );
      expect(written, `the journal speaks of ${step.idempotency_key} before it is sent`).toBe(true);
      this.#sent.add(step.idempotency_key);
      const status = this.#pick(["succeeded", "succeeded", "failed", "unknown", null] as const) ?? null;
      if (status === null) continue;
      const outcome = { status, retryable: false, command_id: step.idempotency_key, exit_code: 0, message: "" };
      this.#engine.tell({ kind: "step_ended", runId, outcome }, this.#writes());
    }
  }

  check(): void {
    const { now, world } = this.#engine;
    const runs = [...world.runs.values()];
    const acting = runs.filter(({ state }) => ACTING.includes(state));
    const keys = acting.map(({ entity }) => entityKey(entity));
    expect(new Set(keys).size, "two runs on one entity").toBe(keys.length);
    expect(acting.length, "runs at once").toBeLessThanOrEqual(LIMITS.concurrent_max);
    const started = runs.filter(({ times }) => (times.started_at_unix_ms ?? 0) > now - HOUR_MS);
    expect(started.length, "runs in the fleet within an hour").toBeLessThanOrEqual(LIMITS.fleet_per_hour);
    for (const entity of ENTITIES) {
      const here = started.filter((run) => entityKey(run.entity) === entityKey(entity));
      expect(here.length, "runs on an entity within an hour").toBeLessThanOrEqual(LIMITS.per_entity_per_hour);
    }
  }

  /** The faults stop, the agents are silent, time goes on. */
  end(): void {
    this.#engine.restart();
    for (const finding of this.#firing.values()) this.#engine.say({ ...finding, state: "resolved" });
    for (let hour = 0; hour < 30; hour += 1) {
      this.#engine.now += HOUR_MS;
      this.#engine.tell({ kind: "tick" });
      this.check();
    }
    for (const run of this.#engine.world.runs.values())
      expect(run.times.ended_at_unix_ms, `run ${run.run_id} is ${run.state}`).not.toBeNull();
    for (const { state } of this.#engine.world.incidents.values()) expect(state).toBe("closed");
  }

  get commands(): number {
    return this.#sent.size;
  }
}

describe("the engine in a simulated fleet", () => {
  it("never acts twice on an entity at once, never beyond its budget, never without a record, and ends every run", () => {
    let commands = 0;
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const simulation = new Simulation(seed);
        for (let step = 0; step < 250; step += 1) simulation.step();
        simulation.end();
        commands += simulation.commands;
      }),
      { numRuns: 60 },
    );
    // A simulation in which nothing is ever done would prove nothing.
    expect(commands).toBeGreaterThan(60);
  });
});
