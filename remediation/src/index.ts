export type { FactQuery } from "./actions/fact-query.ts";
export { RemediationConfig, WebhookConfig } from "./config.ts";
export { createEngine, type Engine, type EnginePorts, type EngineStatus, type Refused } from "./engine/engine.ts";
export type { Decision } from "./engine/event.ts";
export type { GatherFacts } from "./engine/session.ts";
export type { Timers } from "./engine/timers.ts";
export { buildReport, evidenceOf } from "./report/build.ts";
export { renderHtml } from "./report/html.ts";
export type { Change } from "./report/hypotheses.ts";
export { renderMarkdown } from "./report/markdown.ts";
export {
  EVIDENCE_LINES_MAX,
  EVIDENCE_POINTS_MAX,
  EVIDENCE_SERIES_MAX,
  EvidenceAnswer,
  type EvidenceRows,
  type GatherEvidence,
  Report,
  type Suspect,
} from "./report/report.ts";
export { DEFAULT_RUNBOOKS } from "./runbooks/defaults.ts";
export { loadRunbooks, type RunbookProblem } from "./runbooks/load.ts";
export { Runbook } from "./runbooks/runbook.ts";
