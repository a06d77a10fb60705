import { createHash } from "node:crypto";
import type { Finding } from "@homeostat/schemas";

/** Publishes a finding; app gives it. */
export type ReportFinding = (finding: Finding) => Promise<void>;

export interface HealthEpisode {
  readonly rule: "ingest_store_failing" | "ingest_records_malformed";
  readonly state: "firing" | "resolved";
  readonly host: string;
  /** What narrows the rule down: a topic, or nothing. */
  readonly subject: string;
  readonly startedAtUnixMs: number;
  readonly nowUnixMs: number;
  readonly summary: string;
}

/** A `data_health` finding about ingest itself: a sick observer heals nobody. */
export const healthFinding = (episode: HealthEpisode): Finding => ({
  finding_id: createHash("sha256")
    .update(`${episode.rule}/${episode.host}/${episode.subject}/${episode.startedAtUnixMs}`)
    .digest("hex")
    .slice(0, 32),
  detector: "ingest",
  rule: episode.rule,
  state: episode.state,
  severity: episode.rule === "ingest_store_failing" ? "critical" : "warning",
  category: "data_health",
  entity: { host: episode.host },
  started_at_unix_ms: episode.startedAtUnixMs,
  detected_at_unix_ms: Math.max(episode.startedAtUnixMs, episode.nowUnixMs),
  value: null,
  unit: "",
  expected: null,
  summary: episode.summary.slice(0, 1000),
  labels: episode.subject === "" ? {} : { topic: episode.subject },
  evidence: [],
});
