import type { Season } from "./season.ts";

/** What is known at one origin: rows before it only. */
export interface Known {
  readonly values: Float64Array;
  readonly seasons: readonly Season[];
  /** The values without their seasons. */
  readonly adjusted: Float64Array;
}

/** Writes the forecast of the rows after the known ones. */
export type Predict = (known: Known, out: Float64Array) => void;

/**
 * One method of the ensemble. `fit` finds its parameters; what it returns is then used at this origin and at later ones, whose
 * levels and patterns it takes from what is known there. Null where the method has nothing to go by.
 */
export interface Member {
  readonly name: string;
  /** It forecasts the adjusted values; their patterns are added again afterwards. */
  readonly seesAdjusted: boolean;
  fit(known: Known): Predict | null;
}
