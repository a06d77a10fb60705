import { retentionQuery, storeDisks, storedDays } from "../space/stored-days.ts";
import type { Query } from "../store/query.ts";
import { detectorSnapshot } from "./detector-snapshot.ts";
import { findingsByEntity, findingsById } from "./findings.ts";
import { gateways } from "./gateways.ts";
import { heartbeats } from "./heartbeats.ts";
import { incidentMetrics } from "./incident-metrics.ts";
import { incidentById, incidentsList } from "./incidents.ts";
import { lastSequences } from "./last-sequences.ts";
import { ledger } from "./ledger.ts";
import { ledgerAccounts } from "./ledger-accounts.ts";
import { logHistogram } from "./log-histogram.ts";
import { logResources } from "./log-resources.ts";
import { logSearch } from "./log-search.ts";
import { metricFact } from "./metric-fact.ts";
import { metricHourBands, metricHours } from "./metric-hours.ts";
import { metricLatest } from "./metric-latest.ts";
import { metricNames } from "./metric-names.ts";
import { metricQuantile } from "./metric-quantile.ts";
import { metricRange } from "./metric-range.ts";
import { rollupProgress } from "./metric-rollups.ts";
import { metricSeries } from "./metric-series.ts";
import { hostSeconds, logHours, logReplay, sampleHours } from "./replay.ts";
import { resultsByCommand } from "./results.ts";
import { runById, runsByIncident } from "./runs.ts";
import { traceLogs } from "./trace-logs.ts";

/** Every named query: evidence cites them by name. */
export const QUERIES: readonly Query[] = [
  detectorSnapshot,
  findingsByEntity,
  findingsById,
  gateways,
  heartbeats,
  hostSeconds,
  incidentById,
  incidentMetrics,
  incidentsList,
  lastSequences,
  ledger,
  ledgerAccounts,
  logHistogram,
  logHours,
  logReplay,
  logResources,
  logSearch,
  metricFact,
  metricHourBands,
  metricHours,
  metricLatest,
  metricNames,
  metricQuantile,
  metricRange,
  metricSeries,
  resultsByCommand,
  retentionQuery,
  rollupProgress,
  runById,
  runsByIncident,
  sampleHours,
  storeDisks,
  storedDays,
  traceLogs,
];
