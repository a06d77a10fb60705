import { lstat, opendir } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { DeclaredPath } from "../config.ts";
import type { Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";

/** Not from fs/promises, which would take 0.2 MB in an agent that stays. */
const lstatAsync = promisify(lstat);
const opendirAsync = promisify(opendir);

/** Beyond this many entries usage is a lower bound, and the agent says so. */
const ENTRIES_MAX = 100_000;
const DEPTH_MAX = 32;
/**
 * A scan may take this share of a processor, more while the path is nearly full. Its cost is reckoned from the entries and not from the clock:
 * on a busy machine a scan takes long without costing more, and that is when it must not come seldom. 250 entries are scanned each second.
 */
const SHARE = 0.005;
const SHARE_NEARLY_FULL = 0.02;
const NEARLY_FULL = 0.7;
const ENTRY_COST_MS = 0.02;
const EVERY_MS_MIN = 1_000;
/** The least pause while half of the limit is free: a look at a small directory costs more by its start than by its entries. */
const EVERY_MS_MIN_HALF_FREE = 5_000;
const HALF = 0.5;
const EVERY_MS_MAX = 300_000;

export interface PathUsage {
  readonly bytes: number;
  readonly entries: number;
  readonly isComplete: boolean;
}

/** Bytes on disk below a directory, without following links or crossing into other file systems. */
export const pathUsage = async (root: string, entriesMax = ENTRIES_MAX): Promise<PathUsage | null> => {
  const device = await deviceOf(root);
  if (device === null) return null;
  const pending: { path: string; depth: number }[] = [{ path: root, depth: 0 }];
  let bytes = 0;
  let entries = 0;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { path, depth } = next;
    for (const name of await namesOf(path)) {
      if (++entries > entriesMax) return { bytes, entries, isComplete: false };
      const child = join(path, name);
      const stat = await lstatOrNull(child);
      if (stat === null || stat.dev !== device) continue;
      // A file that was just written may have no blocks yet where allocation is delayed.
      bytes += stat.blocks > 0 ? stat.blocks * 512 : stat.size;
      if (stat.isDirectory() && depth < DEPTH_MAX) pending.push({ path: child, depth: depth + 1 });
    }
  }
  return { bytes, entries, isComplete: true };
};

const deviceOf = async (root: string): Promise<number | null> => {
  const stat = await lstatOrNull(root);
  return stat?.isDirectory() ? stat.dev : null;
};

const lstatOrNull = async (path: string) => {
  try {
    return await lstatAsync(path);
  } catch {
    // Deleted while we were looking: normal.
    return null;
  }
};

const namesOf = async (path: string): Promise<string[]> => {
  try {
    const names: string[] = [];
    for await (const entry of await opendirAsync(path)) if (names.push(entry.name) >= ENTRIES_MAX) break;
    return names;
  } catch {
    // Deleted, or not ours to read: its bytes cannot be known.
    return [];
  }
};

export const paths = (options: {
  sink: Sink;
  watch: readonly DeclaredPath[];
  /** Milliseconds that only go forward. */
  monotonicMs: () => number;
  report: (name: string, problem: string | null) => void;
}): Collector => {
  const { sink, monotonicMs, report } = options;
  const watched = options.watch.map((declared) => {
    const labels = { "path.name": declared.name };
    return {
      declared,
      usage: sink.gauge("homeostat.path.usage", "By", labels),
      limit: sink.gauge("homeostat.path.limit", "By", labels),
      utilization: sink.gauge("homeostat.path.utilization", "1", labels),
      isPending: false,
      nextAtMs: 0,
    };
  });
  const measure = async (one: (typeof watched)[number]) => {
    one.isPending = true;
    const startedMs = monotonicMs();
    const usage = await pathUsage(one.declared.path);
    one.isPending = false;
    one.nextAtMs = startedMs + EVERY_MS_MIN;
    if (usage === null) return report(one.declared.name, `${one.declared.path} is no directory that can be read`);
    const utilization = usage.bytes / one.declared.limit_bytes;
    const share = utilization > NEARLY_FULL ? SHARE_NEARLY_FULL : SHARE;
    const pauseMs = (usage.entries * ENTRY_COST_MS) / share;
    const leastMs = utilization > HALF ? EVERY_MS_MIN : EVERY_MS_MIN_HALF_FREE;
    one.nextAtMs = startedMs + Math.min(EVERY_MS_MAX, Math.max(leastMs, pauseMs));
    report(one.declared.name, usage.isComplete ? null : `${one.declared.path} has more than ${ENTRIES_MAX} entries`);
    one.usage.record(usage.bytes);
    one.limit.record(one.declared.limit_bytes);
    one.utilization.record(utilization);
  };
  return {
    name: "path",
    everyMs: 0,
    collect() {
      for (const one of watched) if (!one.isPending && monotonicMs() >= one.nextAtMs) void measure(one);
    },
    get isPending() {
      return watched.some((one) => one.isPending);
    },
  };
};
