import { describe, expect, it } from "vitest";
import { finding, isOver, openWorld } from "./remediation-engine.fixture.ts";

describe("the engine, on the embedded bus, with an agent that answers", () => {
  it("restarts a service that is down, waits until the facts and the finding say so, and resolves", async () => {
    const world = await openWorld();
    const { engine } = await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("resolved", isOver(world));
    expect(world.incident()).toMatchObject({ state: "resolved", entity: { host: "a", service: "shop" } });
    expect(world.run()).toMatchObject({
      state: "succeeded",
      verdict: "healed",
      plan: { action: "restart_service", params: { service: "shop" } },
      before: { values: { "service up": 0 } },
      after: { values: { "service up": 1 } },
    });
    expect(world.run()?.guards.every(({ passed }) => passed)).toBe(true);
    expect(world.run()?.outcomes).toMatchObject([{ status: "succeeded", message: "restarted" }]);
    const { times } = world.incident() ?? {};
    expect(times?.recovered_at_unix_ms).toBe(world.run()?.times.healthy_since_unix_ms);
    expect(times?.diagnosed_at_unix_ms).toBeLessThanOrEqual(times?.mitigation_started_at_unix_ms ?? 0);
    expect(world.done).toHaveLength(1);
    await world.until("closed", () => world.incident()?.state === "closed");
    expect(engine.status()).toMatchObject({ role: "leader", incidents_open: 0, runs_live: 0, last_error: null });
  });

  it("takes a finding that is delivered again for nothing", async () => {
    const world = await openWorld();
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("resolved", isOver(world));
    const version = world.incident()?.version;
    for (const state of ["firing", "resolved"] as const) await world.say("detect.findings", "a", finding({ state }));
    await world.rest();
    expect(world.incidents.size).toBe(1);
    expect(world.incident()?.version).toBe(version);
  });

  it("escalates a command of which nothing is heard, and sends it no second time", async () => {
    const world = await openWorld({ restart: () => null });
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("escalated", isOver(world));
    expect(world.run()).toMatchObject({ state: "escalated", outcomes: [{ status: "unknown" }] });
    expect([...world.seen.values()]).toEqual([1]);
  });

  it("escalates a restart that fails", async () => {
    const world = await openWorld({ restart: () => ({ state: "failed", exit_code: 3, message: "exited with 3" }) });
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("escalated", isOver(world));
    expect(world.run()).toMatchObject({ state: "failed", outcomes: [{ status: "failed", exit_code: 3 }] });
  });

  it("resolves an incident whose finding ends by itself, without an action", async () => {
    const world = await openWorld({ config: { guards: { start_up_grace_ms: 60_000 } } });
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until(
      "held",
      () => world.run()?.guards.some(({ guard, passed }) => guard === "start_up_grace" && !passed) ?? false,
    );
    await world.say("detect.findings", "a", finding({ state: "resolved" }));
    await world.until("resolved", isOver(world));
    expect(world.incident()?.state).toBe("resolved");
    expect(world.run()?.state).toBe("suppressed");
    expect(world.seen.size).toBe(0);
  });

  it("says in its grants what others are changing at the same site, and never more than the site", async () => {
    const world = await openWorld({ changingAt: (site) => (site === "dc-1" ? 3 : 0) });
    await world.leader();
    for (const host of ["b", "c"]) await world.beat(host);
    await world.say("detect.findings", "a", finding());
    await world.until("resolved", isOver(world));
    expect(world.grants[0]?.targets.sites).toEqual({ "dc-1": { targeted: 3, of: 3 } });
  });
});
