import fc from "fast-check";
import { hostileValue, readOrRefuse } from "../test/fixtures/batch/hostile-values.ts";

const CASES_A_ROUND = 50_000;

/** The long mode of the decoder's fuzz test: `npm run bench -- batch-fuzz --cases 5000000 --seed 1`. */
export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const cases = Number(options.cases ?? 1_000_000);
  const seed = Number(options.seed ?? Date.now() % 2 ** 31);
  const seen = { read: 0, refused: 0 };
  const startedAt = performance.now();
  for (let done = 0, round = 0; done < cases; done += CASES_A_ROUND, round++) {
    const numRuns = Math.min(CASES_A_ROUND, cases - done);
    fc.assert(
      fc.property(hostileValue, (value) => {
        seen[readOrRefuse(value)]++;
      }),
      { numRuns, seed: seed + round },
    );
    process.stdout.write(`${done + numRuns} of ${cases} cases, seed ${seed + round}\n`);
  }
  const seconds = (performance.now() - startedAt) / 1000;
  process.stdout.write(`${JSON.stringify({ cases, ...seen, seconds: Math.round(seconds) })}\n`);
};
