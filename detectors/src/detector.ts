import type { Finding } from "@homeostat/schemas";
import type { z } from "zod";

/** State as it is kept: plain JSON beside typed arrays. `open` are the findings that are firing, so that a removed rule can take them back. */
export interface Saved {
  readonly json: unknown;
  readonly columns: Readonly<Record<string, Float64Array>>;
  readonly open: readonly Finding[];
}

export interface Step<State> {
  readonly state: State;
  readonly findings: readonly Finding[];
}

/**
 * Same state and same window: same result. No clock, no timers, no I/O; the time of arrival comes in the window.
 * `step` and `forget` own the state that they are given: they may change it in place and return it, so that a point costs no object.
 * A window is what arrived in one message for all the subjects of one rule, as columns; a subject (a series, a host, a stream of logs)
 * is named by its slot, a small number.
 */
export interface Detector<Config, State, Window> {
  readonly name: string;
  /** Of the saved form. A state of another version is not loaded. */
  readonly version: number;
  readonly config: z.ZodType<Config>;
  start(config: Config): State;
  step(state: State, window: Window, config: Config): Step<State>;
  /** Keeps the subjects of these slots, renumbered in this order; the others are gone, and what fires for them is resolved. */
  forget(state: State, kept: Uint32Array, nowUnixMs: number): Step<State>;
  save(state: State): Saved;
  load(saved: Saved, config: Config): State;
}
