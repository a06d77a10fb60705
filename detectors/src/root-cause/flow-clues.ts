import { type CallGraph, nearestCallees } from "./call-graph.ts";
import { type ScoredMetric, SUSTAINED_VALUES_MIN, sureOf } from "./change-score.ts";
import type { Clue, IncidentEvidence } from "./incident.ts";
import { metricReason } from "./metric-clues.ts";
import { familyOf, latencyPreference } from "./metric-family.ts";

/*
 * Lost time and failed requests travel from callee to caller. Counted in seconds and in requests, what a service lost is the sum of what its callees
 * lost and what it lost itself; the latter is its own part of the incident. A service that lost only what its callees lost passes them on.
 */

interface Loss {
  readonly metric: ScoredMetric;
  readonly lost: number;
  /** In standard deviations of what is lost in normal times. */
  readonly z: number;
}

type Losses = ReadonlyMap<string, Loss>;

/** Spreads beyond which a latency is a loss; below, it is the normal to and fro. */
const SPREADS_MIN = 3;
/** What a service that only passes on its callees' losses keeps, so that it still ranks above those that lost nothing. */
const PASSED_ON = 0.15;
/** Lost time explains failed requests only in part, and the other way round. */
const OTHER_SYMPTOM_LEFT = 0.5;
/** A share between 0 and 1, or a percentage: no share is above this. */
const SHARE_MAX = 1.5;

/** The best value of those whose time was over at the detection: what was amiss already then is not this incident. NaN where there is none. */
const bestBefore = ({ timesUnixMs, values }: ScoredMetric, detectedAtUnixMs: number, isLowBest: boolean): number => {
  let best = Number.NaN;
  for (let at = 0; at + 1 < values.length; at++) {
    const value = values[at] as number;
    if (!Number.isFinite(value) || (timesUnixMs[at + 1] as number) > detectedAtUnixMs) continue;
    if (Number.isNaN(best) || (isLowBest ? value < best : value > best)) best = value;
  }
  return best;
};

const worseOf = (a: number, b: number, isLowBest: boolean): number =>
  Number.isNaN(b) ? a : isLowBest ? Math.max(a, b) : Math.min(a, b);

/** Requests at one of the window's values, as usual where that one is missing; 1 where they are not known at all. */
const requestsOf = (metrics: readonly ScoredMetric[]): ((at: number) => number) => {
  const requests = metrics.find(({ family }) => family === "requests");
  if (requests === undefined) return () => 1;
  return (at) => {
    const count = requests.values[at] ?? Number.NaN;
    return Math.max(0, Number.isFinite(count) ? count : requests.normal);
  };
};

/** The greatest loss; where the window holds enough values, the second greatest: one alone is a blip. */
const heldOf = (losses: Float64Array): number => {
  const sorted = losses.filter(Number.isFinite).sort();
  return Math.max(0, sorted.at(sorted.length >= SUSTAINED_VALUES_MIN ? -2 : -1) ?? 0);
};

/** No value counts for more than what was held. */
const sumHeld = (losses: Float64Array): number => {
  const held = heldOf(losses);
  return losses.reduce((sum, loss) => (Number.isFinite(loss) ? sum + Math.min(loss, held) : sum), 0);
};

const timeLost = (metric: ScoredMetric, requests: (at: number) => number, detectedAtUnixMs: number): Loss => {
  const base = worseOf(metric.normal, bestBefore(metric, detectedAtUnixMs, true), true);
  const spreads = Float64Array.from(metric.values, (value) => {
    const worse = value - base;
    if (Number.isNaN(worse)) return worse;
    return worse > SPREADS_MIN * metric.spread
      ? metric.spread > 0
        ? worse / metric.spread
        : Number.MAX_SAFE_INTEGER
      : 0;
  });
  const lost = spreads.map((count, at) => (count !== 0 ? ((metric.values[at] as number) - base) * requests(at) : 0));
  return { metric, lost: sumHeld(lost), z: heldOf(spreads) };
};

/** A metric of errors that is no share of the requests counts them. */
const isCount = ({ family, kind }: ScoredMetric): boolean =>
  family === "errors" && !/rate|ratio|percent|pct|share/i.test(kind);

/** Errors beyond those of normal times, of which a Poisson distribution gives some by chance. */
const errorsLost = (metric: ScoredMetric, detectedAtUnixMs: number): Loss => {
  const base = Math.max(0, worseOf(metric.normalMean, bestBefore(metric, detectedAtUnixMs, true), true));
  const total = Math.max(0, sumHeld(Float64Array.from(metric.values, (value) => value - base)));
  return { metric, lost: total, z: total / Math.sqrt(base * metric.values.length + 1) };
};

/** Failed requests beyond those of normal times; as many of them as a binomial distribution gives by chance mean nothing. */
const requestsLost = (metric: ScoredMetric, requests: (at: number) => number, detectedAtUnixMs: number): Loss => {
  const isHealth = metric.family === "health";
  const before = bestBefore(metric, detectedAtUnixMs, !isHealth);
  const scale = Math.max(Math.abs(metric.normalMean), Math.abs(before) || 0) > SHARE_MAX ? 100 : 1;
  const failing = (value: number): number => (isHealth ? 1 - value / scale : value / scale);
  const base = Math.min(1, Math.max(0, failing(worseOf(metric.normalMean, before, !isHealth))));
  let all = 0;
  const lost = Float64Array.from(metric.values, (value, at) => {
    if (!Number.isFinite(value)) return Number.NaN;
    all += requests(at);
    return (failing(value) - base) * requests(at);
  });
  const total = Math.max(0, sumHeld(lost));
  return { metric, lost: total, z: total / Math.sqrt(base * (1 - base) * all + 1) };
};

const byKind = (a: ScoredMetric, b: ScoredMetric): number => (a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : 0);

const lossesOf = (
  byService: ReadonlyMap<string, readonly ScoredMetric[]>,
  source: "latency" | "errors",
  detectedAtUnixMs: number,
): Losses => {
  const losses = new Map<string, Loss>();
  for (const [service, all] of byService) {
    const metrics = all.toSorted(byKind);
    const requests = requestsOf(metrics);
    if (source === "latency") {
      const [best] = metrics
        .filter(({ family }) => family === "latency")
        .toSorted((a, b) => latencyPreference(a.kind) - latencyPreference(b.kind));
      if (best !== undefined) losses.set(service, timeLost(best, requests, detectedAtUnixMs));
    } else {
      const found =
        metrics.find(({ family }) => family === "health") ?? metrics.find(({ family }) => family === "errors");
      if (found === undefined) continue;
      const loss = isCount(found)
        ? errorsLost(found, detectedAtUnixMs)
        : requestsLost(found, requests, detectedAtUnixMs);
      losses.set(service, loss);
    }
  }
  return losses;
};

/** What of a service's loss can have reached the symptom: the widest way from it, each caller being as wide as its own loss. */
const widestFrom = (start: string, losses: Losses, graph: CallGraph): ReadonlyMap<string, number> => {
  const width = new Map<string, number>([[start, losses.get(start)?.lost ?? 0]]);
  const queue = [start];
  for (let service = queue.shift(); service !== undefined; service = queue.shift()) {
    const reach = width.get(service) ?? 0;
    for (const callee of graph.calleesOf(service)) {
      const next = Math.min(reach, losses.get(callee)?.lost ?? reach);
      if (next <= (width.get(callee) ?? 0)) continue;
      width.set(callee, next);
      queue.push(callee);
    }
  }
  return width;
};

/** What of each service's loss is its own, and, where the symptom is known, can have reached it. */
const ownLosses = (losses: Losses, graph: CallGraph, symptom: string | undefined): ReadonlyMap<string, number> => {
  const width =
    symptom !== undefined && (losses.get(symptom)?.lost ?? 0) > 0 ? widestFrom(symptom, losses, graph) : null;
  const own = new Map<string, number>();
  for (const [service, { lost }] of losses) {
    if (lost <= 0) continue;
    let passedOn = 0;
    for (const callee of nearestCallees(graph, service, (name) => losses.has(name)))
      passedOn += losses.get(callee)?.lost ?? 0;
    const kept = Math.max(0, lost - passedOn);
    own.set(service, width === null ? kept : Math.min(kept, width.get(service) ?? 0));
  }
  return own;
};

const sourceOf = (kind: string): "latency" | "errors" | null => {
  const family = familyOf(kind);
  if (family === "latency" || family === "client_latency") return "latency";
  return family === "errors" || family === "health" ? "errors" : null;
};

const reasonOf = (source: "latency" | "errors", { metric, lost }: Loss, kept: number): string => {
  const what =
    source === "latency"
      ? `${metricReason(metric)}; of the time lost`
      : `${metric.kind} says that ${lost.toPrecision(3)} requests more than usual failed; of them`;
  return `${what} ${((100 * kept) / lost).toFixed(0)} % are its own${kept <= 0 ? ", what it calls explains all" : ""}`;
};

const cluesOf = (
  source: "latency" | "errors",
  losses: Losses,
  graph: CallGraph,
  symptom: IncidentEvidence["symptom"],
): readonly Clue[] => {
  const own = ownLosses(losses, graph, symptom?.service);
  const relevance = symptom === undefined || sourceOf(symptom.kind) === source ? 1 : OTHER_SYMPTOM_LEFT;
  let mostOwn = 0;
  let most = 0;
  for (const [service, kept] of own) {
    mostOwn = Math.max(mostOwn, kept);
    most = Math.max(most, losses.get(service)?.lost ?? 0);
  }
  return [...own].flatMap(([service, kept]) => {
    const loss = losses.get(service);
    if (loss === undefined || loss.z <= 0) return [];
    const share = (1 - PASSED_ON) * (mostOwn > 0 ? kept / mostOwn : 0) + PASSED_ON * (loss.lost / most);
    const strength = relevance * share * sureOf(loss.z);
    return [{ source, service, strength, reason: reasonOf(source, loss, kept) }];
  });
};

export const flowClues = (
  metrics: readonly ScoredMetric[],
  graph: CallGraph,
  { detectedAtUnixMs, symptom }: Pick<IncidentEvidence, "detectedAtUnixMs" | "symptom">,
): readonly Clue[] => {
  const byService = Map.groupBy(metrics, ({ service }) => service);
  return (["latency", "errors"] as const).flatMap((source) =>
    cluesOf(source, lossesOf(byService, source, detectedAtUnixMs), graph, symptom),
  );
};
