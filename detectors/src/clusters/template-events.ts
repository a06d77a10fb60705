import type { Finding, Severity } from "@homeostat/schemas";
import { announce, clip, type Episodes, findingId, isDue, resolve } from "../episode.ts";
import type { Stream } from "../window.ts";
import { isFresh, type LogContext, logEvidence, streamEntity, templateLabels, titleOf } from "./log-finding.ts";
import { knownFaults } from "./match-faults.ts";
import { templateAt } from "./miner.ts";
import { KINDS, type Kind, type PairState } from "./template-pairs.ts";

/** So many of one kind in one stream, none long after the one before, are told as one. */
const TOGETHER_MIN = 5;
const TOGETHER_S = 300;
/** What goes on so long is how the stream is: it is not told any more until it has paused. */
const TOGETHER_LAST_S = 3600;
/** Findings of one kind that are open at once; beyond them there are none. */
const OPEN_MAX = 500;

/** Something that happened to one template of one stream, or to the stream as a whole. */
export interface TemplateEvent {
  readonly kind: Kind;
  readonly pair: number;
  readonly rule: string;
  readonly severity: Severity;
  readonly startedSecond: number;
  readonly second: number;
  readonly value: number;
  readonly unit: string;
  readonly expected: Finding["expected"];
  /** Follows the stream's name. */
  readonly sentence: string;
  readonly labels?: Record<string, string>;
}

/** Any severity: what is new, missing or frequent need not be an error. */
const ANY_SEVERITY = 0;

interface Told extends Omit<TemplateEvent, "pair" | "kind"> {
  readonly stream: Stream;
  readonly subject: string;
  readonly text: string;
}

const findingOf = (told: Told, { window, config }: LogContext): Finding => {
  const startedUnixMs = told.startedSecond * 1000;
  const entity = streamEntity(told.stream);
  return {
    finding_id: findingId({ rule: told.rule, entity, subject: told.subject, startedUnixMs }),
    detector: "log_templates",
    rule: told.rule,
    state: "firing",
    severity: told.severity,
    category: config.category,
    entity,
    started_at_unix_ms: startedUnixMs,
    detected_at_unix_ms: window.nowUnixMs,
    value: told.value,
    unit: told.unit,
    expected: told.expected,
    summary: clip(`${titleOf("Service {service}", told.stream)} ${told.sentence}`, 1000),
    labels: { ...told.labels },
    evidence: [
      logEvidence(told.stream, {
        startedUnixMs,
        toUnixMs: (told.second + 1) * 1000,
        text: told.text || "lines of the stream",
        severityMin: ANY_SEVERITY,
      }),
    ],
  };
};

/** Tells of a template by itself. */
const tellOne = (state: PairState, event: TemplateEvent, context: LogContext): void => {
  const { stream, template: place } = state.pairs.at;
  const template = templateAt(context.miner, place[event.pair] as number);
  const text = template?.text ?? "";
  const [fault] = knownFaults(text);
  const hint = fault === undefined ? "" : ` (${fault.label}; look at ${fault.hint})`;
  const told = {
    ...event,
    stream: context.window.streams[stream[event.pair] as number] as Stream,
    subject: template?.id ?? "",
    text,
    sentence: `${event.sentence}${text === "" ? "" : `: ${clip(text, 500)}`}${hint}`,
    labels: { ...event.labels, ...templateLabels(template) },
  };
  const finding = findingOf(told, context);
  context.findings.push(announce(state.one[event.kind], event.pair, finding, context.window.nowUnixMs));
};

const SENTENCES: Readonly<Record<Kind, (count: number) => string>> = {
  new_template: (count) => `logs ${count} kinds of lines that it never logged before`,
  rate_change: (count) => `logs ${count} kinds of lines far more, or far less, often than it did`,
  vanished_template: (count) => `does not log ${count} kinds of lines any more that came regularly`,
};

/** Counts what happened to a stream's templates about the same time: a release changes many at once. Answers how many so far. */
const countTogether = (state: PairState, kind: Kind, slot: number, second: number): number => {
  const { many, manyFirst, manyLast } = state.flows.at;
  const at = slot * KINDS.length + KINDS.indexOf(kind);
  if (!(second - (manyLast[at] as number) < TOGETHER_S)) {
    many[at] = 0;
    manyFirst[at] = second;
  }
  many[at] = (many[at] as number) + 1;
  manyLast[at] = second;
  return many[at] as number;
};

const tellTogether = (state: PairState, event: TemplateEvent, slot: number, context: LogContext): void => {
  const { many, manyFirst } = state.flows.at;
  const at = slot * KINDS.length + KINDS.indexOf(event.kind);
  const { nowUnixMs, streams } = context.window;
  const isSettled = event.second - (manyFirst[at] as number) >= TOGETHER_LAST_S;
  if (isSettled || !isDue(state.many[event.kind], slot, { severity: event.severity, nowUnixMs })) return;
  const count = many[at] as number;
  const last = templateAt(context.miner, state.pairs.at.template[event.pair] as number)?.text ?? "";
  const told = {
    ...event,
    stream: streams[slot] as Stream,
    subject: "",
    text: last,
    startedSecond: manyFirst[at] as number,
    value: count,
    unit: "{template}",
    expected: { low: null, high: TOGETHER_MIN },
    sentence: `${SENTENCES[event.kind](count)}.`,
    labels: { together: String(count) },
  };
  context.findings.push(announce(state.many[event.kind], slot, findingOf(told, context), nowUnixMs));
};

/** Tells of an event by itself, or with others of its stream when they are many. `isNotable` is false for what counts only among many. */
export const tell = (state: PairState, event: TemplateEvent, context: LogContext, isNotable = true): void => {
  const slot = state.pairs.at.stream[event.pair] as number;
  const count = countTogether(state, event.kind, slot, event.second);
  if (!isFresh(event.second, context)) return;
  const isMany = count >= TOGETHER_MIN;
  const episodes: Episodes = isMany ? state.many[event.kind] : state.one[event.kind];
  if (episodes.size >= OPEN_MAX && !episodes.has(isMany ? slot : event.pair)) return;
  if (isMany) tellTogether(state, event, slot, context);
  else if (isNotable) tellOne(state, event, context);
};

const refresh = (episodes: Episodes, { window: { nowUnixMs }, findings }: LogContext): void => {
  for (const [at, { finding }] of episodes) {
    if (isDue(episodes, at, { severity: finding.severity, nowUnixMs }))
      findings.push(announce(episodes, at, finding, nowUnixMs));
  }
};

/** At a tick: what lasts is told again, and what happened together is over when nothing more happens. */
export const settleTogether = (state: PairState, secondOf: (slot: number) => number, context: LogContext): void => {
  const { many, manyFirst, manyLast } = state.flows.at;
  KINDS.forEach((kind, index) => {
    for (const slot of [...state.many[kind].keys()]) {
      const at = slot * KINDS.length + index;
      const second = secondOf(slot);
      const count = many[at] as number;
      if (second - (manyLast[at] as number) >= TOGETHER_S)
        context.findings.push(...resolve(state.many[kind], slot, { summary: `Over: it were ${count}.`, value: count }));
      else if (second - (manyFirst[at] as number) >= TOGETHER_LAST_S)
        context.findings.push(
          ...resolve(state.many[kind], slot, {
            summary: `${count} in an hour: that is how this stream is.`,
            value: count,
          }),
        );
    }
    refresh(state.many[kind], context);
    refresh(state.one[kind], context);
  });
};
