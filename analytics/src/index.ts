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
export { renderedMigrations } from "./migrations/rendered-migrations.ts";
export { QUERIES } from "./queries/catalog.ts";
export { findingsByEntity, findingsById } from "./queries/findings.ts";
export { heartbeats } from "./queries/heartbeats.ts";
export { incidentMetrics } from "./queries/incident-metrics.ts";
export { incidentById, incidentsList } from "./queries/incidents.ts";
export { ledger } from "./queries/ledger.ts";
export { logHistogram } from "./queries/log-histogram.ts";
export { logSearch } from "./queries/log-search.ts";
export { metricFact } from "./queries/metric-fact.ts";
export { metricHourBands, metricHours, sampleDays, summedHours } from "./queries/metric-hours.ts";
export { metricLatest } from "./queries/metric-latest.ts";
export { metricNames } from "./queries/metric-names.ts";
export { metricRange } from "./queries/metric-range.ts";
export { metricSeries } from "./queries/metric-series.ts";
export { hostSeconds, logHours, logReplay, sampleHours } from "./queries/replay.ts";
export { resultsByCommand } from "./queries/results.ts";
export { runById, runsByIncident } from "./queries/runs.ts";
export type { JsonInsert, NativeInsert } from "./store/insert.ts";
export type { Query } from "./store/query.ts";
export type { Samples } from "./store/read-samples.ts";
export { createStore, type Store, type StoreOptions } from "./store/store.ts";
export { StoreConfig } from "./store/store-config.ts";
export { StoreError } from "./store/store-error.ts";
