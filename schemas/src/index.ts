export {
  type AssignedPartition,
  type Bus,
  BusError,
  type BusMessage,
  type CommittedOffset,
  type ConsumeOptions,
  type Consumer,
  MESSAGE_BYTES_MAX,
  type OutgoingMessage,
  type PartitionHandler,
} from "./bus.ts";
export { canonicalJson } from "./canonical-json.ts";
export { Command, CommandResult, InvocationState, SignedCommand } from "./command.ts";
export { keyId, signCommand, verifyCommand } from "./command-signature.ts";
export { DeadLetterHeaders } from "./dead-letter.ts";
export { Entity, entityKey } from "./entity.ts";
export { Evidence } from "./evidence.ts";
export { Finding, Severity } from "./finding.ts";
export { metricId, seriesFingerprint } from "./fingerprint.ts";
export { AgentState, Heartbeat, Ledger } from "./heartbeat.ts";
export {
  INCIDENT_FINDINGS_MAX,
  INCIDENT_RUNS_MAX,
  INCIDENT_TIMELINE_MAX,
  Incident,
  IncidentRecord,
  IncidentState,
  TimelineEntry,
} from "./incident.ts";
export type { Log } from "./log.ts";
export { Notification } from "./notification.ts";
export {
  Autonomy,
  Facts,
  GuardVerdict,
  Outcome,
  Plan,
  RemediationRecord,
  RemediationRun,
  Risk,
  RunState,
  Step,
  Verdict,
} from "./remediation-run.ts";
export {
  BATCH_ROWS_MAX,
  COLUMN_TYPES,
  type Column,
  type ColumnType,
  LOGS,
  METRIC_SAMPLES,
  METRIC_SERIES,
  TELEMETRY,
  type TelemetrySchema,
  TIME_COLUMN,
} from "./telemetry.ts";
export { type Retention, TOPICS, type Topic, type TopicName, topics } from "./topics.ts";
export { UnixMs } from "./unix-ms.ts";
