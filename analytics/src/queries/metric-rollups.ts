import { UnixMs } from "@homeostat/schemas";
import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { jsonRecord } from "./json-record.ts";

const Interval = z.strictObject({ fromUnixMs: UnixMs, untilUnixMs: UnixMs });

/** What a rollup holds: all from `fromUnixMs` (0: since ever) until `untilUnixMs`. */
const Covered = Interval;

/** Windows that samples came to after they had been summed up, and since when that is known. */
export const LateWindows = z.strictObject({ ...Interval.shape, sinceUnixMs: UnixMs });
export type LateWindows = z.infer<typeof LateWindows>;

/** How far the summing up of samples has come. */
export const RollupProgress = z.strictObject({
  /** By node and partition: the newest block of samples that the rollups know of. */
  seen: z.record(z.string(), z.int()),
  minutes: z.strictObject({ covered: Covered, late: z.array(LateWindows) }),
  hours: z.strictObject({ covered: Covered, late: z.array(LateWindows) }),
});
export type RollupProgress = z.infer<typeof RollupProgress>;

export const ROLLUP_SOURCE = "metric_samples";

export const rollupProgress = defineQuery({
  name: "rollup_progress",
  params: z.strictObject({}),
  rowsMax: 1,
  row: z.strictObject({
    at_unix_ms: z.int(),
    minutes_from: z.int(),
    minutes_until: z.int(),
    hours_from: z.int(),
    hours_until: z.int(),
    seen: jsonRecord(RollupProgress.shape.seen),
    late: jsonRecord(z.strictObject({ minutes: z.array(LateWindows), hours: z.array(LateWindows) })),
  }),
  sql: `
SELECT toUnixTimestamp64Milli(at) AS at_unix_ms, minutes_from, minutes_until, hours_from, hours_until, seen, late
FROM metric_rollups
WHERE source = '${ROLLUP_SOURCE}'
ORDER BY at DESC
LIMIT 1`,
});

/** Of each rollup where it begins and ends, in Unix milliseconds, as one tuple; zeros before the first summing up: then it holds nothing. */
export const COVERED = `
  SELECT argMax((minutes_from, minutes_until, hours_from, hours_until), at)
  FROM metric_rollups
  WHERE source = '${ROLLUP_SOURCE}'`;
