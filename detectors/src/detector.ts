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
  /** It looks at `hosts` of its windows: what is silent, and not only what speaks. */
  readonly looksAtHosts?: true;
  /** How many of its subjects are known well enough to be judged. */
  readiness?(state: State, nowUnixMs: number): Readiness;
  /** For a detector that can learn from what the store remembers of a series instead of waiting. */
  readonly memory?: Memory<Config, State>;
}

export interface Readiness {
  readonly ready: number;
  readonly warming_up: number;
  readonly stale: number;
}

/** What a series was like, hour by hour. */
export interface History {
  readonly fingerprint: string;
  /** Hours since 1970, each at most once. */
  readonly hours: Float64Array;
  /** Of each hour the 5 %, 50 % and 95 % quantile of its minutes' means (of a counter: rates per second), one after the other. */
  readonly quantiles: Float64Array;
}

export interface Memory<Config, State> {
  /** Slots below `slots` whose history has not been asked for yet. */
  lacking(state: State, slots: number): readonly number[];
  /** Changes the state in place; null where the store knows nothing of the series. */
  recall(state: State, slot: number, history: History | null, config: Config): void;
}
