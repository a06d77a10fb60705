import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { type ControlApi, openControlApi } from "./control-api.fixture.ts";
import { EXIT } from "./exit-code.ts";

let at: ControlApi;
beforeAll(async () => {
  at = await openControlApi({ config: { offline_after_ms: 1_000 } });
  const agent = at.agent("web-1");
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
