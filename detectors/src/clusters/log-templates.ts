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
import { type Line, type LogContext, SEVERITY_ERROR } from "./log-finding.ts";
import { LogTemplatesConfig } from "./log-templates-config.ts";
import { loadMiner, type Miner, movedTemplates, recognise, saveMiner, startMiner } from "./miner.ts";
import { settleNewErrors } from "./new-error.ts";
import { settleNovelties } from "./new-template.ts";
import { countLine, settlePauses } from "./template-counts.ts";
import { settleTogether } from "./template-events.ts";
import {
  FLOW_LAYOUT,
  growFlows,
  indexPairs,
  PAIR_LAYOUT,
  type PairState,
  renumberStreams,
  renumberTemplates,
  startPairs,
} from "./template-pairs.ts";

export interface LogTemplatesState {
  readonly miner: Miner;
  readonly bursts: BurstState;
  readonly pairs: PairState;
}

/** Templates come and go, and are merged; what was counted for them follows. */
const follow = ({ miner, bursts, pairs }: LogTemplatesState, findings: Finding[]): void => {
  const places = movedTemplates(miner);
  if (places === null) return;
  renumberCandidates(bursts, places);
  findings.push(...renumberTemplates(pairs, places));
};

const readLine = (line: Line, miner: Miner, window: LogWindow, row: number): void => {
  const timeMs = window.times[row] as number;
  const severity = window.severities[row] as number;
  const recognised = recognise(miner, window.body(row), timeMs);
  line.slot = window.slots[row] as number;
  line.second = Math.floor(timeMs / 1000);
  line.severity = severity;
  line.isError = severity >= SEVERITY_ERROR || (severity === 0 && (recognised & 1) === 1);
  line.template = recognised >> 1;
};

const settle = ({ bursts, pairs }: LogTemplatesState, context: LogContext): void => {
  const secondOf = (slot: number): number => streamSecond(bursts, slot, context.window.nowUnixMs);
  settleBursts(bursts, context);
  settleNewErrors(pairs, secondOf, context);
  settleNovelties(pairs, secondOf, context);
  settlePauses(pairs, secondOf, context);
  settleTogether(pairs, secondOf, context);
};

const Kinds = z.strictObject({
  new_template: SavedEpisodes,
  rate_change: SavedEpisodes,
  vanished_template: SavedEpisodes,
});

const Kept = z.strictObject({
  miner: z.unknown(),
  uncounted: z.number(),
  refused: z.number(),
  bursts: SavedEpisodes,
  new_errors: SavedEpisodes,
  one: Kinds,
  many: Kinds,
});

const keptKinds = (episodes: PairState["one"]): z.input<typeof Kinds> => ({
  new_template: [...episodes.new_template],
  rate_change: [...episodes.rate_change],
  vanished_template: [...episodes.vanished_template],
});

const loadedKinds = (kept: z.infer<typeof Kinds>): PairState["one"] => ({
  new_template: new Map(kept.new_template),
  rate_change: new Map(kept.rate_change),
  vanished_template: new Map(kept.vanished_template),
});

const prefixed = (prefix: string, columns: Readonly<Record<string, Float64Array>>): Record<string, Float64Array> =>
  Object.fromEntries(Object.entries(columns).map(([name, values]) => [`${prefix}${name}`, values]));

const unprefixed = (prefix: string, columns: Readonly<Record<string, Float64Array>>): Record<string, Float64Array> =>
  Object.fromEntries(
    Object.entries(columns)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, values]) => [name.slice(prefix.length), values]),
  );

/**
 * Counts templates of log lines, and finds bursts of errors, errors and lines of a new kind, kinds whose rate has changed, and kinds that
 * are missing. Its slots are the streams'.
 */
export const logTemplates: Detector<LogTemplatesConfig, LogTemplatesState, LogWindow> = {
  name: "log_templates",
  version: 3,
  config: LogTemplatesConfig,
  start: () => ({ miner: startMiner(), bursts: startBursts(), pairs: startPairs() }),

  step(state, window, config) {
    const { bursts, pairs, miner } = state;
    growStreams(bursts, window.streams.length);
    growFlows(pairs, window.streams.length);
    const findings: Finding[] = [];
    const line: Line = { slot: 0, second: 0, severity: 0, isError: false, template: 0 };
    const context: LogContext = { window, config, miner, line, findings };
    for (let row = 0; row < window.count; row++) {
      follow(state, findings);
      readLine(line, miner, window, row);
      observeStream(bursts, context);
      countLine(pairs, context);
    }
    if (window.isTick) settle(state, context);
    return { state, findings };
  },

  forget(state, kept) {
    const findings = [...forgetStreams(state.bursts, kept), ...renumberStreams(state.pairs, kept)];
    return { state, findings };
  },

  save({ miner, bursts, pairs }) {
    const mined = saveMiner(miner);
    const episodes = [bursts.episodes, pairs.newErrors, ...Object.values(pairs.one), ...Object.values(pairs.many)];
    return {
      json: {
        miner: mined.json,
        uncounted: pairs.uncounted,
        refused: pairs.refused,
        bursts: [...bursts.episodes],
        new_errors: [...pairs.newErrors],
        one: keptKinds(pairs.one),
        many: keptKinds(pairs.many),
      } satisfies z.input<typeof Kept>,
      columns: {
        known: mined.known,
        ...prefixed("stream.", saveColumns(bursts.streams, STREAM_LAYOUT)),
        ...prefixed("flow.", saveColumns(pairs.flows, FLOW_LAYOUT)),
        ...prefixed("pair.", saveColumns(pairs.pairs, PAIR_LAYOUT)),
      },
      open: episodes.flatMap(openFindings),
    };
  },

  load({ json, columns }) {
    const kept = Kept.parse(json);
    const pairs: PairState = {
      ...startPairs(),
      pairs: loadColumns(unprefixed("pair.", columns), PAIR_LAYOUT),
      flows: loadColumns(unprefixed("flow.", columns), FLOW_LAYOUT),
      uncounted: kept.uncounted,
      refused: kept.refused,
      newErrors: new Map(kept.new_errors),
      one: loadedKinds(kept.one),
      many: loadedKinds(kept.many),
    };
    indexPairs(pairs);
    return {
      miner: loadMiner(kept.miner, columns.known ?? new Float64Array()),
      bursts: {
        streams: loadColumns(unprefixed("stream.", columns), STREAM_LAYOUT),
        episodes: new Map(kept.bursts),
      },
      pairs,
    };
  },
};
