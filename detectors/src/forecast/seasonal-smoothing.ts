import type { Known, Member } from "./member.ts";

/** What of an error goes to the level, to each pattern, and to the next row. */
interface Rates {
  readonly level: number;
  readonly shorter: number;
  readonly longer: number;
  readonly next: number;
}

const CHOICES: { readonly [Rate in keyof Rates]: readonly number[] } = {
  level: [0.003, 0.01, 0.03, 0.1],
  shorter: [0.03, 0.1, 0.2],
  longer: [0.03, 0.1, 0.2],
  next: [0.3, 0.6, 0.8, 0.9, 0.97],
};

const START: Rates = { level: 0.01, shorter: 0.1, longer: 0.1, next: 0.8 };

/** Sweeps over the rates, each improved with the others held. */
const SWEEPS = 2;

/** Where the smoothing stands after the last row. */
interface Standing {
  readonly level: number;
  readonly lastError: number;
  readonly squares: number;
  readonly shorter: Float64Array;
  readonly longer: Float64Array;
}

const NO_PATTERN = new Float64Array(1);

const run = ({ values, seasons, adjusted }: Known, rates: Rates): Standing => {
  const shorter = (seasons[0]?.index ?? NO_PATTERN).slice();
  const longer = (seasons[1]?.index ?? NO_PATTERN).slice();
  const rows = Math.min(adjusted.length, Math.max(shorter.length, 1));
  let level = 0;
  for (let i = 0; i < rows; i++) level += (adjusted[i] as number) / rows;
  let error = 0;
  let squares = 0;
  const longerRate = seasons.length > 1 ? rates.longer : 0;
  for (let i = 0, p = 0, q = 0; i < values.length; i++) {
    const before = error;
    error = (values[i] as number) - level - (shorter[p] as number) - (longer[q] as number);
    const surprise = error - rates.next * before;
    squares += surprise * surprise;
    level += rates.level * error;
    shorter[p] = (shorter[p] as number) + rates.shorter * error;
    longer[q] = (longer[q] as number) + longerRate * error;
    p = p + 1 === shorter.length ? 0 : p + 1;
    q = q + 1 === longer.length ? 0 : q + 1;
  }
  return { level, lastError: error, squares, shorter, longer };
};

const bestRates = (known: Known): Rates => {
  let best = START;
  let least = run(known, best).squares;
  const names: readonly (keyof Rates)[] =
    known.seasons.length > 1 ? ["next", "level", "shorter", "longer"] : ["next", "level", "shorter"];
  // What was found best of a rate stays so until another rate changes.
  const seenBy = new Map<keyof Rates, Rates>();
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const name of names) {
      if (seenBy.get(name) === best) continue;
      for (const value of CHOICES[name]) {
        if (best[name] === value) continue;
        const tried = { ...best, [name]: value };
        const { squares } = run(known, tried);
        if (squares < least) {
          least = squares;
          best = tried;
        }
      }
      seenBy.set(name, best);
    }
  }
  return best;
};

/** Exponential smoothing with up to two patterns that change with time, and errors that echo (Taylor 2003). */
export const seasonalSmoothing: Member = {
  name: "seasonal_smoothing",
  seesAdjusted: false,
  fit: (first) => {
    if (first.seasons.length === 0) return null;
    const rates = bestRates(first);
    return (known, out) => {
      const { level, lastError, shorter, longer } = run(known, rates);
      const count = known.values.length;
      let echo = lastError;
      for (let step = 0; step < out.length; step++) {
        echo *= rates.next;
        out[step] =
          level +
          (shorter[(count + step) % shorter.length] as number) +
          (longer[(count + step) % longer.length] as number) +
          echo;
      }
    };
  },
};
