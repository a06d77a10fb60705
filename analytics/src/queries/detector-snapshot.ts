import { z } from "zod";
import { defineQuery } from "../store/query.ts";

export const detectorSnapshot = defineQuery({
  name: "detector_snapshot",
  params: z.strictObject({ name: z.string().min(1), key: z.string() }),
  rowsMax: 1,
  row: z.strictObject({ state: z.string() }),
  sql: `
SELECT state
FROM detector_snapshots
WHERE name = {name:String} AND key = {key:String}
ORDER BY version DESC, at DESC
LIMIT 1`,
});

/** When the newest one was saved, by the clock of who saved it; 0 where there is none. */
export const detectorSnapshotAt = defineQuery({
  name: "detector_snapshot_at",
  params: z.strictObject({ name: z.string().min(1), key: z.string() }),
  rowsMax: 1,
  row: z.strictObject({ at_unix_ms: z.int() }),
  sql: `
SELECT toUnixTimestamp64Milli(max(at)) AS at_unix_ms
FROM detector_snapshots
WHERE name = {name:String} AND key = {key:String}`,
});
