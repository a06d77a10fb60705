import { callGraph, edgesOf } from "./call-graph.ts";
import type { TemplateOf } from "./calls.ts";
import { type ScoredMetric, scoreMetrics, sureOf } from "./change-score.ts";
import { clientClues } from "./client-clues.ts";
import { flowClues } from "./flow-clues.ts";
import type { ChangeEvent, Clue, IncidentEvidence, Source } from "./incident.ts";
import { templatesOf } from "./message-templates.ts";
import { metricReason, resourceClues } from "./metric-clues.ts";
import type { MetricFamily } from "./metric-family.ts";
import { servicesOf, type Windows, windowClues, windowsOf } from "./windows.ts";

export interface RankedService {
  readonly name: string;
  /** 0..1. */
  readonly score: number;
  /** What speaks against it, strongest first. */
  readonly reasons: readonly string[];
  /** Why another one is likelier; absent for the first. */
  readonly whyNot?: string;
}

export interface RankedMetric {
  readonly service: string;
  readonly kind: string;
  readonly score: number;
  readonly reason: string;
}

export interface CauseRanking {
  readonly services: readonly RankedService[];
  readonly metrics: readonly RankedMetric[];
  /** One or two sentences for a person. */
  readonly explanation: string;
}

/** How far a source is trusted when it is sure. */
const TRUST: Readonly<Record<Source, number>> = {
  resource: 0.9,
  latency: 0.9,
  errors: 0.9,
  spans: 0.9,
  behaviour: 0.9,
  changes: 0.5,
};

/** A change this long before the detection has half the weight of one right before it. */
const CHANGE_HALF_LIFE_MS = 900_000;
const CHANGE_WINDOW_MS = 3_600_000;
const REASONS_MAX = 5;
const METRICS_RANKED_MAX = 200;

const changeClues = (changes: readonly ChangeEvent[], detectedAtUnixMs: number): readonly Clue[] =>
  changes.flatMap(({ service, atUnixMs, summary }) => {
    const ageMs = detectedAtUnixMs - atUnixMs;
    if (!(ageMs >= 0 && ageMs <= CHANGE_WINDOW_MS)) return [];
    const strength = 2 ** (-ageMs / CHANGE_HALF_LIFE_MS);
    return [
      { source: "changes", service, strength, reason: `changed ${Math.round(ageMs / 1000)} s before: ${summary}` },
    ];
  });

const metricClues = (
  metrics: readonly ScoredMetric[],
  windows: Windows,
  evidence: IncidentEvidence,
): readonly Clue[] => {
  const { normal, now } = windows;
  const edges = [normal, ...now].flatMap(({ tree }) => edgesOf(tree));
  const graph = callGraph([...(evidence.graph ?? []), ...edges]);
  const [before, since] = [servicesOf([normal]), servicesOf(now)];
  const isTraced = (service: string): boolean => before.has(service) && since.has(service);
  return [
    ...resourceClues(metrics),
    // Spans measure the same times as a latency metric, but call by call.
    ...[...flowClues(metrics, graph, evidence), ...clientClues(metrics, graph)].filter(
      ({ source, service }) => source !== "latency" || !isTraced(service),
    ),
  ];
};

interface Candidate {
  readonly name: string;
  readonly score: number;
  readonly clues: readonly Clue[];
}

/** A noisy or: each source by itself may be the whole explanation, and several that agree are surer than one. */
const candidateOf = (name: string, clues: readonly Clue[]): Candidate => {
  const best = new Map<Source, Clue>();
  for (const clue of clues) {
    if (clue.strength > (best.get(clue.source)?.strength ?? 0)) best.set(clue.source, clue);
  }
  let doubt = 1;
  for (const { source, strength } of best.values()) doubt *= 1 - TRUST[source] * Math.min(1, strength);
  return { name, score: 1 - doubt, clues: [...best.values()].sort((a, b) => b.strength - a.strength) };
};

/** FNV-1a: among equals the order is fixed, and the alphabet favours nobody. */
const hashOf = (text: string): number => {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
};

const rankServices = (names: ReadonlySet<string>, clues: readonly Clue[]): readonly Candidate[] => {
  const byService = Map.groupBy(clues, ({ service }) => service);
  return [...names]
    .map((name) => candidateOf(name, byService.get(name) ?? []))
    .sort((a, b) => b.score - a.score || hashOf(a.name) - hashOf(b.name) || (a.name < b.name ? -1 : 1));
};

/** The metrics that show what each source tells of. */
const SHOWN_BY: Readonly<Record<Source, readonly MetricFamily[]>> = {
  resource: ["resource", "other"],
  latency: ["latency", "client_latency"],
  errors: ["errors", "health"],
  spans: ["latency", "client_latency"],
  behaviour: ["errors", "health"],
  changes: [],
};
/** A metric that shows something else than the strongest reason. */
const BESIDE_LEFT = 0.5;

const rankMetrics = (metrics: readonly ScoredMetric[], services: readonly Candidate[]): readonly RankedMetric[] => {
  const byName = new Map(services.map((one) => [one.name, one]));
  const scoreOf = ({ service, family, z }: ScoredMetric): number => {
    const { score = 0, clues = [] } = byName.get(service) ?? {};
    const shown = clues[0] === undefined ? [] : SHOWN_BY[clues[0].source];
    return score * sureOf(z) * (shown.includes(family) ? 1 : BESIDE_LEFT);
  };
  return metrics
    .map((metric) => ({ metric, score: scoreOf(metric) }))
    .sort(
      (a, b) =>
        b.score - a.score || hashOf(a.metric.kind + a.metric.service) - hashOf(b.metric.kind + b.metric.service),
    )
    .slice(0, METRICS_RANKED_MAX)
    .map(({ metric, score }) => ({ service: metric.service, kind: metric.kind, score, reason: metricReason(metric) }));
};

const whyNot = (loser: Candidate, winner: Candidate): string => {
  const [own] = loser.clues;
  const [other] = winner.clues;
  if (own === undefined) return "nothing changed in it that the evidence shows";
  if (other === undefined) return "the evidence is as thin as for the first";
  return own.source === other.source
    ? `${winner.name} shows the same more strongly: ${other.reason}`
    : `it explains less than ${winner.name}: ${other.reason}`;
};

const explanationOf = ([first, second]: readonly Candidate[]): string => {
  if (first === undefined || first.clues.length === 0) return "Nothing in the evidence points at any one service.";
  const lead = `${first.name} is the likeliest cause (${first.score.toFixed(2)}): ${first.clues[0]?.reason ?? ""}.`;
  if (second === undefined || second.clues.length === 0) return lead;
  return `${lead} Next is ${second.name} (${second.score.toFixed(2)}): ${second.clues[0]?.reason ?? ""}.`;
};

const messagesOf = ({ normalLogs = [], logs = [] }: IncidentEvidence): readonly string[] =>
  [...normalLogs, ...logs].map(({ message }) => message);

/** Which service, and which of its metrics, an incident most likely comes from, and why not the others. */
export const rankCauses = (
  evidence: IncidentEvidence,
  templateOf: TemplateOf = templatesOf(messagesOf(evidence)),
): CauseRanking => {
  const { detectedAtUnixMs, spans = [], logs = [], changes = [] } = evidence;
  const windows = windowsOf(evidence);
  const metrics = scoreMetrics(evidence.metrics, detectedAtUnixMs);
  const clues: readonly Clue[] = [
    ...metricClues(metrics, windows, evidence),
    ...windowClues(windows, templateOf),
    ...changeClues(changes, detectedAtUnixMs),
  ];
  const names = new Set([...evidence.metrics, ...spans, ...logs, ...clues].map(({ service }) => service));
  const ranked = rankServices(names, clues);
  const [winner] = ranked;
  return {
    services: ranked.map((one) => ({
      name: one.name,
      score: one.score,
      reasons: one.clues.slice(0, REASONS_MAX).map(({ reason }) => reason),
      ...(winner === undefined || one === winner ? {} : { whyNot: whyNot(one, winner) }),
    })),
    metrics: rankMetrics(metrics, ranked),
    explanation: explanationOf(ranked),
  };
};
