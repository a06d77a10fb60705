import type { CallGraph } from "./call-graph.ts";
import { type ScoredMetric, sureOf } from "./change-score.ts";
import type { Clue } from "./incident.ts";
import { metricReason } from "./metric-clues.ts";

/*
 * Callers that wait longer point at what they call: a callee of which all callers wait is suspect, one that others call without waiting is not.
 * The measure is at the caller's side, so that it sees what the callee's own metrics cannot: the network between the two.
 */

/** A caller's metric does not tell which of its callees it waited for. */
const UNSURE_LEFT = 0.5;

export const clientClues = (metrics: readonly ScoredMetric[], graph: CallGraph): readonly Clue[] => {
  const waiting = new Map<string, { readonly metric: ScoredMetric; readonly sure: number }>();
  for (const metric of metrics) {
    if (metric.family !== "client_latency") continue;
    const sure = metric.shift > 0 ? sureOf(metric.z) : 0;
    if (sure >= (waiting.get(metric.service)?.sure ?? 0)) waiting.set(metric.service, { metric, sure });
  }
  const callees = new Set([...waiting.keys()].flatMap((caller) => [...graph.calleesOf(caller)]));
  return [...callees].flatMap((service) => {
    const callers = [...graph.callersOf(service)].flatMap((caller) => waiting.get(caller) ?? []);
    const [top] = callers.toSorted((a, b) => b.sure - a.sure);
    if (top === undefined || top.sure <= 0) return [];
    const mean = callers.reduce((sum, { sure }) => sum + sure, 0) / callers.length;
    const reason = `its callers wait longer: ${top.metric.service}'s ${metricReason(top.metric)}`;
    return [{ source: "latency" as const, service, strength: UNSURE_LEFT * mean, reason }];
  });
};
