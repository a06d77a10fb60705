import type { Batch, Finding } from "@homeostat/schemas";
import type { History, Readiness } from "../detector.ts";
import type { Series } from "../series.ts";
import type { Snapshot } from "./snapshot.ts";

/** Rows whose time is further ahead of the observer's clock than this are passed over: one wrong clock must not make all others late. */
export const FUTURE_MS = 300_000;

/** Idle subjects are looked for this often. */
const FORGET_EVERY_MS = 60_000;

/** Also when the clock has been set back. */
export const isForgetDue = (nowUnixMs: number, forgotAtUnixMs: number): boolean =>
  Math.abs(nowUnixMs - forgotAtUnixMs) >= FORGET_EVERY_MS;

/** Only an observer that has kept up for this long may call a subject idle: what lives has been heard by then. */
export const FORGET_OBSERVED_MS = 3_600_000;

export interface IntakeCounts {
  rows: number;
  /** Too far ahead of the clock. */
  future: number;
  /** Older than the present: they teach, and announce nothing. */
  late: number;
  /** Samples whose series has not been told yet. */
  unknown: number;
  /** Staleness markers: they say that a series has ended, and are no samples. */
  stale: number;
}

export const noCounts = (): IntakeCounts => ({ rows: 0, future: 0, late: 0, unknown: 0, stale: 0 });

export interface Tick {
  readonly nowUnixMs: number;
  readonly observingSinceUnixMs: number;
}

/** What one partition's batches become: windows for its rules. Metrics and logs differ here; offsets, snapshots and publishing are the partition's. */
export interface Intake {
  readonly counts: IntakeCounts;
  /** How many subjects (series, or streams) are watched, and how many were refused at the cap. */
  readonly subjects: number;
  readonly refused: number;
  /** Of the subjects (or, where a rule watches them, of the hosts) those that some rule looks at. */
  readonly watched: number;
  take(batch: Batch, from: { readonly key: string | null; readonly nowUnixMs: number }): readonly Finding[];
  tick(tick: Tick): readonly Finding[];
  /** By rule, where a rule has subjects to get to know. */
  readiness(nowUnixMs: number): ReadonlyMap<string, Readiness>;
  /** By rule: the series that it would learn about from what the store remembers. */
  lacking(): ReadonlyMap<string, readonly Series[]>;
  /** Answers what `lacking` asked of this rule; who is not among the histories is not known to the store. */
  recall(rule: string, asked: readonly Series[], histories: ReadonlyMap<string, History>): void;
  save(): Snapshot;
  /** Findings to take back, because their rules are gone. @throws when the snapshot is not of this form. */
  load(snapshot: Snapshot): readonly Finding[];
}
