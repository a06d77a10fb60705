import { behaviourClues } from "./behaviour-clues.ts";
import { callsOf, type TemplateOf } from "./calls.ts";
import type { Clue, IncidentEvidence, LogLine, Span } from "./incident.ts";
import { latencyClues } from "./span-latency.ts";
import { type SpanTree, spanTree } from "./span-tree.ts";

/** Spans and lines of one time. */
export interface Window {
  readonly tree: SpanTree;
  readonly logs: readonly LogLine[];
}

export interface Windows {
  readonly normal: Window;
  readonly now: readonly Window[];
}

const windowOf = (spans: readonly Span[], logs: readonly LogLine[]): Window => ({ tree: spanTree(spans), logs });

/**
 * A normal time, and the times to compare with it. Without a normal time, what was before the detection serves as one. With one, the time since the
 * detection is looked at by itself too: in the whole window, a fault that had only just begun is diluted.
 */
export const windowsOf = (evidence: IncidentEvidence): Windows => {
  const { detectedAtUnixMs, spans = [], logs = [], normalSpans = [], normalLogs = [] } = evidence;
  const isSince = (timeUs: number): boolean => timeUs >= detectedAtUnixMs * 1000;
  const since = windowOf(
    spans.filter(({ startUnixUs }) => isSince(startUnixUs)),
    logs.filter(({ timeUnixUs }) => isSince(timeUnixUs)),
  );
  if (normalSpans.length + normalLogs.length > 0)
    return { normal: windowOf(normalSpans, normalLogs), now: [windowOf(spans, logs), since] };
  const before = windowOf(
    spans.filter(({ startUnixUs }) => !isSince(startUnixUs)),
    logs.filter(({ timeUnixUs }) => !isSince(timeUnixUs)),
  );
  return { normal: before, now: [since] };
};

export const windowClues = ({ normal, now }: Windows, templateOf: TemplateOf): readonly Clue[] => {
  const usual = callsOf(normal.tree, normal.logs, templateOf);
  return now.flatMap(({ tree, logs }) => [
    ...latencyClues(tree, normal.tree),
    ...behaviourClues(usual, callsOf(tree, logs, templateOf)),
  ]);
};

export const servicesOf = (windows: readonly Window[]): ReadonlySet<string> =>
  new Set(windows.flatMap(({ tree }) => tree.spans.map(({ service }) => service)));
