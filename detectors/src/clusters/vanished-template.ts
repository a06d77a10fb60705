import { resolve } from "../episode.ts";
import { forgetGaps, isMissed, learnGap } from "./arrival-gaps.ts";
import type { LogContext } from "./log-finding.ts";
import { tell } from "./template-events.ts";
import { type PairState, WHOLE } from "./template-pairs.ts";

/** The pair is logged in a second in which it had not been. */
export const noteArrival = (state: PairState, pair: number, context: LogContext): void => {
  const { at } = state.pairs;
  const slot = at.stream[pair] as number;
  const { spoken, whole } = state.flows.at;
  const lines = at.total[whole[slot] as number] ?? 0;
  if (!Number.isNaN(at.vanished[pair])) {
    at.vanished[pair] = Number.NaN;
    // The absence was a fault, not a habit.
    at.seenSpoken[pair] = Number.NaN;
    context.findings.push(...resolve(state.one.vanished_template, pair, { summary: "It is logged again." }));
  }
  learnGap(at, pair, spoken[slot] as number, lines);
};

/** Looked at now and then as the stream's time goes on: a stream that is silent misses nothing. */
export const judgeAbsence = (
  state: PairState,
  { pair, second, nats }: { readonly pair: number; readonly second: number; readonly nats: number },
  context: LogContext,
): void => {
  const { vanished_template: rule } = context.config;
  const { at } = state.pairs;
  if (rule === undefined || at.template[pair] === WHOLE) return;
  const slot = at.stream[pair] as number;
  if (!Number.isNaN(at.vanished[pair])) {
    if (second - (at.vanished[pair] as number) < rule.shift_after_s) return;
    forgetGaps(at, pair);
    at.vanished[pair] = Number.NaN;
    const summary = "It has been away so long that it is not expected any more.";
    context.findings.push(...resolve(state.one.vanished_template, pair, { summary }));
    return;
  }
  // Most are not missed: these two comparisons spare them the rest.
  const { spoken, whole } = state.flows.at;
  const absentFor = (spoken[slot] as number) - (at.seenSpoken[pair] as number);
  if ((at.gaps[pair] as number) < rule.arrivals_min || !(absentFor >= rule.absent_min_s)) return;
  const now = { spoken: spoken[slot] as number, lines: at.total[whole[slot] as number] ?? 0 };
  const limits = {
    learnS: rule.learn_s,
    nats,
  };
  if (!isMissed(at, pair, now, limits)) return;
  at.vanished[pair] = second;
  const mean = at.gapMean[pair] as number;
  tell(
    state,
    {
      kind: "vanished_template",
      pair,
      rule: rule.name,
      severity: rule.severity,
      startedSecond: Math.max(0, at.seen[pair] as number),
      second,
      value: absentFor,
      unit: "s",
      expected: { low: null, high: mean },
      sentence: `has not logged for ${Math.round(absentFor)} s what it logged every ${Number(mean.toPrecision(2))} s`,
    },
    context,
  );
};
