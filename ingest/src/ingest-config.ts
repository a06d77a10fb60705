import { z } from "zod";

const DAY_MS = 86_400_000;

/** The part `ingest` of the configuration. */
export const IngestConfig = z.strictObject({
  /** A batch with a row older than this when the bus took it goes to the dead letters: late rows would make many small parts in old days. */
  late_max_ms: z
    .int()
    .min(60_000)
    .max(3650 * DAY_MS)
    .default(7 * DAY_MS),
  /** The same for rows ahead of the bus's clock. */
  future_max_ms: z.int().min(1000).max(DAY_MS).default(600_000),
  /** How long telemetry may gather on the bus before it is inserted. Each insert costs the engine some milliseconds, however small it is. */
  max_wait_ms: z.int().min(0).max(60_000).default(1000),
});
export type IngestConfig = z.infer<typeof IngestConfig>;
