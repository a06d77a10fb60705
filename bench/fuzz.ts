import { startAgentSide } from "./fuzz/agent-side.ts";
import { agentTargets } from "./fuzz/agent-targets.ts";
import { campaign, heldMib, type Tally } from "./fuzz/campaign.ts";
import { TARGETS, type Target } from "./fuzz/targets.ts";
import { startWorld, Violation } from "./fuzz/world.ts";

/*
 * Damaged inputs for every way in, as many as you like: `npm run bench -- fuzz --cases 5000000 --seed 1 --target loki`. Nothing but a
 * declared refusal may come of them; each takes less than a second; what is accepted can be read again as a batch; and what is held
 * after a garbage collection stays below the caches' own caps. The same seed makes the same inputs.
 */

const ROUND = 50_000;
/** Of the batch gateway's identities, the receivers' caches and the budgets, all at their caps. */
const HELD_GROWTH_MIB_MAX = 384;

interface Sum {
  taken: number;
  refused: number;
}

const add = (sums: Map<string, Sum>, name: string, { taken, refused }: Tally): void => {
  const sum = sums.get(name) ?? { taken: 0, refused: 0 };
  sum.taken += taken;
  sum.refused += refused;
  sums.set(name, sum);
};

const chosen = (all: readonly Target[], name: string | undefined): readonly Target[] => {
  const targets = all.filter((target) => name === undefined || target.name === name);
  if (targets.length > 0) return targets;
  throw new Error(`there is no target ${name}: want one of ${all.map((target) => target.name).join(", ")}`);
};

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const side = await startAgentSide();
  const targets = chosen([...TARGETS, ...agentTargets(side)], options.target);
  const cases = Number(options.cases ?? 1_000_000);
  const seed = Number(options.seed ?? Date.now() % 2 ** 31);
  const world = await startWorld();
  const sums = new Map<string, Sum>();
  const startedAt = performance.now();
  let base: number | null = null;
  let heldMax = 0;
  let slowestMs = 0;
  for (let done = 0, round = 0; done < cases; done += ROUND, round++) {
    const inRound = Math.min(ROUND, cases - done);
    for (const target of targets) {
      const each = { cases: Math.ceil(inRound / targets.length / (target.cost ?? 1)), seed: seed + round };
      const tally = await campaign(target, world, each).catch((error: unknown) => {
        throw new Violation(`seed ${each.seed}, ${each.cases} cases of ${target.name}`, { cause: error });
      });
      add(sums, target.name, tally);
      slowestMs = Math.max(slowestMs, tally.slowestMs);
    }
    const { heap, buffers, resident } = heldMib();
    base ??= heap + buffers;
    heldMax = Math.max(heldMax, heap + buffers - base);
    process.stdout.write(
      `${done + inRound} of ${cases}, seed ${seed + round}: heap ${heap}, buffers ${buffers}, resident ${resident} MiB\n`,
    );
    if (heldMax > HELD_GROWTH_MIB_MAX) throw new Violation(`memory grew by ${heldMax} MiB since the first round`);
  }
  await world.stop();
  await side.stop();
  for (const [name, { taken, refused }] of sums)
    process.stdout.write(`${name.padEnd(20)} ${taken} taken, ${refused} refused\n`);
  const total = [...sums.values()].reduce((sum, { taken, refused }) => sum + taken + refused, 0);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  const result = {
    violations: 0,
    cases: total,
    held_growth_mib_max: heldMax,
    slowest_group_ms: Math.round(slowestMs),
    seed,
    seconds,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
};
