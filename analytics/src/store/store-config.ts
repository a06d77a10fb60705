import { z } from "zod";

const Days = z.int().min(1).max(3650);

const ServerName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/, "want letters, digits and _");

const Share = z.number().min(0).max(0.9);

const SpaceConfig = z
  .strictObject({
    /** Where it is not said: on for the embedded store, off for a server, which may hold more than this database. */
    enabled: z.boolean().optional(),
    /** Of the disk. Below it days are dropped… */
    min_free_share: Share.default(0.1),
    /** …until so much is free. */
    target_free_share: Share.default(0.15),
    /** Below it no telemetry is inserted: the bus keeps it, and what is left is for merges and records. */
    stop_free_share: Share.default(0.02),
  })
  .refine(
    ({ stop_free_share, min_free_share, target_free_share }) =>
      stop_free_share <= min_free_share && min_free_share <= target_free_share,
    "want stop_free_share ≤ min_free_share ≤ target_free_share",
  );

const Rollup = z.strictObject({ enabled: z.boolean().default(true) });

/** The part `analytics` of the configuration: where the tables are and how long each keeps its rows. */
export const StoreConfig = z.strictObject({
  /** The embedded store owns every database whose name begins with `homeostat`. */
  database: z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,62}$/, "want lower-case letters, digits and _")
    .default("homeostat"),
  /** Makes Replicated and Distributed tables on this cluster (`ON CLUSTER`); null is one node. */
  cluster: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_-]{0,62}$/, "want the name of a cluster")
    .nullable()
    .default(null),
  /** A day is dropped as a whole once all of its rows are older. Changing a number changes the table at the next start. */
  ttl_days: z
    .strictObject({
      logs: Days.default(14),
      /** As long as any log record that refers to them, or longer. */
      log_resources: Days.default(30),
      /** As long as the longest of what series leave behind: hours without their series cannot be found. */
      metric_series: Days.default(400),
      metric_samples: Days.default(30),
      metric_histograms: Days.default(30),
      /** What samples leave behind: one row a series and minute, one a series and hour, and how far that has come. */
      metric_minutes: Days.default(90),
      metric_hours: Days.default(400),
      metric_rollups: Days.default(30),
      findings: Days.default(90),
      incidents: Days.default(365),
      remediation_runs: Days.default(365),
      agent_results: Days.default(90),
      heartbeats: Days.default(30),
      notifications: Days.default(90),
      ingest_ledger: Days.default(30),
      detector_snapshots: Days.default(7),
    })
    .prefault({}),
  /** What a job sums samples up to. Without a rollup its queries read samples, and what has no samples any more cannot be asked for. */
  rollups: z
    .strictObject({
      minutes: Rollup.prefault({}),
      /** Detectors learn from it what series were like before they came, and forecasts look at it. */
      hours: Rollup.prefault({}),
    })
    .prefault({}),
  /**
   * Rows that are older move to a slower disk and are read from there. The embedded store has the policy and the volume of these names when
   * `store.cold_dir` is set; on a server they are the operator's.
   */
  cold: z
    .strictObject({
      after_days: z.strictObject({
        logs: Days.optional(),
        metric_samples: Days.optional(),
        metric_histograms: Days.optional(),
      }),
      storage_policy: ServerName.default("hot_cold"),
      volume: ServerName.default("cold"),
    })
    .nullable()
    .default(null),
  /** Before the disk is full the days that would go next by their retention go early; never today's. */
  space: SpaceConfig.prefault({}),
  /**
   * How words in log records are found: asked when the tables are made. `auto`: by the index type `text` where the server has it, else by the
   * older `tokenbf`.
   */
  word_index: z.enum(["auto", "text", "tokenbf"]).default("auto"),
  /** A named query that runs longer is cancelled. */
  query_timeout_ms: z.int().min(100).max(600_000).default(15_000),
});
export type StoreConfig = z.infer<typeof StoreConfig>;
