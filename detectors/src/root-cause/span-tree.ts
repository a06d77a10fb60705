import type { Span } from "./incident.ts";

/** Spans with their parents' places, and each one's own time: its duration without the time that its children cover. */
export interface SpanTree {
  readonly spans: readonly Span[];
  /** The parent's place, -1 for none. */
  readonly parents: Int32Array;
  readonly selfUs: Float64Array;
  /** Whom a span waits for: the first other service among its children; null for none. */
  readonly callees: readonly (string | null)[];
}

/** Spans beyond these, in the order given, are left out. */
const SPANS_MAX = 200_000;

export const spanTree = (all: readonly Span[]): SpanTree => {
  const spans = all.length > SPANS_MAX ? all.slice(0, SPANS_MAX) : all;
  const places = new Map<string, Map<string, number>>();
  spans.forEach(({ traceId, spanId }, at) => {
    const trace = places.get(traceId) ?? new Map<string, number>();
    places.set(traceId, trace);
    trace.set(spanId, at);
  });
  const parents = Int32Array.from(spans, ({ traceId, spanId, parentSpanId }) =>
    parentSpanId === "" || parentSpanId === spanId ? -1 : (places.get(traceId)?.get(parentSpanId) ?? -1),
  );
  const callees = new Array<string | null>(spans.length).fill(null);
  const isLeaf = new Uint8Array(spans.length).fill(1);
  spans.forEach(({ service }, at) => {
    const parent = parents[at] as number;
    if (parent < 0) return;
    isLeaf[parent] = 0;
    if (spans[parent]?.service !== service) callees[parent] ??= service;
  });
  const selfUs = selfTimes(spans, parents);
  takeOffWaits(spans, callees, isLeaf, selfUs);
  return { spans, parents, selfUs, callees };
};

const startOf = (spans: readonly Span[], at: number): number => spans[at]?.startUnixUs ?? 0;

/** Children may overlap each other and outlive their parent: the union of what they cover of it counts. */
const selfTimes = (spans: readonly Span[], parents: Int32Array): Float64Array => {
  const self = Float64Array.from(spans, ({ durationUs }) => Math.max(0, durationUs));
  const coveredTo = Float64Array.from(spans, ({ startUnixUs }) => startUnixUs);
  const byStart = Int32Array.from(spans.keys()).sort((a, b) => startOf(spans, a) - startOf(spans, b) || a - b);
  for (const at of byStart) {
    const parent = parents[at] as number;
    const child = spans[at];
    const outer = spans[parent];
    if (child === undefined || outer === undefined) continue;
    const from = Math.max(child.startUnixUs, coveredTo[parent] as number);
    const to = Math.min(child.startUnixUs + child.durationUs, outer.startUnixUs + outer.durationUs);
    if (to <= from) continue;
    self[parent] = Math.max(0, (self[parent] as number) - (to - from));
    coveredTo[parent] = to;
  }
  return self;
};

/**
 * Asynchronous code opens a span beside the one that waits for another service; while the latter waits, the former does no work. Of a span without
 * children, the time that the same service in the same trace waits in another one is taken off.
 */
const takeOffWaits = (
  spans: readonly Span[],
  callees: readonly (string | null)[],
  isLeaf: Uint8Array,
  selfUs: Float64Array,
): void => {
  const waits = new Map<string, { readonly startUs: number; endUs: number }[]>();
  const keyOf = ({ traceId, service }: Span) => `${traceId}\u0000${service}`;
  const waiting = [...spans.keys()].filter((at) => callees[at] !== null);
  for (const at of waiting.sort((a, b) => startOf(spans, a) - startOf(spans, b))) {
    const span = spans[at] as Span;
    const list = waits.get(keyOf(span)) ?? [];
    waits.set(keyOf(span), list);
    const last = list.at(-1);
    const endUs = span.startUnixUs + span.durationUs;
    if (last !== undefined && last.endUs >= span.startUnixUs) last.endUs = Math.max(last.endUs, endUs);
    else list.push({ startUs: span.startUnixUs, endUs });
  }
  spans.forEach((span, at) => {
    if (isLeaf[at] === 0) return;
    const endUs = span.startUnixUs + span.durationUs;
    const list = waits.get(keyOf(span)) ?? [];
    for (let next = firstEndingAfter(list, span.startUnixUs); next < list.length; next++) {
      const wait = list[next];
      if (wait === undefined || wait.startUs >= endUs) break;
      const overlap = Math.min(wait.endUs, endUs) - Math.max(wait.startUs, span.startUnixUs);
      selfUs[at] = Math.max(0, (selfUs[at] as number) - overlap);
    }
  });
};

const firstEndingAfter = (waits: readonly { readonly endUs: number }[], timeUs: number): number => {
  let low = 0;
  let high = waits.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((waits[middle]?.endUs ?? 0) <= timeUs) low = middle + 1;
    else high = middle;
  }
  return low;
};
