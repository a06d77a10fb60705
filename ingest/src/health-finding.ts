import { createHash } from "node:crypto";
import type { Finding } from "@homeostat/schemas";

/** Publishes a finding; app gives it. */
export type ReportFinding = (finding: Finding) => Promise<void>;

export interface HealthEpisode {
  readonly rule:
    | "ingest_store_failing"
    | "ingest_records_malformed"
    | "ingest_bus_failing"
    | "telemetry_malformed"
    | "telemetry_refused"
    | "telemetry_outside_fences"
    | "telemetry_expired"
    | "gateway_bus_failing"
    | "metric_cardinality"
    | "sender_requests_refused"
    | "sender_time_wrong";
  readonly state: "firing" | "resolved";
  /** Where ingest runs. */
  readonly host: string;
  /** What the finding is about, where that is not the host that ingest runs on. */
  readonly entityHost?: string;
  /** What narrows the rule down: a topic, or nothing. */
  readonly subject: string;
  readonly startedAtUnixMs: number;
  readonly nowUnixMs: number;
  readonly summary: string;
  /** Beside `topic`; values are cut to what a finding takes. */
  readonly labels?: Readonly<Record<string, string>>;
}

const CRITICAL: ReadonlySet<HealthEpisode["rule"]> = new Set([
  "ingest_store_failing",
  "ingest_bus_failing",
  "telemetry_expired",
  "gateway_bus_failing",
]);
const LABEL_LENGTH_MAX = 1000;

/** A `data_health` finding about ingest itself: a sick observer heals nobody. */
export const healthFinding = (episode: HealthEpisode): Finding => ({
  finding_id: createHash("sha256")
    .update(`${episode.rule}/${episode.host}/${episode.subject}/${episode.startedAtUnixMs}`)
    .digest("hex")
    .slice(0, 32),
  detector: "ingest",
  rule: episode.rule,
  state: episode.state,
  severity: CRITICAL.has(episode.rule) ? "critical" : "warning",
  category: "data_health",
  entity: { host: episode.entityHost ?? episode.host },
  started_at_unix_ms: episode.startedAtUnixMs,
  detected_at_unix_ms: Math.max(episode.startedAtUnixMs, episode.nowUnixMs),
  value: null,
  unit: "",
  expected: null,
  summary: episode.summary.slice(0, 1000),
  labels: labelsOf(episode),
  evidence: [],
});

const labelsOf = ({ subject, labels }: HealthEpisode): Record<string, string> => {
  if (labels === undefined) return subject === "" ? {} : { topic: subject };
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, value.slice(0, LABEL_LENGTH_MAX)]));
};
