import { afterAll, beforeAll, expect, it } from "vitest";
import { campaign } from "../../bench/fuzz/campaign.ts";
import { TARGETS } from "../../bench/fuzz/targets.ts";
import { startWorld, type World } from "../../bench/fuzz/world.ts";

/** More on request: `npm run bench -- fuzz --cases 5000000`. */
const CASES = 192;
const SEED = 20_260_101;

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

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
