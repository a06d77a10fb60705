import { turnGapDay } from "./arrival-gaps.ts";
import {
  countOf,
  isWarm,
  learnCount,
  learnExtremes,
  learnZeros,
  type RateLimits,
  SCALES,
  SCALES_S,
  setCheck,
  turnRateDay,
} from "./count-scales.ts";
import type { LogContext } from "./log-finding.ts";
import { type Miner, templateAt } from "./miner.ts";
import { noteError } from "./new-error.ts";
import { noteNovelty } from "./new-template.ts";
import { endRates, judgeInterval, judgeRise, natsFor, rateLimits } from "./rate-change.ts";
import { findPair, makePair, type PairState, WHOLE } from "./template-pairs.ts";
import { judgeAbsence, noteArrival } from "./vanished-template.ts";

const [BUCKET_S] = SCALES_S;
const SECONDS_PER_DAY = 86_400;
/** A stream that was silent for so long has paused: that time teaches nothing of its templates. */
const PAUSE_S = 600;
/** Of a longer silence only so much counts as time in which a template could have come, and it makes no count low. */
const SPOKEN_GAP_MAX_S = 60;

const NO_LIMITS: RateLimits = { factor: 1, countMin: 0, nats: Number.POSITIVE_INFINITY };

/** The intervals of a stream that end now: of each scale how many, the first with lines in it and the others without. */
interface Closing {
  readonly second: number;
  /** A second of the interval with lines. */
  readonly before: number;
  readonly ended: readonly number[];
  readonly isWhole: readonly boolean[];
  /** Silence of the stream is no news of a template. */
  readonly isBroken: readonly boolean[];
  readonly limits: RateLimits;
  /** −ln of the probability below which an absence is news. */
  readonly absenceNats: number;
}

const turnDay = (state: PairState, pair: number, second: number): void => {
  const { at } = state.pairs;
  const day = Math.floor(second / SECONDS_PER_DAY);
  const days = day - (at.day[pair] as number);
  if (days <= 0) return;
  at.day[pair] = day;
  turnRateDay(at, pair, days === 1);
  turnGapDay(at, pair, days === 1);
};

/** Judged before it teaches: rates of scales that are known, and a long absence. */
const judgePair = (state: PairState, pair: number, closing: Closing, context: LogContext): void => {
  const { second, before } = closing;
  judgeAbsence(state, { pair, second, nats: closing.absenceNats }, context);
  for (let scale = 0; scale < SCALES; scale++) {
    if (closing.ended[scale] === 0 || !closing.isWhole[scale] || !isWarm(state.pairs.at, pair, scale)) continue;
    const isBroken = closing.isBroken[scale] as boolean;
    const interval = { pair, scale, count: countOf(state.pairs.at, pair, scale), second, before, isBroken };
    judgeInterval(state, interval, closing.limits, context);
  }
};

const learnPair = (state: PairState, pair: number, { second, ended, isWhole, isBroken }: Closing): void => {
  const { at } = state.pairs;
  turnDay(state, pair, second);
  for (let scale = 0; scale < SCALES; scale++) {
    const intervals = ended[scale] as number;
    if (intervals === 0) continue;
    const count = countOf(at, pair, scale);
    at.start[pair * SCALES + scale] = at.total[pair] as number;
    if (!isWhole[scale]) continue;
    if (!isBroken[scale]) learnExtremes(at, pair, scale, count);
    if (!Number.isNaN(at.rateStarted[pair])) continue;
    learnCount(at, pair, scale, count);
    if (intervals > 1) learnZeros(at, pair, scale, intervals - 1);
  }
};

/** The stream's clock has come to another interval: what it said in those before is judged, and teaches. Costs what its templates are many. */
const closeIntervals = (state: PairState, slot: number, bucket: number, context: LogContext): void => {
  const { at } = state.flows;
  const before = at.bucket[slot] as number;
  at.bucket[slot] = bucket;
  const isPause = bucket - before > PAUSE_S / BUCKET_S;
  if (isPause) endRates(state, slot, context);
  const ended = SCALES_S.map((seconds) => {
    const buckets = seconds / BUCKET_S;
    return Math.floor(bucket / buckets) - Math.floor(before / buckets);
  });
  const isWhole = ended.map((_, scale) => !isPause && at.isPartial[slot * SCALES + scale] === 0);
  const isGap = (bucket - before) * BUCKET_S > SPOKEN_GAP_MAX_S;
  const isBroken = ended.map((_, scale) => isGap || at.isBroken[slot * SCALES + scale] === 1);
  const rule = context.config.rate_change;
  const limits = rule === undefined ? NO_LIMITS : rateLimits(state, rule);
  const absenceRule = context.config.vanished_template;
  const absenceNats = absenceRule === undefined ? 0 : natsFor(absenceRule.false_alarms_per_day, state.pairs.slots);
  const closing = {
    second: bucket * BUCKET_S,
    before: before * BUCKET_S,
    ended,
    isWhole,
    isBroken,
    limits,
    absenceNats,
  };
  const { at: pairs } = state.pairs;
  for (let pair = at.firstPair[slot] as number; pair >= 0; pair = pairs.next[pair] as number)
    judgePair(state, pair, closing, context);
  for (let pair = at.firstPair[slot] as number; pair >= 0; pair = pairs.next[pair] as number) {
    learnPair(state, pair, closing);
    if (rule !== undefined) setCheck(pairs, pair, limits);
  }
  ended.forEach((count, scale) => {
    if (count > 0) at.isPartial[slot * SCALES + scale] = isPause ? 1 : 0;
    if (count > 0 || isGap) at.isBroken[slot * SCALES + scale] = isGap ? 1 : 0;
  });
};

/** The stream's clock goes on. */
const advance = (state: PairState, slot: number, second: number, context: LogContext): void => {
  const { at } = state.flows;
  const bucket = Math.floor(second / BUCKET_S);
  if (Number.isNaN(at.firstSecond[slot])) {
    at.firstSecond[slot] = second;
    at.bucket[slot] = bucket;
    makePair(state, slot, WHOLE, context.findings);
  } else
    at.spoken[slot] = (at.spoken[slot] as number) + Math.min(SPOKEN_GAP_MAX_S, second - (at.second[slot] as number));
  at.second[slot] = second;
  if (bucket !== at.bucket[slot]) closeIntervals(state, slot, bucket, context);
};

/** A line of an interval that is over counts, but not in the one at hand. */
const countLate = (state: PairState, pair: number): void => {
  const { at } = state.pairs;
  at.total[pair] = (at.total[pair] as number) + 1;
  at.check[pair] = (at.check[pair] as number) + 1;
  for (let place = pair * SCALES; place < (pair + 1) * SCALES; place++)
    at.start[place] = (at.start[place] as number) + 1;
};

/** Counts the line at hand. */
export const countLine = (state: PairState, context: LogContext): void => {
  const { slot, second, template, isError } = context.line;
  const flow = state.flows.at;
  if (second > (flow.second[slot] as number)) advance(state, slot, second, context);
  const isLate = Math.floor(second / BUCKET_S) < (flow.bucket[slot] as number);
  const whole = flow.whole[slot] as number;
  if (whole >= 0) {
    if (isLate) countLate(state, whole);
    else state.pairs.at.total[whole] = (state.pairs.at.total[whole] as number) + 1;
  }
  let pair = findPair(state, slot, template);
  if (pair < 0) {
    pair = makePair(state, slot, template, context.findings);
    if (pair < 0) return;
    noteNovelty(state, pair, context);
  }
  const { at } = state.pairs;
  if (isLate) countLate(state, pair);
  else {
    const total = (at.total[pair] as number) + 1;
    at.total[pair] = total;
    if (total >= (at.check[pair] as number)) judgeRise(state, pair, context);
  }
  if (second > (at.seen[pair] as number)) {
    at.seen[pair] = second;
    noteArrival(state, pair, context);
  }
  if (isError) noteError(state, pair, context);
};

/** At a tick: a stream that has paused has no changed rates. */
export const settlePauses = (state: PairState, secondOf: (slot: number) => number, context: LogContext): void => {
  const { stream } = state.pairs.at;
  const slots = new Set([...state.one.rate_change.keys()].map((pair) => stream[pair] as number));
  for (const slot of slots)
    if (secondOf(slot) - (state.flows.at.second[slot] as number) > PAUSE_S) endRates(state, slot, context);
};

/** How often a stream logs each template; for people and for later detectors. */
export const templateRates = (
  state: PairState,
  miner: Miner,
  slot: number,
): readonly { readonly id: string; readonly text: string; readonly total: number; readonly perSecond: number }[] => {
  const { at, slots } = state.pairs;
  return Array.from({ length: slots }, (_, pair) => pair)
    .filter((pair) => at.stream[pair] === slot && at.template[pair] !== WHOLE)
    .map((pair) => {
      const { id, text } = templateAt(miner, at.template[pair] as number) ?? { id: "", text: "" };
      return { id, text, total: at.total[pair] as number, perSecond: (at.mean[pair * SCALES] as number) / BUCKET_S };
    });
};
