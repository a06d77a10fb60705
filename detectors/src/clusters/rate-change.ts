import { resolve } from "../episode.ts";
import {
  countOf,
  expectedOf,
  forgetRates,
  isFall,
  isRise,
  type RateLimits,
  SCALES,
  SCALES_S,
  setCheck,
} from "./count-scales.ts";
import type { LogContext } from "./log-finding.ts";
import type { RateChangeConfig } from "./log-templates-config.ts";
import { tell } from "./template-events.ts";
import { type PairState, WHOLE } from "./template-pairs.ts";

const SECONDS_PER_DAY = 86_400;
const TESTS_PER_DAY = SCALES_S.reduce((sum, seconds) => sum + (2 * SECONDS_PER_DAY) / seconds, 0);

/** −ln of the probability that one test may be wrong by chance, so that all of a day are wrong as often as allowed (Bonferroni). */
export const natsFor = (falseAlarmsPerDay: number, pairs: number): number =>
  Math.log((Math.max(1, pairs) * TESTS_PER_DAY) / falseAlarmsPerDay);

export const rateLimits = (state: PairState, rule: RateChangeConfig): RateLimits => ({
  factor: rule.factor,
  countMin: rule.count_min,
  nats: natsFor(rule.false_alarms_per_day, state.pairs.slots),
});

interface Count {
  readonly pair: number;
  readonly scale: number;
  readonly count: number;
  readonly sign: 1 | -1;
  /** The interval's beginning. */
  readonly startedSecond: number;
}

const intervalStart = (second: number, scale: number): number => {
  const seconds = SCALES_S[scale] as number;
  return Math.floor(second / seconds) * seconds;
};

/**
 * How many times the usual the stream's other lines are in the same interval, those left out whose own change has been found; 1 when they
 * are too few to tell. Asked only when a count is beyond its limit.
 */
const restRatio = (state: PairState, pair: number, scale: number, countMin: number): number => {
  const { at } = state.pairs;
  const slot = at.stream[pair] as number;
  let [count, expected] = [0, 0];
  for (let other = state.flows.at.firstPair[slot] as number; other >= 0; other = at.next[other] as number) {
    if (other === pair || at.template[other] === WHOLE || !Number.isNaN(at.rateStarted[other])) continue;
    count += countOf(at, other, scale);
    expected += expectedOf(at, other, scale);
  }
  return expected < countMin ? 1 : count / expected;
};

/** Whether the template's rate changed by itself: when all of its stream's lines come as much more often, that is told of the stream. */
const isOwn = (state: PairState, { pair, scale, count, sign }: Count, { countMin, factor }: RateLimits): boolean => {
  const { at } = state.pairs;
  if (at.template[pair] === WHOLE) return true;
  const expected = expectedOf(at, pair, scale);
  const rest = restRatio(state, pair, scale, countMin);
  return sign > 0 ? count >= factor * expected * Math.max(1, rest) : count * factor <= expected * Math.min(1, rest);
};

/** The stream as a whole is told of only when no template of it explains the change. */
const isExplained = (state: PairState, pair: number, sign: number): boolean => {
  const { at } = state.pairs;
  if (at.template[pair] !== WHOLE) return false;
  const slot = at.stream[pair] as number;
  for (let other = state.flows.at.firstPair[slot] as number; other >= 0; other = at.next[other] as number) {
    if (other !== pair && at.rateSign[other] === sign && !Number.isNaN(at.rateStarted[other])) return true;
  }
  return false;
};

const begin = (
  state: PairState,
  { pair, scale, count, sign, startedSecond }: Count,
  rule: RateChangeConfig,
  context: LogContext,
): void => {
  const { at } = state.pairs;
  const second = state.flows.at.second[at.stream[pair] as number] as number;
  const seconds = SCALES_S[scale] as number;
  at.rateStarted[pair] = startedSecond;
  at.rateScale[pair] = scale;
  at.rateSign[pair] = sign;
  at.rateClear[pair] = Number.NaN;
  at.check[pair] = Number.POSITIVE_INFINITY;
  const expected = expectedOf(at, pair, scale);
  const change = sign > 0 ? `${Number((count / expected).toPrecision(2))} times as many` : "far fewer";
  const what = at.template[pair] === WHOLE ? "lines" : "lines of one kind";
  tell(
    state,
    {
      kind: "rate_change",
      pair,
      rule: rule.name,
      severity: rule.severity,
      startedSecond: Math.max(0, startedSecond),
      second,
      value: count / seconds,
      unit: "{line}/s",
      expected: { low: expected / rule.factor / seconds, high: (expected * rule.factor) / seconds },
      sentence:
        `logs ${change} ${what} ${sign > 0 ? "as" : "than"} usual, ${count} in ${seconds} s ` +
        `where ${Number(expected.toPrecision(2))} are expected`,
      labels: { direction: sign > 0 ? "up" : "down" },
    },
    context,
  );
};

const end = (state: PairState, pair: number, summary: string, context: LogContext): void => {
  state.pairs.at.rateStarted[pair] = Number.NaN;
  context.findings.push(...resolve(state.one.rate_change, pair, { summary }));
};

/** A changed rate at the end of an interval of its scale: has it come back, or is it how the template is now? */
const settleRate = (
  state: PairState,
  { pair, count, second }: { readonly pair: number; readonly count: number; readonly second: number },
  rule: RateChangeConfig,
  context: LogContext,
): void => {
  const { at } = state.pairs;
  const expected = expectedOf(at, pair, at.rateScale[pair] as number);
  // Half of the way, as ratios go: an interval in between neither begins nor ends anything.
  const between = Math.sqrt(rule.factor);
  const isBack =
    at.rateSign[pair] === 1 ? count <= Math.max(expected * between, rule.count_min / 2) : count >= expected / between;
  if (!isBack) at.rateClear[pair] = Number.NaN;
  else if (Number.isNaN(at.rateClear[pair]))
    at.rateClear[pair] = second - (SCALES_S[at.rateScale[pair] as number] as number);
  if (second - (at.rateClear[pair] as number) >= rule.clear_for_s) {
    end(state, pair, "As often as before again.", context);
    return;
  }
  if (second - (at.rateStarted[pair] as number) >= rule.shift_after_s) {
    forgetRates(at, pair);
    end(state, pair, "For so long, this is its new rate.", context);
  }
};

/** A full interval has ended: judged before it teaches. */
export const judgeInterval = (
  state: PairState,
  interval: {
    readonly pair: number;
    readonly scale: number;
    readonly count: number;
    readonly second: number;
    readonly before: number;
    readonly isBroken: boolean;
  },
  limits: RateLimits,
  context: LogContext,
): void => {
  const { rate_change: rule } = context.config;
  if (rule === undefined) return;
  const { at } = state.pairs;
  const { pair, scale } = interval;
  if (!Number.isNaN(at.rateStarted[pair])) {
    if (at.rateScale[pair] === scale) settleRate(state, interval, rule, context);
    return;
  }
  const sign = isRise(at, interval, limits) ? 1 : !interval.isBroken && isFall(at, interval, limits) ? -1 : 0;
  // What has vanished has been told.
  if (sign === 0 || (sign < 0 && !Number.isNaN(at.vanished[pair]))) return;
  const startedSecond = intervalStart(interval.before, scale);
  const count: Count = { pair, scale, count: interval.count, sign, startedSecond };
  if (isOwn(state, count, limits) && !isExplained(state, pair, sign)) begin(state, count, rule, context);
};

/** The pair's total has reached its check within an interval: a rise need not wait for the interval's end. */
export const judgeRise = (state: PairState, pair: number, context: LogContext): void => {
  const { rate_change: rule } = context.config;
  const { at } = state.pairs;
  if (rule === undefined) {
    at.check[pair] = Number.POSITIVE_INFINITY;
    return;
  }
  const limits = rateLimits(state, rule);
  for (let scale = 0; scale < SCALES; scale++) {
    const count: Count = {
      pair,
      scale,
      count: countOf(at, pair, scale),
      sign: 1,
      startedSecond: intervalStart(context.line.second, scale),
    };
    if (!isRise(at, count, limits) || !isOwn(state, count, limits)) continue;
    begin(state, count, rule, context);
    return;
  }
  setCheck(at, pair, limits);
  // An eighth more before the next look: looks are as rare as the logarithm of the count.
  const next = (at.total[pair] as number) + 1 + Math.floor(countOf(at, pair, 0) / 8);
  at.check[pair] = Math.max(at.check[pair] as number, next);
};

/** A pause ends what was compared with the time before it. */
export const endRates = (state: PairState, slot: number, context: LogContext): void => {
  const { at } = state.pairs;
  for (let pair = state.flows.at.firstPair[slot] as number; pair >= 0; pair = at.next[pair] as number) {
    if (!Number.isNaN(at.rateStarted[pair])) end(state, pair, "Its stream has paused.", context);
  }
};
