import { describe, expect, it } from "vitest";
import { finding, isOver, openWorld } from "./remediation-engine.fixture.ts";

describe("the engine, on the embedded bus, with an agent that answers", () => {
  it("never takes the absence of data for health", async () => {
    const world = await openWorld({
      restart: (w) => {
        w.up = null;
        w.clock.after(1000, () => void w.say("detect.findings", "a", finding({ state: "no_data" })));
        return {};
      },
    });
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("escalated", isOver(world));
    expect(world.run()).toMatchObject({ state: "inconclusive", verdict: "inconclusive" });
    expect(world.incident()?.state).toBe("escalated");
  });

  it("does not act while the facts have gaps, and tells a person in the end", async () => {
    const world = await openWorld();
    world.up = null;
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("escalated", isOver(world));
    expect(world.run()).toMatchObject({ state: "suppressed" });
    expect(world.run()?.reason).toContain("no data for: service up");
    expect(world.seen.size).toBe(0);
  });

  it("does not act while the host's data health is in doubt, and does once it is well", async () => {
    const world = await openWorld();
    await world.leader();
    const sick = finding({
      finding_id: "h1",
      rule: "host-silent",
      category: "data_health",
      entity: { host: "a" },
      summary: "host a is silent",
    });
    await world.say("detect.findings", "a", sick);
    await world.say("detect.findings", "a", finding());
    await world.until("held", () => world.run()?.guards.some(({ passed }) => !passed) ?? false);
    expect(world.run()?.guards.filter(({ passed }) => !passed)).toMatchObject([{ guard: "observer_health" }]);
    expect(world.seen.size).toBe(0);
    await world.say("detect.findings", "a", { ...sick, state: "resolved" });
    await world.until("succeeded", () => world.run()?.state === "succeeded");
  });
});
