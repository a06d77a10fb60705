import type { StoreConfig } from "../store/store-config.ts";

/** What one table has of one day on the disk. */
export interface StoredDay {
  readonly table_name: string;
  /** `2026-08-01` */
  readonly day: string;
  readonly partition_id: string;
  readonly bytes: number;
  /** Today, or later: never dropped. */
  readonly is_current: boolean;
}

export interface Reclaim {
  /** Of the disk, now. */
  readonly freeShare: number;
  /** In the order of dropping. */
  readonly drops: readonly StoredDay[];
  /**
   * `enough`; `reclaims` what will do, with what is leaving already; `elsewhere`: all our days together would not do, so none is given for nothing; `helpless`: everything goes
   * that may go, and it does not do.
   */
  readonly outcome: "enough" | "reclaims" | "elsewhere" | "helpless";
  /** Whether telemetry must wait. */
  readonly isStopped: boolean;
}

const DAY_MS = 86_400_000;

/** Series and resources are small, and without them the rows that refer to them cannot be found. */
const DROPPABLE = ["logs", "metric_samples", "metric_histograms", "metric_minutes"] as const;

type TtlDays = StoreConfig["ttl_days"];

const tableOf = (name: string): (typeof DROPPABLE)[number] | undefined =>
  DROPPABLE.find((table) => name === table || name === `${table}_local`);

const expiry = ({ table_name, day }: StoredDay, ttlDays: TtlDays): number => {
  const table = tableOf(table_name);
  return Date.parse(day) + (table === undefined ? 0 : ttlDays[table]) * DAY_MS;
};

/**
 * First goes what the retention would take next, and of equals the largest: so every signal loses the same number of days, as if all retentions
 * had been set shorter, and none pays for another. (The oldest day first would take weeks of samples, which are small but kept long, before the
 * first day of logs; the largest table first would take all logs before any sample.)
 */
const inOrder = (days: readonly StoredDay[], ttlDays: TtlDays): readonly StoredDay[] =>
  days
    .filter((day) => !day.is_current && tableOf(day.table_name) !== undefined)
    .sort((a, b) => expiry(a, ttlDays) - expiry(b, ttlDays) || b.bytes - a.bytes);

export interface DiskSpace {
  readonly freeBytes: number;
  /** Of parts that were merged or dropped, and are removed within minutes. */
  readonly leavingBytes: number;
  readonly totalBytes: number;
}

/** @param days all that is on this disk. */
export const planReclaim = (
  { freeBytes, leavingBytes, totalBytes }: DiskSpace,
  days: readonly StoredDay[],
  { space, ttl_days }: Pick<StoreConfig, "space" | "ttl_days">,
): Reclaim => {
  const share = (bytes: number): number => (totalBytes === 0 ? 1 : bytes / totalBytes);
  const freeShare = share(freeBytes);
  const isStopped = freeShare < space.stop_free_share;
  if (freeShare >= space.min_free_share) return { freeShare, drops: [], outcome: "enough", isStopped };
  const drops: StoredDay[] = [];
  let free = freeBytes + leavingBytes;
  if (share(free) < space.min_free_share)
    for (const day of inOrder(days, ttl_days)) {
      if (share(free) >= space.target_free_share) break;
      drops.push(day);
      free += day.bytes;
    }
  if (share(free) >= space.min_free_share) return { freeShare, drops, outcome: "reclaims", isStopped };
  return isStopped
    ? { freeShare, drops, outcome: "helpless", isStopped }
    : { freeShare, drops: [], outcome: "elsewhere", isStopped };
};
