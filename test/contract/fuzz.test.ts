import { afterAll, beforeAll, expect, it } from "vitest";
import { type AgentSide, startAgentSide } from "../../bench/fuzz/agent-side.ts";
import { agentTargets } from "../../bench/fuzz/agent-targets.ts";
import { campaign } from "../../bench/fuzz/campaign.ts";
import { TARGETS } from "../../bench/fuzz/targets.ts";
import { startWorld, type World } from "../../bench/fuzz/world.ts";

/** More on request: `npm run bench -- fuzz --cases 5000000`. */
const CASES = 192;
/** Of what takes a process for each. */
const CASES_MIN = 12;
const SEED = 20_260_101;

let world: World;
let side: AgentSide;
beforeAll(async () => {
  world = await startWorld();
  side = await startAgentSide();
});
afterAll(async () => {
  await world.stop();
  await side.stop();
});

it.each(TARGETS.map((target) => [target.name, target] as const))(
  "damaged inputs for %s are taken or refused: no defect, nothing that cannot be read again",
  async (_, target) => {
    const { taken, refused } = await campaign(target, world, { cases: CASES, seed: SEED });
    expect(taken + refused).toBe(CASES);
    // Both ways are walked, or the fuzz would prove little; syslog refuses nothing.
    expect(taken).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(target.name === "syslog" ? -1 : CASES / 8);
  },
);

const AGENT_TARGETS = [
  "frames",
  "uplink",
  "hello",
  "welcome",
  "sealed",
  "enrol_request",
  "enrol_reply",
  "command",
  "cancel",
  "from_agent",
  "to_agent",
  "artefact",
  "manifest",
];

it.each(AGENT_TARGETS)(
  "damaged inputs for an agent's or the control plane's %s are taken or refused, and nothing else comes of them",
  async (name) => {
    const target = agentTargets(side).find((one) => one.name === name);
    if (target === undefined) throw new Error(`there is no ${name}`);
    const cases = Math.max(CASES_MIN, Math.floor(CASES / (target.cost ?? 1)));
    const { taken, refused } = await campaign(target, world, { cases, seed: SEED });
    expect(taken + refused).toBe(cases);
    expect(taken).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(cases / 8);
  },
);

it("all ways into agent and control are among them", () => {
  expect(agentTargets(side).map(({ name }) => name)).toEqual(AGENT_TARGETS);
});
