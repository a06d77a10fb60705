import { resolve } from "../episode.ts";
import { type LogContext, SEVERITY_ERROR, SEVERITY_WARN } from "./log-finding.ts";
import type { NewTemplateConfig } from "./log-templates-config.ts";
import { knownFaults } from "./match-faults.ts";
import { templateAt } from "./miner.ts";
import { tell } from "./template-events.ts";
import type { PairState } from "./template-pairs.ts";

/** A template that is new may turn out to be one with another, and then it was not: so long it is waited. */
const SURE_AFTER_S = 5;

/** The pair's first line: is it the first of its kind in a stream that is known? */
export const noteNovelty = (state: PairState, pair: number, { config, line }: LogContext): void => {
  const { new_template: rule } = config;
  const knownFor = line.second - (state.flows.at.firstSecond[line.slot] as number);
  if (rule === undefined || !(knownFor >= rule.learn_s)) return;
  const { at } = state.pairs;
  at.novelSince[pair] = line.second;
  at.novelSeverity[pair] = line.isError ? Math.max(line.severity, SEVERITY_ERROR) : line.severity;
  state.novel++;
};

const tellNovelty = (
  state: PairState,
  { pair, second }: { readonly pair: number; readonly second: number },
  rule: NewTemplateConfig,
  context: LogContext,
): void => {
  const { at } = state.pairs;
  const [fault] = knownFaults(templateAt(context.miner, at.template[pair] as number)?.text ?? "");
  const severity = at.novelSeverity[pair] as number;
  // Where no level is given, the words decide.
  const isGrave = fault !== undefined && (severity === 0 || severity >= SEVERITY_WARN);
  // An error is told by the rule for errors, when it is at work, and only counts here.
  const isToldElsewhere = severity >= SEVERITY_ERROR && context.config.new_error !== null;
  tell(
    state,
    {
      kind: "new_template",
      pair,
      rule: rule.name,
      severity: isGrave ? rule.fault_severity : rule.severity,
      startedSecond: at.novelSince[pair] as number,
      second,
      value: at.total[pair] as number,
      unit: "{line}",
      expected: { low: null, high: 0 },
      sentence: "logs a kind of line that it never logged before",
    },
    context,
    !isToldElsewhere && (severity >= SEVERITY_WARN || fault !== undefined),
  );
};

const tellNovelties = (
  state: PairState,
  secondOf: (slot: number) => number,
  rule: NewTemplateConfig,
  context: LogContext,
): void => {
  const { stream, novelSince } = state.pairs.at;
  for (let pair = 0; pair < state.pairs.slots && state.novel > 0; pair++) {
    if (Number.isNaN(novelSince[pair])) continue;
    const second = secondOf(stream[pair] as number);
    if (second - (novelSince[pair] as number) < SURE_AFTER_S) continue;
    tellNovelty(state, { pair, second }, rule, context);
    novelSince[pair] = Number.NaN;
    state.novel--;
  }
};

/** At a tick: what is new is told, and is over when it is not logged any more, or not new any more. */
export const settleNovelties = (state: PairState, secondOf: (slot: number) => number, context: LogContext): void => {
  const { new_template: rule } = context.config;
  if (rule === undefined) return;
  if (state.novel > 0) tellNovelties(state, secondOf, rule, context);
  const { stream, seen } = state.pairs.at;
  for (const [pair, { finding }] of [...state.one.new_template]) {
    const second = secondOf(stream[pair] as number);
    const isQuiet = second - (seen[pair] as number) >= rule.clear_for_s;
    if (!isQuiet && second - finding.started_at_unix_ms / 1000 < rule.learn_s) continue;
    const summary = isQuiet ? "It is not logged any more." : "It is not new any more.";
    context.findings.push(...resolve(state.one.new_template, pair, { summary }));
  }
};
