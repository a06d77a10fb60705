import { describe, expect, it } from "vitest";
import { RemediationConfig } from "../../remediation/src/index.ts";
import { finding, isOver, openWorld } from "./remediation-engine.fixture.ts";

const { runbooks } = RemediationConfig.parse({});
const configWith = (autonomy: "approve" | "suggest") => ({
  guards: { start_up_grace_ms: 0 },
  runbooks: runbooks.map((runbook) => ({ ...runbook, autonomy })),
});

describe("the engine, on the embedded bus, with an agent that answers", () => {
  it("waits for a person where the runbook says approve; the person's word is in the journal", async () => {
    const world = await openWorld({ config: configWith("approve") });
    const { engine } = await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("awaiting", () => world.run()?.state === "awaiting_approval");
    expect(world.seen.size).toBe(0);
    const runId = world.run()?.run_id ?? "";
    expect(await engine.decide("nothing", { by: "ann", approved: true, note: "" })).toMatchObject({
      refused: "not_found",
    });
    expect(await engine.decide(runId, { by: "ann", approved: true, note: "go" })).toMatchObject({
      decision: { by: "ann" },
    });
    expect(await engine.decide(runId, { by: "bob", approved: false, note: "" })).toMatchObject({
      refused: "not_awaiting_approval",
    });
    await world.until("resolved", isOver(world));
    expect(world.run()).toMatchObject({ state: "succeeded", decision: { by: "ann", approved: true, note: "go" } });
    expect(world.grants).toMatchObject([
      {
        requested_by: expect.stringMatching(/^remediation\//),
        job_id: runId,
        risk: "reversible",
        approvals: [{ by: "ann" }],
        targets: { count: 1, sites: { "dc-1": { targeted: 1, of: 1 } } },
      },
    ]);
  });

  it("only tells what it would do where the runbook says suggest", async () => {
    const world = await openWorld({ config: configWith("suggest") });
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("escalated", isOver(world));
    expect(world.run()).toMatchObject({ state: "suppressed", plan: { action: "restart_service" } });
    expect(world.seen.size).toBe(0);
  });
});
