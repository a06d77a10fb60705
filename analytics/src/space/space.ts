import { type Finding, InsertError, type Log } from "@homeostat/schemas";
import type { Store } from "../store/store.ts";
import type { StoreConfig } from "../store/store-config.ts";
import { planReclaim, type Reclaim } from "./plan-reclaim.ts";
import { spaceFinding } from "./space-finding.ts";
import { storeDisks, storedDays } from "./stored-days.ts";

export interface SpacePorts {
  /** Asked anew for each use: the embedded engine may be replaced. */
  readonly store: () => Pick<Store, "run" | "dropDay">;
  readonly config: Pick<StoreConfig, "space" | "ttl_days">;
  readonly host: string;
  readonly publish: (finding: Finding) => Promise<void>;
  readonly now: () => number;
  readonly log: Log;
}

/** Keeps the store's disks from filling up. */
export interface Space {
  /** One look at every disk of the store, and what must be done about it; once a minute. Rejects when the store cannot be asked. */
  check(): Promise<void>;
  /** Throws an InsertError that may be tried again while there is no room for telemetry. */
  admit(): void;
}

interface Disk {
  readonly disk: string;
  readonly path: string;
  readonly free_bytes: number;
  readonly total_bytes: number;
  readonly leaving_bytes: number;
}

export const createSpace = ({ store, config, host, publish, now, log }: SpacePorts): Space => {
  /** By disk: since when it is short. A store has a handful of disks. */
  const episodes = new Map<string, number>();
  const stopped = new Set<string>();

  /** A disk that is full to the last byte has no room for the note that a day is gone either: then it is helpless. */
  const drop = async (reclaim: Reclaim, path: string): Promise<Reclaim> => {
    for (const [count, { table_name, partition_id, day, bytes }] of reclaim.drops.entries()) {
      try {
        await store().dropDay(table_name, partition_id);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        log.error({ table: table_name, day, path, error: why }, "a day could not be dropped");
        return { ...reclaim, drops: reclaim.drops.slice(0, count), outcome: "helpless" };
      }
      log.warn(
        { table: table_name, day, bytes, path, free_share: reclaim.freeShare },
        "a day was dropped to make room",
      );
    }
    return reclaim;
  };

  const tell = async ({ disk, path }: Disk, reclaim: Reclaim): Promise<void> => {
    const at = now();
    const startedAtUnixMs = episodes.get(disk) ?? at;
    if (reclaim.outcome === "enough" && !episodes.has(disk)) return;
    const minFreeShare = config.space.min_free_share;
    const episode = { host, path, startedAtUnixMs, detectedAtUnixMs: at, minFreeShare };
    await publish(spaceFinding(episode, reclaim));
    if (reclaim.outcome === "enough") episodes.delete(disk);
    else episodes.set(disk, startedAtUnixMs);
  };

  return {
    async check() {
      const disks = await store().run(storeDisks, {});
      const days = await store().run(storedDays, {});
      for (const disk of disks) {
        const here = days.filter((day) => day.disk === disk.disk);
        const { free_bytes: freeBytes, leaving_bytes: leavingBytes, total_bytes: totalBytes } = disk;
        const plan = planReclaim({ freeBytes, leavingBytes, totalBytes }, here, config);
        const reclaim = await drop(plan, disk.path);
        if (reclaim.isStopped) stopped.add(disk.path);
        else stopped.delete(disk.path);
        await tell(disk, reclaim);
      }
    },
    admit() {
      if (stopped.size === 0) return;
      throw new InsertError(`the store's disk is full (${[...stopped].join(", ")}): telemetry waits`, {
        retryable: true,
      });
    },
  };
};
