import { join } from "node:path";
import { AgentConfig, createAgent, createBusLink } from "@homeostat/agent";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { type ControlApi, log, openControlApi } from "./control-api.fixture.ts";
import { EXIT } from "./exit-code.ts";

let at: ControlApi;
beforeAll(async () => {
  at = await openControlApi({ config: { offline_after_ms: 1_000 } });
  const agent = createAgent({
    config: AgentConfig.parse({ host: "web-1", heartbeat_ms: 1_000 }),
    dir: join(at.dir, "web-1"),
    link: createBusLink({ bus: at.bus, host: "web-1" }),
    trustedKeys: [],
    now: Date.now,
    monotonicMs: () => performance.now(),
    log,
  });
  await agent.start();
  await vi.waitFor(() => expect(at.control.agents()).toHaveLength(1), { timeout: 90_000 });
  await agent.stop();
  await vi.waitFor(() => expect(at.control.agent("web-1")?.state).toBe("offline"), { timeout: 90_000 });
});
afterAll(() => at.close());

it("whoever waits for a host that is offline is told so at once, and for how long", async () => {
  const { code, err } = await at.run("run hello --on web-1 --expires 90s --wait-for 1s");
  expect(err).toMatch(/^offline: web-1; who is not back within 90 s runs nothing$/m);
  expect(code).toBe(EXIT.timedOutWaiting);
});

it("programs are told the job alone", async () => {
  const { err } = await at.run("run hello --on web-1 --wait-for 1s --json");
  expect(err).not.toContain("offline");
});
