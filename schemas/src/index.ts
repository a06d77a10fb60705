export {
  AgentIdentity,
  CERTIFICATES_MAX,
  EnrolmentToken,
  IdentityName,
  IdentityRecord,
  IssuedCertificate,
  identityKey,
  SiteName,
  TOKEN_USES_MAX,
  tokenKey,
} from "./agent-identity.ts";
export { AuditRecord } from "./audit-record.ts";
export { type Batch, type BatchOf, decodeBatch } from "./batch/batch.ts";
export { BatchBuilder, type RowRun } from "./batch/batch-builder.ts";
export { BATCH_ERROR_CODES, BatchError, type BatchErrorCode } from "./batch/batch-error.ts";
export { BatchHeader, decodeHeader } from "./batch/batch-header.ts";
export {
  ARRAY_ENTRIES_MAX,
  BATCH_FLUSH_BYTES,
  BLOCK_BYTES_MAX,
  MAP_ENTRIES_MAX,
  STRING_BYTES_MAX,
} from "./batch/batch-limits.ts";
export { type LineHead, LogLines, type TextSpan } from "./batch/log-lines.ts";
export type { ArrayColumn, MapColumn, StringColumn } from "./batch/native-block-reader.ts";
export type { ColumnName, TelemetryRow } from "./batch/telemetry-row.ts";
export {
  type AssignedPartition,
  type Bus,
  BusError,
  type BusMessage,
  type CommittedOffset,
  type ConsumeOptions,
  type Consumer,
  HAND_OVER_MS_MAX,
  KEY_AND_HEADERS_BYTES_MAX,
  MESSAGE_BYTES_MAX,
  METADATA_BYTES_MAX,
  type OutgoingMessage,
  type PartitionHandler,
  PUBLISH_BYTES_MAX,
  PUBLISH_WHOLE_BYTES_MAX,
} from "./bus.ts";
export { canonicalJson, readCanonical } from "./canonical-json.ts";
export {
  AgentOrder,
  Approval,
  Cancel,
  Command,
  CommandArgs,
  CommandResult,
  DISPATCH_HOSTS_MAX,
  Dispatch,
  Grant,
  HostName,
  hasEnded,
  InvocationState,
  Progress,
  ResourceLimits,
  SignedCancel,
  SignedGrant,
} from "./command.ts";
export { DeadLetterHeaders } from "./dead-letter.ts";
export { Entity, entityKey } from "./entity.ts";
export { Evidence } from "./evidence.ts";
export { Finding, Severity } from "./finding.ts";
export { metricId, resourceId, seriesFingerprint } from "./fingerprint.ts";
export { GatewayReport } from "./gateway-report.ts";
export {
  argsSha256,
  commandsOf,
  dispatchOf,
  type GrantTerms,
  keyId,
  orderDistrust,
  signCancel,
  signGrant,
  type VerifiedCommand,
  verifyCancel,
  verifyCommand,
} from "./grant-signature.ts";
export { AgentState, Checkpoint, Heartbeat, Ledger, TopicLedgers } from "./heartbeat.ts";
export { type HostProof, HostTree, isAmong } from "./host-tree.ts";
export {
  INCIDENT_FINDINGS_MAX,
  INCIDENT_RUNS_MAX,
  INCIDENT_TIMELINE_MAX,
  Incident,
  IncidentRecord,
  IncidentState,
  TimelineEntry,
} from "./incident.ts";
export { InsertError } from "./insert-error.ts";
export { isCommand } from "./is-command.ts";
export { BatchPolicy, InvocationCounts, Job, JobRequest, JobState, TargetSelector } from "./job.ts";
export type { Log } from "./log.ts";
export { Notification } from "./notification.ts";
export {
  DesiredPlugin,
  DesiredPlugins,
  PluginExecutor,
  PluginManifest,
  PluginName,
  PluginRelease,
  PluginRollout,
  PluginStatus,
  PluginWish,
  SemVer,
} from "./plugin.ts";
export { releaseDistrust, signRelease } from "./plugin-signature.ts";
export { releaseBytes } from "./release-bytes.ts";
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
  LOG_RESOURCES,
  LOGS,
  METRIC_HISTOGRAMS,
  METRIC_SAMPLES,
  METRIC_SERIES,
  SCHEMAS_OF_TOPIC,
  SERIES_KINDS,
  type SeriesKind,
  TELEMETRY,
  type TelemetrySchema,
  type TelemetryTopic,
  TIME_COLUMN,
  TOPIC_OF,
} from "./telemetry.ts";
export { type Retention, TOPICS, type Topic, type TopicName, topics } from "./topics.ts";
export { UnixMs } from "./unix-ms.ts";
