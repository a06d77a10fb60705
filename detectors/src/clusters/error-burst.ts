import type { Finding } from "@homeostat/schemas";
import { type Columns, growColumns, makeColumns, pickColumns } from "../columns.ts";
import { announce, clip, type Episodes, findingId, forgetEpisodes, isDue, resolve } from "../episode.ts";
import type { Stream } from "../window.ts";
import {
  BUCKET_SECONDS,
  isFresh,
  type LogContext,
  logEvidence,
  streamEntity,
  templateLabels,
  titleOf,
} from "./log-finding.ts";
import type { LogTemplatesConfig } from "./log-templates-config.ts";
import { templateAt } from "./miner.ts";

const WINDOW_SECONDS = 10;
/** Seconds that are counted apart; a power of two above the window, so that lines out of order find their place. */
const RING = 16;
const HISTORY = 60;

/** Counts that were part of a burst teach nothing. */
const TAINTED = -1;

export const STREAM_LAYOUT = {
  /** The newest second of the stream's own clock, and how far that clock was ahead of the observer's when it came. */
  second: { fill: Number.NaN },
  aheadMs: { fill: 0 },
  firstSecond: { fill: Number.NaN },
  errors: { fill: 0, width: RING },
  errorsSecond: { fill: Number.NaN, width: RING },
  history: { fill: 0, width: HISTORY },
  historyBucket: { fill: Number.NaN, width: HISTORY },
  started: { fill: Number.NaN },
  peak: { fill: 0 },
  clear: { fill: Number.NaN },
  /** The burst's most frequent template, by majority vote (Boyer and Moore 1981): candidate and its lead. */
  candidate: { fill: -1 },
  lead: { fill: 0 },
} as const;

export interface BurstState {
  streams: Columns<typeof STREAM_LAYOUT>;
  episodes: Episodes;
}

export const startBursts = (): BurstState => ({ streams: makeColumns(STREAM_LAYOUT), episodes: new Map() });

const secondsSum = (
  state: BurstState,
  slot: number,
  second: number,
): { count: number; seconds: number; first: number } => {
  const { errors, errorsSecond } = state.streams.at;
  let [count, seconds, first] = [0, 0, second];
  for (let at = slot * RING; at < (slot + 1) * RING; at++) {
    const of = errorsSecond[at] as number;
    if (!(of > second - WINDOW_SECONDS && of <= second)) continue;
    count += errors[at] as number;
    seconds++;
    if (of < first) first = of;
  }
  return { count, seconds, first };
};

/** Errors in ten seconds that would be usual, from the last ten minutes without bursts. */
const usual = (state: BurstState, slot: number, second: number): number => {
  const { history, historyBucket, firstSecond } = state.streams.at;
  const bucket = Math.floor(second / BUCKET_SECONDS);
  const oldest = Math.max(bucket - HISTORY + 1, Math.floor((firstSecond[slot] as number) / BUCKET_SECONDS));
  let [sum, buckets] = [0, Math.max(0, bucket - oldest)];
  for (let at = slot * HISTORY; at < (slot + 1) * HISTORY; at++) {
    const of = historyBucket[at] as number;
    if (!(of >= oldest && of < bucket)) continue;
    if (history[at] === TAINTED) buckets--;
    else sum += history[at] as number;
  }
  return buckets > 0 ? sum / buckets : 0;
};

/** Three standard deviations of a Poisson process above `factor` times the usual. */
const limitOf = (mean: number, config: LogTemplatesConfig): number =>
  Math.max(config.count_min, config.factor * mean + 3 * Math.sqrt(mean));

const historyPlace = (slot: number, bucket: number): number => slot * HISTORY + (bucket % HISTORY);

const taint = (state: BurstState, slot: number, second: number): void => {
  const { history, historyBucket } = state.streams.at;
  const bucket = Math.floor(second / BUCKET_SECONDS);
  historyBucket[historyPlace(slot, bucket)] = bucket;
  history[historyPlace(slot, bucket)] = TAINTED;
};

const countError = (state: BurstState, { slot, second, template }: LogContext["line"]): void => {
  const { errors, errorsSecond, history, historyBucket, started, candidate, lead } = state.streams.at;
  const at = slot * RING + (second % RING);
  if (errorsSecond[at] !== second) {
    errorsSecond[at] = second;
    errors[at] = 0;
  }
  errors[at] = (errors[at] as number) + 1;
  if (candidate[slot] === template) lead[slot] = (lead[slot] as number) + 1;
  else if ((lead[slot] as number) > 0) lead[slot] = (lead[slot] as number) - 1;
  else {
    candidate[slot] = template;
    lead[slot] = 1;
  }
  const bucket = Math.floor(second / BUCKET_SECONDS);
  const place = historyPlace(slot, bucket);
  if (!Number.isNaN(started[slot])) {
    taint(state, slot, second);
    return;
  }
  if (historyBucket[place] !== bucket) {
    historyBucket[place] = bucket;
    history[place] = 0;
  }
  if (history[place] !== TAINTED) history[place] = (history[place] as number) + 1;
};

const burstOf = (
  state: BurstState,
  { slot, second }: { readonly slot: number; readonly second: number },
  { window: { streams, nowUnixMs }, miner, config }: LogContext,
): Finding => {
  const stream = streams[slot] as Stream;
  const at = state.streams.at;
  const startedUnixMs = (at.started[slot] as number) * 1000;
  const template = templateAt(miner, at.candidate[slot] as number);
  const text = template?.text ?? "";
  const high = limitOf(usual(state, slot, second), config);
  const entity = streamEntity(stream);
  const { count } = secondsSum(state, slot, second);
  const most = text === "" ? "." : `, most often: ${clip(text, 500)}`;
  return {
    finding_id: findingId({ rule: config.name, entity, subject: "", startedUnixMs }),
    detector: "log_templates",
    rule: config.name,
    state: "firing",
    severity: config.severity,
    category: config.category,
    entity,
    started_at_unix_ms: startedUnixMs,
    detected_at_unix_ms: nowUnixMs,
    value: count / WINDOW_SECONDS,
    unit: "{error}/s",
    expected: { low: null, high: high / WINDOW_SECONDS },
    summary: clip(
      `${titleOf(config.title, stream)}: ${count} errors in ${WINDOW_SECONDS} s, expected less than ${Math.ceil(high)}${most}`,
      1000,
    ),
    labels: templateLabels(template),
    evidence: [logEvidence(stream, { startedUnixMs, toUnixMs: (second + 1) * 1000, text })],
  };
};

/** Looks whether a burst has begun, and tells of it. Called for each error line, so that batches of any size give the same. */
const judgeBurst = (state: BurstState, slot: number, context: LogContext): void => {
  const { config, findings } = context;
  const { nowUnixMs } = context.window;
  const at = state.streams.at;
  const second = at.second[slot] as number;
  const { count, seconds, first } = secondsSum(state, slot, second);
  const isWarm = second - (at.firstSecond[slot] as number) >= config.warm_up_s;
  const isBurst = count >= limitOf(usual(state, slot, second), config) && seconds >= config.seconds_min;
  if (Number.isNaN(at.started[slot])) {
    if (!isWarm || !isBurst) return;
    at.started[slot] = first;
    at.clear[slot] = Number.NaN;
    taint(state, slot, first);
    taint(state, slot, second);
  }
  if (!isFresh(second, context) || !isDue(state.episodes, slot, { severity: config.severity, nowUnixMs })) return;
  findings.push(announce(state.episodes, slot, burstOf(state, { slot, second }, context), nowUnixMs));
};

/** Looks whether a burst is over; `second` is the stream's time, which goes on while the stream is quiet. */
const settleBurst = (
  state: BurstState,
  slot: number,
  { stream, second }: { readonly stream: Stream; readonly second: number },
  config: LogTemplatesConfig,
): readonly Finding[] => {
  const at = state.streams.at;
  if (Number.isNaN(at.started[slot])) return [];
  const { count } = secondsSum(state, slot, second);
  if (second - (at.started[slot] as number) >= config.shift_after_s) {
    at.historyBucket.fill(Number.NaN, slot * HISTORY, (slot + 1) * HISTORY);
    const place = historyPlace(slot, Math.floor(second / BUCKET_SECONDS) - 1);
    at.historyBucket[place] = Math.floor(second / BUCKET_SECONDS) - 1;
    at.history[place] = count;
    at.firstSecond[slot] = second - BUCKET_SECONDS;
    return endBurst(
      state,
      slot,
      `${titleOf(config.title, stream)}: ${count} errors in 10 s for so long are its new level.`,
    );
  }
  if (count >= limitOf(usual(state, slot, second), config) / 2) at.clear[slot] = Number.NaN;
  else if (Number.isNaN(at.clear[slot])) at.clear[slot] = second;
  if (!(second - (at.clear[slot] as number) >= config.clear_for_s)) return [];
  return endBurst(state, slot, `${titleOf(config.title, stream)}: over; ${count} errors in ${WINDOW_SECONDS} s.`);
};

const endBurst = (state: BurstState, slot: number, summary: string): readonly Finding[] => {
  const at = state.streams.at;
  at.started[slot] = Number.NaN;
  at.clear[slot] = Number.NaN;
  at.candidate[slot] = -1;
  at.lead[slot] = 0;
  return resolve(state.episodes, slot, { summary });
};

/** A stream's own time now: its clock, as far from the observer's as it was at its last line. */
export const streamSecond = (state: BurstState, slot: number, nowUnixMs: number): number => {
  const { second, aheadMs } = state.streams.at;
  return Math.max(second[slot] as number, Math.floor((nowUnixMs + (aheadMs[slot] as number)) / 1000));
};

/** Moves a stream on to a line's second, and judges it with its errors. In event time, so that what was over by then is over, however lines are batched. */
export const observeStream = (state: BurstState, context: LogContext): void => {
  const at = state.streams.at;
  const { slot, second, isError } = context.line;
  const { window, config, findings } = context;
  if (Number.isNaN(at.second[slot])) {
    at.second[slot] = second;
    at.firstSecond[slot] = second;
  }
  if (second > (at.second[slot] as number)) {
    at.second[slot] = second;
    if (!Number.isNaN(at.started[slot]))
      findings.push(...settleBurst(state, slot, { stream: window.streams[slot] as Stream, second }, config));
  }
  at.aheadMs[slot] = (at.second[slot] as number) * 1000 - window.nowUnixMs;
  if (!isError || second <= (at.second[slot] as number) - WINDOW_SECONDS) return;
  countError(state, context.line);
  judgeBurst(state, slot, context);
};

/** At a tick: bursts end when their streams are quiet. */
export const settleBursts = (state: BurstState, { window, config, findings }: LogContext): void => {
  for (let slot = 0; slot < state.streams.slots; slot++) {
    if (Number.isNaN(state.streams.at.started[slot])) continue;
    const second = streamSecond(state, slot, window.nowUnixMs);
    findings.push(...settleBurst(state, slot, { stream: window.streams[slot] as Stream, second }, config));
  }
};

export const growStreams = (state: BurstState, slots: number): void => growColumns(state.streams, STREAM_LAYOUT, slots);

export const forgetStreams = (state: BurstState, kept: Uint32Array): readonly Finding[] => {
  const { episodes, findings } = forgetEpisodes(state.episodes, kept);
  state.streams = pickColumns(state.streams, STREAM_LAYOUT, kept);
  state.episodes = episodes;
  return findings;
};

/** Templates have new places, or none. */
export const renumberCandidates = (state: BurstState, places: Int32Array): void => {
  const { candidate } = state.streams.at;
  for (let slot = 0; slot < state.streams.slots; slot++) candidate[slot] = places[candidate[slot] as number] ?? -1;
};
