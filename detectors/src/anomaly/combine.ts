import { MEMBERS, type SeriesAnomalies } from "./state.ts";

/** Of the power mean: 1 would be Fisher's sum, which dependent members inflate; infinity the maximum, which hears no agreement. */
const POWER = 3;

/** The older a series, the rarer a moment must be, so that alerts grow with the root of time and not with time; at 500 rows nothing is taken off. */
const AGE_EXPONENT = 0.5;
const AGE_ROWS = 1000;
const AGE_ROWS_YOUNG = 500;

const ageOf = (rows: number): number => AGE_EXPONENT * Math.log10((rows + AGE_ROWS_YOUNG) / AGE_ROWS);

/** The surprise of all members together, −log10; the loudest is named in the verdict. */
export const combine = (state: SeriesAnomalies, rows: number): number => {
  const { surprises, deviations, verdict } = state;
  let sum = 0;
  let loudest = 0;
  for (let member = 0; member < MEMBERS; member++) {
    const surprise = surprises[member] as number;
    sum += surprise ** POWER;
    if (surprise > (surprises[loudest] as number)) loudest = member;
  }
  verdict.member = loudest;
  verdict.deviation = deviations[loudest] as number;
  return sum === 0 ? 0 : Math.max(0, sum ** (1 / POWER) - ageOf(rows));
};
