import type { Query } from "../store/query.ts";
import { detectorSnapshot } from "./detector-snapshot.ts";
import { findingsByEntity, findingsById } from "./findings.ts";
import { heartbeats } from "./heartbeats.ts";
import { incidentMetrics } from "./incident-metrics.ts";
import { incidentById, incidentsList } from "./incidents.ts";
import { lastSequences } from "./last-sequences.ts";
import { ledger } from "./ledger.ts";
import { logHistogram } from "./log-histogram.ts";
import { logSearch } from "./log-search.ts";
import { metricFact } from "./metric-fact.ts";
import { metricHourBands, metricHours, sampleDays, summedHours } from "./metric-hours.ts";
import { metricLatest } from "./metric-latest.ts";
import { metricNames } from "./metric-names.ts";
import { metricRange } from "./metric-range.ts";
import { metricSeries } from "./metric-series.ts";
import { hostSeconds, logHours, logReplay, sampleHours } from "./replay.ts";
import { resultsByCommand } from "./results.ts";
import { runById, runsByIncident } from "./runs.ts";

/** Every named query: evidence cites them by name. */
export const QUERIES: readonly Query[] = [
  detectorSnapshot,
  findingsByEntity,
  findingsById,
  heartbeats,
  hostSeconds,
  incidentById,
  incidentMetrics,
  incidentsList,
  lastSequences,
  ledger,
  logHistogram,
  logHours,
  logReplay,
  logSearch,
  metricFact,
  metricHourBands,
  metricHours,
  metricLatest,
  metricNames,
  metricRange,
  metricSeries,
  resultsByCommand,
  runById,
  runsByIncident,
  sampleDays,
  sampleHours,
  summedHours,
];
