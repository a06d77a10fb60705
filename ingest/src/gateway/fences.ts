import type { Refusal } from "./intake.ts";

const NS_PER_MS = 1_000_000n;
/** Ingest measures against the time at which the bus took the batch: what waits for the bus must not be too late by then. */
const LATE_MARGIN_MS = 3_600_000;
/** The bus's clock may be behind ours. */
const FUTURE_MARGIN_MS = 60_000;
/** Of small limits only this share is kept as margin. */
const MARGIN_SHARE_MAX = 1 / 8;

/** Which times are neither too old nor too far ahead; as ingest has it, less a margin, so that no record that passes condemns its batch. */
export interface Fences {
  refusalOf(unixMs: number): Refusal | null;
  refusalOfNano(unixNano: bigint): Refusal | null;
}

export const fencesAt = (nowUnixMs: number, limits: { late_max_ms: number; future_max_ms: number }): Fences => {
  const { late_max_ms, future_max_ms } = limits;
  const oldest = Math.ceil(nowUnixMs - late_max_ms + Math.min(LATE_MARGIN_MS, late_max_ms * MARGIN_SHARE_MAX));
  const newest = Math.floor(nowUnixMs + future_max_ms - Math.min(FUTURE_MARGIN_MS, future_max_ms * MARGIN_SHARE_MAX));
  const oldestNano = BigInt(oldest) * NS_PER_MS;
  const newestNano = BigInt(newest) * NS_PER_MS;
  return {
    refusalOf: (unixMs) => (unixMs < oldest ? "late" : unixMs > newest ? "future" : null),
    refusalOfNano: (unixNano) => (unixNano < oldestNano ? "late" : unixNano > newestNano ? "future" : null),
  };
};
