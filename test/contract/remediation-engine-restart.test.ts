import { describe, expect, it } from "vitest";
import { Dispatch, RemediationRecord } from "../../schemas/src/index.ts";
import { finding, isOver, openWorld } from "./remediation-engine.fixture.ts";
import type { Life, Mishap } from "./remediation-engine-life.fixture.ts";

describe("the engine, on the embedded bus, with an agent that answers", () => {
  it("keeps one leader of two, and the other takes over when it goes", async () => {
    const world = await openWorld();
    const first = await world.leader();
    const second = await world.engine();
    await world.rest();
    expect([first.engine.status().role, second.engine.status().role].sort()).toEqual(["leader", "standby"]);
    const [leader, standby] = first.engine.status().role === "leader" ? [first, second] : [second, first];
    await world.say("detect.findings", "a", finding());
    await world.until("running", () => world.run()?.state === "verifying");
    leader.life.isDead = true;
    await world.stopEngine(leader.engine);
    await world.atOnce(() => standby.engine.status().role === "leader");
    await world.until("resolved", isOver(world));
    expect(standby.engine.status().role).toBe("leader");
    expect(world.done).toHaveLength(1);
  });
});

const commandsAreWrittenAhead = (lives: readonly Life[]): void => {
  const running = new Set<string>();
  for (const { topic, value } of lives.flatMap(({ published }) => published)) {
    if (topic === "remediation.journal" && value !== null) {
      const { run } = RemediationRecord.parse(value);
      if (run.state === "running") for (const step of run.plan?.steps ?? []) running.add(step.idempotency_key);
    }
    if (topic === "agent.commands") {
      expect(running).toContain(Dispatch.parse(value).signed.grant.command_id);
    }
  }
};

const MISHAPS: readonly Mishap[] = ["death", "an error"];

describe("a restart of the engine in the middle of a run", () => {
  it.for(MISHAPS)(
    "comes to the same end after %s at each of its writes, with one command that is done once",
    async (mishap) => {
      const undisturbed = await openWorld();
      const { life } = await undisturbed.leader();
      await undisturbed.say("detect.findings", "a", finding());
      await undisturbed.until("closed", () => undisturbed.incident()?.state === "closed");
      expect(life.publishes).toBeGreaterThan(7);
      for (let writes = 1; writes <= life.publishes; writes += 1) {
        const at = `${mishap} at write ${writes}`;
        const world = await openWorld();
        const first = await world.leader(writes, mishap);
        await world.say("detect.findings", "a", finding());
        await world.until(at, () => first.life.hadMishap);
        if (mishap === "death") {
          await world.stopEngine(first.engine);
          await world.leader();
        }
        await world.until(`closed, after ${at}`, () => world.incident()?.state === "closed");
        expect(world.incidents.size, `incidents, ${at}`).toBe(1);
        expect(world.runs.size, `runs, ${at}`).toBe(1);
        expect(world.run(), at).toMatchObject({ state: "succeeded", verdict: "healed" });
        expect(world.done, `commands done, ${at}`).toHaveLength(1);
        expect([...world.seen.keys()]).toEqual(world.done);
        commandsAreWrittenAhead(world.lives);
        await world.close();
      }
    },
  );
});
