import type { Finding } from "@homeostat/schemas";
import { z } from "zod";
import { loadColumns, saveColumns } from "../columns.ts";
import type { Detector } from "../detector.ts";
import { openFindings, SavedEpisodes } from "../episode.ts";
import type { LogWindow } from "../window.ts";
import {
  type BurstState,
  forgetStreams,
  growStreams,
  observeStream,
  renumberCandidates,
  STREAM_LAYOUT,
  settleBursts,
  startBursts,
  streamSecond,
} from "./error-burst.ts";
import { LineMask } from "./line-mask.ts";
import { SEVERITY_ERROR } from "./log-finding.ts";
import { LogTemplatesConfig } from "./log-templates-config.ts";
import {
  type CountState,
  countLine,
  indexPairs,
  PAIR_LAYOUT,
  renumberStreams,
  renumberTemplates,
  settleNewErrors,
  startCounts,
} from "./template-counts.ts";
import {
  classify,
  evict,
  knownLines,
  loadTree,
  makeTree,
  SavedTree,
  saveTree,
  type Template,
  type TemplateTree,
} from "./template-tree.ts";

export interface LogTemplatesState {
  readonly mask: LineMask;
  readonly tree: TemplateTree;
  readonly bursts: BurstState;
  readonly counts: CountState;
}

/** At the templates' cap some go, and what was counted for them. */
const makeRoom = ({ tree, bursts, counts }: LogTemplatesState, findings: Finding[]): void => {
  const places = evict(tree);
  if (places === null) return;
  renumberCandidates(bursts, places);
  findings.push(...renumberTemplates(counts, places));
};

/** Finds the line's template, and counts it there; the answer is as `classify` gives it. */
const recognise = ({ mask, tree }: LogTemplatesState, body: Uint8Array, timeMs: number): number => {
  mask.scan(body);
  const classified = classify(tree, mask.key, () => mask.text);
  const template = tree.templates[classified >> 1] as Template;
  template.count++;
  if (timeMs > template.last_seen_unix_ms) template.last_seen_unix_ms = timeMs;
  return classified;
};

const Kept = z.strictObject({
  tree: SavedTree,
  uncounted: z.number(),
  bursts: SavedEpisodes,
  new_errors: SavedEpisodes,
});

const prefixed = (prefix: string, columns: Readonly<Record<string, Float64Array>>): Record<string, Float64Array> =>
  Object.fromEntries(Object.entries(columns).map(([name, values]) => [`${prefix}${name}`, values]));

const unprefixed = (prefix: string, columns: Readonly<Record<string, Float64Array>>): Record<string, Float64Array> =>
  Object.fromEntries(
    Object.entries(columns)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, values]) => [name.slice(prefix.length), values]),
  );

/** Counts templates of log lines, and finds bursts of errors and errors of a new kind. Its slots are the streams'. */
export const logTemplates: Detector<LogTemplatesConfig, LogTemplatesState, LogWindow> = {
  name: "log_templates",
  version: 1,
  config: LogTemplatesConfig,
  start: () => ({ mask: new LineMask(), tree: makeTree(), bursts: startBursts(), counts: startCounts() }),

  step(state, window, config) {
    const { bursts, counts, tree } = state;
    growStreams(bursts, window.streams.length);
    const findings: Finding[] = [];
    for (let row = 0; row < window.count; row++) {
      makeRoom(state, findings);
      const context = { window, config, templates: tree.templates };
      const timeMs = window.times[row] as number;
      const severity = window.severities[row] as number;
      const slot = window.slots[row] as number;
      const classified = recognise(state, window.body(row), timeMs);
      const isError = severity >= SEVERITY_ERROR || (severity === 0 && (classified & 1) === 1);
      const line = { slot, second: Math.floor(timeMs / 1000), isError, template: classified >> 1 };
      findings.push(...observeStream(bursts, line, context));
      countLine(
        counts,
        { ...line, knownSinceSecond: bursts.streams.at.firstSecond[slot] as number },
        context,
        findings,
      );
    }
    if (window.isTick) {
      const secondOf = (slot: number): number => streamSecond(bursts, slot, window.nowUnixMs);
      findings.push(...settleBursts(bursts, { window, config, templates: tree.templates }));
      findings.push(...settleNewErrors(counts, secondOf, config.new_error?.clear_for_s ?? 0));
    }
    return { state, findings };
  },

  forget(state, kept) {
    const findings = [...forgetStreams(state.bursts, kept), ...renumberStreams(state.counts, kept)];
    return { state, findings };
  },

  save: ({ tree, bursts, counts }) => ({
    json: {
      tree: saveTree(tree),
      uncounted: counts.uncounted,
      bursts: [...bursts.episodes],
      new_errors: [...counts.newErrors],
    } satisfies z.input<typeof Kept>,
    columns: {
      known: knownLines(tree),
      ...prefixed("stream.", saveColumns(bursts.streams, STREAM_LAYOUT)),
      ...prefixed("pair.", saveColumns(counts.pairs, PAIR_LAYOUT)),
    },
    open: [...openFindings(bursts.episodes), ...openFindings(counts.newErrors)],
  }),

  load({ json, columns }) {
    const { tree, uncounted, bursts, new_errors } = Kept.parse(json);
    const counts: CountState = {
      pairs: loadColumns(unprefixed("pair.", columns), PAIR_LAYOUT),
      slotOf: new Map(),
      uncounted,
      newErrors: new Map(new_errors),
    };
    indexPairs(counts);
    return {
      mask: new LineMask(),
      tree: loadTree(tree, columns.known ?? new Float64Array()),
      bursts: { streams: loadColumns(unprefixed("stream.", columns), STREAM_LAYOUT), episodes: new Map(bursts) },
      counts,
    };
  },
};
