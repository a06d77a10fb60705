import type { Finding } from "@homeostat/schemas";
import { announce, clip, findingId, isDue, resolve } from "../episode.ts";
import type { Stream } from "../window.ts";
import { isFresh, type LogContext, logEvidence, streamEntity, templateLabels, titleOf } from "./log-finding.ts";
import type { LogTemplatesConfig } from "./log-templates-config.ts";
import { templateAt } from "./miner.ts";
import type { PairState } from "./template-pairs.ts";

type NewErrorRule = NonNullable<LogTemplatesConfig["new_error"]>;

const newErrorOf = (
  { pairs: { at } }: PairState,
  pair: number,
  rule: NewErrorRule,
  { window: { streams, nowUnixMs }, miner, config }: LogContext,
): Finding => {
  const stream = streams[at.stream[pair] as number] as Stream;
  const template = templateAt(miner, at.template[pair] as number);
  const text = template?.text ?? "";
  const startedUnixMs = (at.firstError[pair] as number) * 1000;
  const entity = streamEntity(stream);
  const errors = at.errors[pair] as number;
  return {
    finding_id: findingId({ rule: rule.name, entity, subject: template?.id ?? "", startedUnixMs }),
    detector: "log_templates",
    rule: rule.name,
    state: "firing",
    severity: rule.severity,
    category: config.category,
    entity,
    started_at_unix_ms: startedUnixMs,
    detected_at_unix_ms: nowUnixMs,
    value: errors,
    unit: "{error}",
    expected: { low: null, high: 0 },
    summary: clip(`${titleOf(config.title, stream)} of a kind never seen there before, ${errors} times: ${text}`, 1000),
    labels: templateLabels(template),
    evidence: [logEvidence(stream, { startedUnixMs, toUnixMs: (at.lastError[pair] as number) * 1000 + 1000, text })],
  };
};

/** One line more that is an error. */
export const noteError = (state: PairState, pair: number, context: LogContext): void => {
  const { at } = state.pairs;
  const { line, window, findings } = context;
  const rule = context.config.new_error;
  if (rule === null) return;
  if (Number.isNaN(at.firstError[pair])) {
    at.firstError[pair] = line.second;
    const knownFor = line.second - (state.flows.at.firstSecond[line.slot] as number);
    at.isNew[pair] = knownFor >= rule.learn_s ? 1 : 0;
  }
  at.lastError[pair] = Math.max(line.second, at.lastError[pair] || 0);
  at.errors[pair] = (at.errors[pair] as number) + 1;
  if (at.isNew[pair] !== 1 || (at.errors[pair] as number) < rule.count_min || !isFresh(line.second, context)) return;
  if (!isDue(state.newErrors, pair, { severity: rule.severity, nowUnixMs: window.nowUnixMs })) return;
  findings.push(announce(state.newErrors, pair, newErrorOf(state, pair, rule, context), window.nowUnixMs));
};

/** At a tick: errors of a new kind that are not logged any more. */
export const settleNewErrors = (state: PairState, secondOf: (slot: number) => number, context: LogContext): void => {
  const clearFor = context.config.new_error?.clear_for_s ?? 0;
  const { stream, lastError, isNew } = state.pairs.at;
  for (const pair of [...state.newErrors.keys()]) {
    const quietFor = secondOf(stream[pair] as number) - (lastError[pair] as number);
    if (quietFor < clearFor) continue;
    isNew[pair] = 0;
    context.findings.push(...resolve(state.newErrors, pair, { summary: `Not logged any more for ${quietFor} s.` }));
  }
};
