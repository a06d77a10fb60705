/** How long a topic keeps its messages. Compacted topics keep the newest value of each key, and tombstones for a day. */
export type Retention =
  | { readonly kind: "delete"; readonly ms: number; readonly bytesPerPartition: number }
  | { readonly kind: "compact" };

export interface Topic {
  readonly name: string;
  /** What the key is; messages of one key keep their order. */
  readonly key: string;
  /** The default; a fleet sets more for the telemetry topics. Journals have one partition: one engine owns all of it (ADR 0004). */
  readonly partitions: number;
  readonly retention: Retention;
  readonly value: string;
}

const MIB = 1_048_576;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const telemetry: Retention = { kind: "delete", ms: 2 * DAY_MS, bytesPerPartition: 512 * MIB };
const events: Retention = { kind: "delete", ms: 7 * DAY_MS, bytesPerPartition: 64 * MIB };
/** What a job needs for as long as it lives, and after a change of leader from its beginning: a day's commands and results, with output. */
const orders: Retention = { kind: "delete", ms: 7 * DAY_MS, bytesPerPartition: 1_024 * MIB };
const passing: Retention = { kind: "delete", ms: HOUR_MS, bytesPerPartition: 64 * MIB };
const compacted: Retention = { kind: "compact" };

export const TOPICS = {
  "telemetry.logs": { key: "host", partitions: 2, retention: telemetry, value: "batch of log_resources or logs" },
  "telemetry.metrics": {
    key: "host",
    partitions: 2,
    retention: telemetry,
    value: "batch of metric_series, metric_samples or metric_histograms",
  },
  "detect.findings": { key: "host", partitions: 1, retention: events, value: "Finding" },
  "incidents.journal": { key: "incident_id", partitions: 1, retention: compacted, value: "IncidentRecord" },
  "remediation.journal": { key: "run_id", partitions: 1, retention: compacted, value: "RemediationRecord" },
  "agent.jobs": { key: "job_id", partitions: 1, retention: compacted, value: "Job" },
  "agent.commands": { key: "command_id", partitions: 1, retention: orders, value: "Dispatch or SignedCancel" },
  "agent.progress": { key: "host", partitions: 1, retention: passing, value: "Progress" },
  "agent.results": { key: "host", partitions: 1, retention: orders, value: "CommandResult" },
  "agent.identities": {
    key: "host, site server or token",
    partitions: 1,
    retention: compacted,
    value: "AgentIdentity or EnrolmentToken",
  },
  "agent.plugins": { key: "plugin", partitions: 1, retention: compacted, value: "PluginWish" },
  "agent.heartbeats": { key: "host", partitions: 1, retention: compacted, value: "Heartbeat" },
  "ingest.gateways": { key: "gateway", partitions: 1, retention: events, value: "GatewayReport" },
  "notify.outbox": { key: "delivery_id", partitions: 1, retention: compacted, value: "Notification" },
  audit: { key: "sequence", partitions: 1, retention: compacted, value: "AuditRecord" },
  "telemetry.logs.dlq": { key: "host", partitions: 1, retention: events, value: "the refused value" },
  "telemetry.metrics.dlq": { key: "host", partitions: 1, retention: events, value: "the refused value" },
} as const satisfies Record<string, Omit<Topic, "name">>;

export type TopicName = keyof typeof TOPICS;

export const topics = (): readonly Topic[] => Object.entries(TOPICS).map(([name, topic]) => ({ name, ...topic }));
