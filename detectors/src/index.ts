export { stepSeriesAnomaly } from "./anomaly/ensemble.ts";
export { type HostJudge, judgeRow, makeHostJudge, topMetrics } from "./anomaly/host/host-judge.ts";
export { ALERT_SURPRISE } from "./anomaly/news.ts";
export { reasonOf } from "./anomaly/reason.ts";
export { BYTES_PER_SERIES, growSeriesAnomaly, startSeriesAnomaly } from "./anomaly/state.ts";
export { type FaultCategory, KNOWN_FAULTS, type KnownFault } from "./clusters/known-faults.ts";
export { type LineTemplate, templateText, type Variable } from "./clusters/line-template.ts";
export { knownFaults } from "./clusters/match-faults.ts";
export { TemplateMiner } from "./clusters/template-miner.ts";
export { DEFAULT_RULES } from "./default-rules.ts";
export type { Detector, History, Saved, Step } from "./detector.ts";
export { CROSSING_PROBABILITY_WARN } from "./forecast/capacity.ts";
export { type Forecast, forecast } from "./forecast/forecast.ts";
export type { HourlySeries } from "./hourly.ts";
export type { ChangeEvent, IncidentEvidence, LogLine, MetricSeries, Span } from "./root-cause/incident.ts";
export { type CauseRanking, type RankedMetric, type RankedService, rankCauses } from "./root-cause/rank-causes.ts";
export { DetectorsConfig, Rule, rulesOf } from "./runner/config.ts";
export type { PartitionStatus, Snapshots } from "./runner/partition.ts";
export { createReplay, type HourReplay, type StreamReplay } from "./runner/replay.ts";
export {
  createRunner,
  type HistoriesAsked,
  type HourMemory,
  type RuleChanges,
  type Runner,
  type RunnerOptions,
  type RunnerStatus,
} from "./runner/runner.ts";
