export { API_ERROR_CODES } from "./api/api-error.ts";
export {
  type ApiPorts,
  Component,
  type Decision,
  type NotReloaded,
  type Refused,
  Reloaded,
  ReportFormat,
} from "./api/api-ports.ts";
export { type ApiOptions, createApi } from "./api/create-api.ts";
export type { DeadLetterPort } from "./api/dlq-routes.ts";
export {
  type AgentPlatform,
  AgentRow,
  type AuditPort,
  AuditVerdict,
  type EnrolmentPort,
  type FleetPort,
  type InputTaken,
  InvocationRow,
  type JobHappening,
  JobLine,
  JobPreview,
  type PluginPort,
  type ShellPort,
  ShellRequest,
  TranscriptRow,
} from "./api/fleet-ports.ts";
export { readBalances, type WaitingPort } from "./api/ledger-routes.ts";
export { type ApiUser, LOCAL_ADMIN, type Principal, Role } from "./api/principal.ts";
export { nativeInsert } from "./migrations/native-insert.ts";
export { renderedMigrations } from "./migrations/rendered-migrations.ts";
export { QUERIES } from "./queries/catalog.ts";
export { findingsByEntity, findingsById } from "./queries/findings.ts";
export { gateways } from "./queries/gateways.ts";
export { heartbeats } from "./queries/heartbeats.ts";
export { incidentMetrics } from "./queries/incident-metrics.ts";
export { incidentById, incidentsList } from "./queries/incidents.ts";
export { ledger } from "./queries/ledger.ts";
export { ledgerAccounts } from "./queries/ledger-accounts.ts";
export { Balance, BalanceState, ledgerBalances } from "./queries/ledger-balance.ts";
export { createLedgerWatch } from "./queries/ledger-watch.ts";
export { logHistogram } from "./queries/log-histogram.ts";
export { logResources } from "./queries/log-resources.ts";
export { logSearch } from "./queries/log-search.ts";
export { metricFact } from "./queries/metric-fact.ts";
export { metricHourBands, metricHours } from "./queries/metric-hours.ts";
export { metricLatest } from "./queries/metric-latest.ts";
export { metricNames } from "./queries/metric-names.ts";
export { metricQuantile } from "./queries/metric-quantile.ts";
export { metricRange } from "./queries/metric-range.ts";
export { type LateWindows, RollupProgress, rollupProgress } from "./queries/metric-rollups.ts";
export { metricSeries } from "./queries/metric-series.ts";
export { hostSeconds, logHours, logReplay, sampleHours } from "./queries/replay.ts";
export { resultsByCommand } from "./queries/results.ts";
export { runById, runsByIncident } from "./queries/runs.ts";
export { traceLogs } from "./queries/trace-logs.ts";
export { retention, type TableRetention } from "./space/retention.ts";
export { createSpace, type Space, type SpacePorts } from "./space/space.ts";
export { retentionQuery, storeDisks, storedDays } from "./space/stored-days.ts";
export type { JsonInsert, NativeInsert } from "./store/insert.ts";
export type { Query } from "./store/query.ts";
export type { Samples } from "./store/read-samples.ts";
export type { Rollups, SamplePart } from "./store/rollups.ts";
export { createStore, type Store, type StoreOptions } from "./store/store.ts";
export { StoreConfig } from "./store/store-config.ts";
export { StoreError } from "./store/store-error.ts";
