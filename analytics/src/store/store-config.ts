import { z } from "zod";

const Days = z.int().min(1).max(3650);

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
      metric_series: Days.default(30),
      metric_samples: Days.default(30),
      /** What samples leave behind: one row a series and hour. */
      metric_hours: Days.default(400),
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
  /** A named query that runs longer is cancelled. */
  query_timeout_ms: z.int().min(100).max(600_000).default(15_000),
});
export type StoreConfig = z.infer<typeof StoreConfig>;
