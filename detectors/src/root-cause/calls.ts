import type { LogLine } from "./incident.ts";
import type { SpanTree } from "./span-tree.ts";

/** One call of a service: its spans in one trace below the first of them, up to where another service is called, and the lines it wrote meanwhile. */
export interface Call {
  readonly service: string;
  /** The operation of its first span: calls of one kind are comparable. */
  readonly kind: string;
  readonly traceId: string;
  readonly startUs: number;
  readonly endUs: number;
  /** The place of the call that made this one; negative for none. */
  readonly caller: number;
  readonly events: Set<string>;
  /** The event that began last, and the service that it waited for. */
  last: { event: string; startUs: number; callee: string | null } | null;
  readonly lines: { readonly timeUnixUs: number; readonly template: string }[];
}

/** What a line says without what varies in it. */
export type TemplateOf = (message: string) => string;

/** Of one call, more events or lines than these add nothing. */
const EVENTS_PER_CALL_MAX = 500;
/** Overlapping calls of one service in one trace: so many are looked at to find the one that wrote a line. */
const OVERLAPPING_CALLS_MAX = 50;

const keyOf = (traceId: string, service: string): string => `${traceId}\u0000${service}`;

const newCall = (
  service: string,
  kind: string,
  traceId: string,
  startUs: number,
  endUs: number,
  caller: number,
): Call => ({
  service,
  kind,
  traceId,
  startUs,
  endUs,
  caller,
  events: new Set(),
  last: null,
  lines: [],
});

const addEvent = (call: Call, tree: SpanTree, at: number): void => {
  const { operation = "", startUnixUs: startUs = 0 } = tree.spans[at] ?? {};
  const callee = tree.callees[at] ?? null;
  const event = callee === null ? `does ${operation}` : `calls ${callee}`;
  if (call.events.size >= EVENTS_PER_CALL_MAX) return;
  call.events.add(event);
  if (call.last === null || startUs >= call.last.startUs) call.last = { event, startUs, callee };
};

/** Spans in the order of their parents, however deep: no recursion. */
const callsOfSpans = (tree: SpanTree): Call[] => {
  const calls: Call[] = [];
  const callOf = new Int32Array(tree.spans.length).fill(-1);
  const isPlaced = new Uint8Array(tree.spans.length);
  for (let start = 0; start < tree.spans.length; start++) {
    const chain: number[] = [];
    for (let at = start; at >= 0 && isPlaced[at] === 0; at = tree.parents[at] as number) {
      isPlaced[at] = 1;
      chain.push(at);
    }
    for (const at of chain.toReversed()) {
      const span = tree.spans[at];
      if (span === undefined) continue;
      const outer = callOf[tree.parents[at] as number] ?? -1;
      const call = calls[outer];
      if (call !== undefined && call.service === span.service) {
        addEvent(call, tree, at);
        callOf[at] = outer;
        continue;
      }
      const { service, operation, traceId, startUnixUs } = span;
      callOf[at] =
        calls.push(newCall(service, operation, traceId, startUnixUs, startUnixUs + span.durationUs, outer)) - 1;
      if (tree.callees[at] !== null) addEvent(calls.at(-1) as Call, tree, at);
    }
  }
  return calls;
};

/** The innermost call that was under way then, or else the last that had begun; `candidates` are in the order of their begin. */
const callAt = (candidates: readonly Call[], timeUs: number): Call | undefined => {
  let low = 0;
  let high = candidates.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((candidates[middle]?.startUs ?? 0) <= timeUs) low = middle + 1;
    else high = middle;
  }
  for (let at = low - 1; at >= 0 && at >= low - OVERLAPPING_CALLS_MAX; at--) {
    const call = candidates[at];
    if (call !== undefined && call.endUs >= timeUs) return call;
  }
  return candidates[Math.max(0, low - 1)];
};

/** Lines go to the call that their trace and time name; those of no known call make one per trace, or per second where there is none. */
export const callsOf = (tree: SpanTree, logs: readonly LogLine[], templateOf: TemplateOf): readonly Call[] => {
  const calls = callsOfSpans(tree);
  const known = Map.groupBy(calls, ({ traceId, service }) => keyOf(traceId, service));
  for (const candidates of known.values()) candidates.sort((a, b) => a.startUs - b.startUs);
  for (const { timeUnixUs, service, traceId, message } of logs) {
    const trace = traceId || `second ${Math.floor(timeUnixUs / 1_000_000)}`;
    const key = keyOf(trace, service);
    let call = callAt(known.get(key) ?? [], timeUnixUs);
    if (call === undefined) {
      call = newCall(service, "", trace, timeUnixUs, timeUnixUs, -1);
      calls.push(call);
      known.set(key, [call]);
    }
    if (call.lines.length < EVENTS_PER_CALL_MAX) call.lines.push({ timeUnixUs, template: templateOf(message) });
  }
  return calls;
};
