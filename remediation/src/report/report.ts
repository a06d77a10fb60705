import {
  Entity,
  Evidence,
  GuardVerdict,
  Incident,
  Outcome,
  RunState,
  TimelineEntry,
  UnixMs,
  Verdict,
} from "@homeostat/schemas";
import { z } from "zod";

const Text = z.string().max(2000);

export const EVIDENCE_SERIES_MAX = 8;
export const EVIDENCE_POINTS_MAX = 2000;
export const EVIDENCE_LINES_MAX = 50;

/** What a piece of evidence says when it is asked again: series for metrics, lines for logs, or why it could not be had. */
export const EvidenceAnswer = z.strictObject({
  series: z
    .array(
      z.strictObject({
        name: z.string().max(500),
        unit: z.string().max(32),
        /** [unix ms, value]; null is a gap. */
        points: z.array(z.tuple([UnixMs, z.number().nullable()])).max(EVIDENCE_POINTS_MAX),
      }),
    )
    .max(EVIDENCE_SERIES_MAX),
  lines: z.array(z.strictObject({ at_unix_ms: UnixMs, text: z.string() })).max(EVIDENCE_LINES_MAX),
  error: Text.nullable(),
});
export type EvidenceAnswer = z.infer<typeof EvidenceAnswer>;

/** One answer for each piece of evidence, in its order. */
export type EvidenceRows = readonly EvidenceAnswer[];

/** Asks again what the findings saw; analytics answers it. */
export type GatherEvidence = (evidence: readonly Evidence[]) => Promise<EvidenceRows>;

export const Hypothesis = z.strictObject({
  name: z.string().max(64),
  statement: Text,
  /** Between 0 and 1: a degree of belief for ordering, no probability. */
  score: z.number().min(0).max(1),
  for: z.array(Text).max(20),
  against: z.array(Text).max(20),
  /** For those that lost; null for the one that is held. */
  why_not: Text.nullable(),
});
export type Hypothesis = z.infer<typeof Hypothesis>;

/** One that an incident may have begun with: a service on a host, or a host. */
export const Suspect = z.strictObject({
  name: z.string().max(600),
  /** Between 0 and 1, for ordering. */
  score: z.number().min(0).max(1),
  reasons: z.array(Text).max(10),
  /** For all but the first. */
  why_not: Text.nullable(),
});
export type Suspect = z.infer<typeof Suspect>;

export const SUSPECTS_MAX = 10;

export const ReportAction = z.strictObject({
  run_id: z.string().max(64),
  runbook: z.string().max(128),
  autonomy: z.string().max(16),
  state: RunState,
  plan: Text.nullable(),
  guards: z.array(GuardVerdict).max(20),
  steps: z.array(z.strictObject({ summary: Text, outcome: Outcome.nullable() })).max(200),
  verdict: Verdict.nullable(),
  reason: Text,
  decided_by: z.string().max(300).nullable(),
  proposed_at_unix_ms: UnixMs,
  ended_at_unix_ms: UnixMs.nullable(),
});
export type ReportAction = z.infer<typeof ReportAction>;

export const ReportEvidence = z.strictObject({
  rule: z.string().max(128),
  evidence: Evidence,
  answer: EvidenceAnswer.nullable(),
});
export type ReportEvidence = z.infer<typeof ReportEvidence>;

/** What happened, why, and what was done, for a person; everything in it comes from records. */
export const Report = z.strictObject({
  incident_id: z.string().max(64),
  title: Text,
  entity: Entity,
  severity: Incident.shape.severity,
  state: Incident.shape.state,
  summary: Text,
  root_cause: z.strictObject({
    statement: Text,
    hypothesis: z.string().max(64).nullable(),
    confidence: z.enum(["high", "medium", "unknown"]),
  }),
  critical_failure: Text,
  impact: Text,
  times: z.strictObject({
    started_at_unix_ms: UnixMs,
    detected_at_unix_ms: UnixMs,
    explained_at_unix_ms: UnixMs.nullable(),
    recovered_at_unix_ms: UnixMs.nullable(),
    detect_ms: z.number().min(0),
    explain_ms: z.number().min(0).nullable(),
    recover_ms: z.number().min(0).nullable(),
  }),
  timeline: z.array(TimelineEntry),
  evidence: z.array(ReportEvidence),
  hypotheses: z.array(Hypothesis),
  /** Where it may have begun, most likely first; why there are none, where there should be some. */
  suspects: z.array(Suspect).max(SUSPECTS_MAX),
  suspects_missing: Text.nullable(),
  actions: z.array(ReportAction),
  next: z.array(Text),
});
export type Report = z.infer<typeof Report>;
