import type { Clue } from "./incident.ts";
import type { SpanTree } from "./span-tree.ts";

/*
 * Where the time went. Each span's own time belongs to its service; but where a span only waits for a call to another service, the time that the
 * callee's span does not cover was lost between the two (network, queues, either end's processor), and its neighbours tell which end it was: all
 * callers wait for a slow callee, and a slow caller waits for all its callees.
 */

interface Work {
  readonly service: string;
  readonly operation: string;
  /** Whom the time was spent waiting for; null for the service's own work. */
  readonly callee: string | null;
  readonly durationsMs: number[];
  /** Calls of one trace share its fate: only traces are independent of each other. */
  readonly traces: Set<string>;
}

interface Slowdown {
  readonly work: Work;
  /** Time lost in all calls together. */
  readonly lostMs: number;
  /** 0..1: the part of a typical call's time now that it did not take before. */
  readonly riseShare: number;
  /** 0..1: how surely a call now is slower than one before. */
  readonly certainty: number;
  readonly typicalMs: number;
  readonly normalMs: number;
}

/** One-sided 95 %. */
const Z_95 = 1.645;
/** Times below this are noise of clocks and schedulers. */
const DURATION_FLOOR_MS = 1;

const worksOf = (tree: SpanTree): ReadonlyMap<string, Work> => {
  const works = new Map<string, Work>();
  tree.spans.forEach(({ traceId, service, operation }, at) => {
    const callee = tree.callees[at] ?? null;
    const key = `${service}\u0000${operation}\u0000${callee ?? ""}`;
    const work = works.get(key) ?? { service, operation, callee, durationsMs: [], traces: new Set() };
    works.set(key, work);
    work.traces.add(traceId);
    work.durationsMs.push((tree.selfUs[at] as number) / 1000);
  });
  return works;
};

const quantile = (sorted: Float64Array, share: number): number => {
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  const at = sorted[low] ?? 0;
  return at + (place - low) * ((sorted[Math.min(low + 1, sorted.length - 1)] ?? 0) - at);
};

/** How often a value of `b` is above one of `a`, ties half: the area under the curve, Mann and Whitney's U over its greatest value. */
const shareAbove = (a: Float64Array, b: Float64Array): number => {
  let below = 0;
  let ties = 0;
  let low = 0;
  let high = 0;
  for (const value of b) {
    while (low < a.length && (a[low] as number) < value) low++;
    high = Math.max(high, low);
    while (high < a.length && (a[high] as number) <= value) high++;
    below += low;
    ties += high - low;
  }
  return (below + ties / 2) / (a.length * b.length);
};

/** The mean of how much the quantiles rose: unlike a difference of means, one slow call of the normal time hides nothing. */
const meanRise = (before: Float64Array, now: Float64Array): number => {
  const points = 50;
  let sum = 0;
  for (let at = 0; at < points; at++) {
    const share = (at + 0.5) / points;
    sum += Math.max(0, quantile(now, share) - quantile(before, share));
  }
  return sum / points;
};

const slowdownOf = (work: Work, normal: Work): Slowdown | null => {
  const now = Float64Array.from(work.durationsMs).sort();
  const before = Float64Array.from(normal.durationsMs).sort();
  const [n, m] = [work.traces.size, normal.traces.size];
  const deviation = Math.sqrt((n + m + 1) / (12 * n * m));
  const above = shareAbove(before, now) - Z_95 * deviation;
  const rise = meanRise(before, now);
  const normalMs = quantile(before, 0.5);
  const separated = Math.max(0, 2 * above - 1);
  const riseShare = rise / (rise + normalMs + DURATION_FLOOR_MS);
  if (separated <= 0 || riseShare <= 0) return null;
  return {
    work,
    lostMs: rise * now.length,
    riseShare,
    certainty: separated * riseShare,
    typicalMs: quantile(now, 0.5),
    normalMs,
  };
};

const slowdowns = (tree: SpanTree, normal: SpanTree): readonly Slowdown[] => {
  const before = worksOf(normal);
  return [...worksOf(tree)].flatMap(([key, work]) => {
    const other = before.get(key);
    return other === undefined ? [] : (slowdownOf(work, other) ?? []);
  });
};

/** Calls between two services: of how many in all so many are slow, by how much of their time. */
interface Ways {
  calls: number;
  slowCalls: number;
}

const count = (ways: Map<string, Ways>, key: string, calls: number, slowCalls: number): void => {
  const way = ways.get(key) ?? { calls: 0, slowCalls: 0 };
  way.calls += calls;
  way.slowCalls += slowCalls;
  ways.set(key, way);
};

const slowShare = (ways: ReadonlyMap<string, Ways>, service: string): number => {
  const way = ways.get(service);
  return way === undefined ? 0 : way.slowCalls / way.calls;
};

interface Suspect {
  lostMs: number;
  surelyLostMs: number;
  top: Slowdown | null;
}

/** One service's calls to all others that wait, and all others' calls to it. */
const waysOf = (
  tree: SpanTree,
  all: readonly Slowdown[],
): { readonly out: Map<string, Ways>; readonly into: Map<string, Ways> } => {
  const out = new Map<string, Ways>();
  const into = new Map<string, Ways>();
  for (const { service, callee, durationsMs } of worksOf(tree).values()) {
    if (callee === null) continue;
    count(out, service, durationsMs.length, 0);
    count(into, callee, durationsMs.length, 0);
  }
  for (const { work, riseShare } of all) {
    if (work.callee === null) continue;
    count(out, work.service, 0, work.durationsMs.length * riseShare);
    count(into, work.callee, 0, work.durationsMs.length * riseShare);
  }
  return { out, into };
};

/** With nothing else to tell them apart, the one that was waited for is the likelier of the two. */
const CALLER_LEFT = 0.8;

export const latencyClues = (tree: SpanTree, normal: SpanTree): readonly Clue[] => {
  const all = slowdowns(tree, normal);
  const { out, into } = waysOf(tree, all);
  const suspects = new Map<string, Suspect>();
  const blame = (service: string, slowdown: Slowdown, share: number): void => {
    const suspect = suspects.get(service) ?? { lostMs: 0, surelyLostMs: 0, top: null };
    const lostMs = slowdown.lostMs * share;
    suspect.lostMs += lostMs;
    suspect.surelyLostMs += lostMs * slowdown.certainty;
    if (suspect.top === null || lostMs > suspect.top.lostMs) suspect.top = slowdown;
    suspects.set(service, suspect);
  };
  for (const slowdown of all) {
    const { service, callee } = slowdown.work;
    if (callee === null) blame(service, slowdown, 1);
    else {
      blame(service, slowdown, CALLER_LEFT * slowShare(out, service));
      blame(callee, slowdown, slowShare(into, callee));
    }
  }
  return cluesOf(suspects);
};

const cluesOf = (suspects: ReadonlyMap<string, Suspect>): readonly Clue[] => {
  let most = 0;
  for (const { surelyLostMs } of suspects.values()) most = Math.max(most, surelyLostMs);
  return [...suspects].flatMap(([service, { lostMs, surelyLostMs, top }]) => {
    if (top === null || lostMs <= 0) return [];
    const strength = (surelyLostMs / most) * Math.sqrt(surelyLostMs / lostMs);
    return [{ source: "spans" as const, service, strength, reason: reasonOf(top) }];
  });
};

const reasonOf = ({ work, typicalMs, normalMs }: Slowdown): string => {
  const what =
    work.callee === null
      ? `${work.operation} of ${work.service} itself takes`
      : `calls from ${work.service} to ${work.callee} lose outside of both`;
  return `${what} ${typicalMs.toPrecision(3)} ms, normally ${normalMs.toPrecision(3)} ms`;
};
