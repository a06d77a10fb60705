import type { Finding } from "@homeostat/schemas";
import { type Columns, growColumns, makeColumns, pickColumns } from "../columns.ts";
import { announce, clip, type Episodes, FRESH_MS, findingId, forgetEpisodes, isDue, resolve } from "../episode.ts";
import type { LogWindow, Stream } from "../window.ts";
import { BUCKET_SECONDS, logEvidence, streamEntity, titleOf } from "./log-finding.ts";
import type { LogTemplatesConfig } from "./log-templates-config.ts";
import { type Template, templateText } from "./template-tree.ts";

/** One stream's lines of one template. Its rate is smoothed over buckets of ten seconds. */
export const PAIR_LAYOUT = {
  stream: { fill: 0 },
  template: { fill: 0 },
  bucket: { fill: Number.NaN },
  count: { fill: 0 },
  rate: { fill: 0 },
  total: { fill: 0 },
  /** Of error lines: the first second, the newest, how many, and whether the kind was new to a stream that was known. */
  firstError: { fill: Number.NaN },
  lastError: { fill: Number.NaN },
  errors: { fill: 0 },
  isNew: { fill: 0 },
} as const;
const RATE_WEIGHT = 0.1;

/** At the cap, pairs idle for ten minutes make room; when there are none, new pairs go uncounted, and that is counted. */
export const PAIRS_MAX = 20_000;
const PAIR_KEY = 65_536;

/** Pairs idle for so many buckets may go. */
const IDLE_BUCKETS = 60;

export interface CountState {
  pairs: Columns<typeof PAIR_LAYOUT>;
  slotOf: Map<number, number>;
  /** Lines of pairs that found no room. */
  uncounted: number;
  newErrors: Episodes;
}

export interface CountedLine {
  readonly slot: number;
  readonly second: number;
  readonly isError: boolean;
  readonly template: number;
  /** Since when its stream is known. */
  readonly knownSinceSecond: number;
}

export interface CountContext {
  readonly window: LogWindow;
  readonly templates: readonly Template[];
  readonly config: LogTemplatesConfig;
}

export const startCounts = (): CountState => ({
  pairs: makeColumns(PAIR_LAYOUT),
  slotOf: new Map(),
  uncounted: 0,
  newErrors: new Map(),
});

/** From the columns, as they were saved. */
export const indexPairs = (state: CountState): void => {
  const { stream, template } = state.pairs.at;
  state.slotOf = new Map();
  for (let pair = 0; pair < state.pairs.slots; pair++)
    state.slotOf.set((stream[pair] as number) * PAIR_KEY + (template[pair] as number), pair);
};

const closeBucket = (pairs: CountState["pairs"], pair: number, bucket: number): void => {
  const { at } = pairs;
  const elapsed = bucket - (at.bucket[pair] as number);
  if (elapsed > 0) {
    const rate = at.rate[pair] as number;
    const smoothed = rate + RATE_WEIGHT * ((at.count[pair] as number) / BUCKET_SECONDS - rate);
    at.rate[pair] = smoothed * (1 - RATE_WEIGHT) ** (elapsed - 1);
    at.count[pair] = 0;
    at.bucket[pair] = bucket;
  } else if (!(elapsed <= 0)) at.bucket[pair] = bucket;
};

const rebuildPairs = (state: CountState, kept: Uint32Array): readonly Finding[] => {
  state.pairs = pickColumns(state.pairs, PAIR_LAYOUT, kept);
  indexPairs(state);
  const { episodes, findings } = forgetEpisodes(state.newErrors, kept);
  state.newErrors = episodes;
  return findings;
};

const keptPairs = (state: CountState, isKept: (pair: number) => boolean): Uint32Array =>
  Uint32Array.from(Array.from({ length: state.pairs.slots }, (_, pair) => pair).filter(isKept));

const pairOf = (state: CountState, { slot, template, second }: CountedLine, findings: Finding[]): number | null => {
  const key = slot * PAIR_KEY + template;
  const known = state.slotOf.get(key);
  if (known !== undefined) return known;
  if (state.pairs.slots >= PAIRS_MAX) {
    const oldest = Math.floor(second / BUCKET_SECONDS) - IDLE_BUCKETS;
    const kept = keptPairs(state, (pair) => (state.pairs.at.bucket[pair] as number) >= oldest);
    if (kept.length === state.pairs.slots) {
      state.uncounted++;
      return null;
    }
    findings.push(...rebuildPairs(state, kept));
  }
  const pair = state.pairs.slots;
  growColumns(state.pairs, PAIR_LAYOUT, pair + 1);
  state.pairs.at.stream[pair] = slot;
  state.pairs.at.template[pair] = template;
  state.slotOf.set(key, pair);
  return pair;
};

const newErrorOf = (
  state: CountState,
  pair: number,
  rule: NonNullable<LogTemplatesConfig["new_error"]>,
  { window: { streams, nowUnixMs }, templates, config }: CountContext,
): Finding => {
  const at = state.pairs.at;
  const stream = streams[at.stream[pair] as number] as Stream;
  const template = templates[at.template[pair] as number] as Template;
  const text = templateText(template);
  const startedUnixMs = (at.firstError[pair] as number) * 1000;
  const entity = streamEntity(stream);
  const errors = at.errors[pair] as number;
  return {
    finding_id: findingId({ rule: rule.name, entity, subject: template.id, startedUnixMs }),
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
    labels: { template_id: template.id, template: text },
    evidence: [logEvidence(stream, { startedUnixMs, toUnixMs: (at.lastError[pair] as number) * 1000 + 1000, text })],
  };
};

const tellNewError = (
  state: CountState,
  pair: number,
  line: CountedLine,
  context: CountContext,
): readonly Finding[] => {
  const { at } = state.pairs;
  const { nowUnixMs } = context.window;
  const rule = context.config.new_error;
  if (rule === null) return [];
  if (Number.isNaN(at.firstError[pair])) {
    at.firstError[pair] = line.second;
    at.isNew[pair] = line.second - line.knownSinceSecond >= rule.learn_s ? 1 : 0;
  }
  at.lastError[pair] = Math.max(line.second, at.lastError[pair] || 0);
  at.errors[pair] = (at.errors[pair] as number) + 1;
  if (at.isNew[pair] !== 1 || (at.errors[pair] as number) < rule.count_min) return [];
  if (line.second * 1000 < nowUnixMs - FRESH_MS) return [];
  if (!isDue(state.newErrors, pair, { severity: rule.severity, nowUnixMs })) return [];
  return [announce(state.newErrors, pair, newErrorOf(state, pair, rule, context), nowUnixMs)];
};

/** Appends to `findings`: most lines have nothing to tell, and there are many. */
export const countLine = (state: CountState, line: CountedLine, context: CountContext, findings: Finding[]): void => {
  const pair = pairOf(state, line, findings);
  if (pair === null) return;
  const { at } = state.pairs;
  closeBucket(state.pairs, pair, Math.floor(line.second / BUCKET_SECONDS));
  at.count[pair] = (at.count[pair] as number) + 1;
  at.total[pair] = (at.total[pair] as number) + 1;
  if (line.isError) findings.push(...tellNewError(state, pair, line, context));
};

/** At a tick: errors of a new kind that are not logged any more. */
export const settleNewErrors = (
  state: CountState,
  secondOf: (stream: number) => number,
  clearForSeconds: number,
): readonly Finding[] =>
  [...state.newErrors.keys()].flatMap((pair) => {
    const { stream, lastError, isNew } = state.pairs.at;
    const quietFor = secondOf(stream[pair] as number) - (lastError[pair] as number);
    if (quietFor < clearForSeconds) return [];
    isNew[pair] = 0;
    return resolve(state.newErrors, pair, { summary: `Not logged any more for ${quietFor} s.` });
  });

/** Streams have new slots, or none. */
export const renumberStreams = (state: CountState, kept: Uint32Array): readonly Finding[] => {
  const slots = new Map([...kept].map((slot, index) => [slot, index]));
  return renumber(state, state.pairs.at.stream, (slot) => slots.get(slot) ?? -1);
};

/** Templates have new places, or none: what was counted for those that are gone goes too. */
export const renumberTemplates = (state: CountState, places: Int32Array): readonly Finding[] =>
  renumber(state, state.pairs.at.template, (place) => places[place] ?? -1);

const renumber = (state: CountState, column: Float64Array, numberOf: (old: number) => number): readonly Finding[] => {
  for (let pair = 0; pair < state.pairs.slots; pair++) column[pair] = numberOf(column[pair] as number);
  return rebuildPairs(
    state,
    keptPairs(state, (pair) => (column[pair] as number) >= 0),
  );
};

/** How often a stream logs each template, newest state; for people and for later detectors. */
export const templateRates = (
  state: CountState,
  templates: readonly Template[],
  slot: number,
): readonly { readonly id: string; readonly text: string; readonly total: number; readonly perSecond: number }[] => {
  const { at, slots } = state.pairs;
  return Array.from({ length: slots }, (_, pair) => pair)
    .filter((pair) => at.stream[pair] === slot)
    .map((pair) => {
      const template = templates[at.template[pair] as number] as Template;
      const [total, perSecond] = [at.total[pair] as number, at.rate[pair] as number];
      return { id: template.id, text: templateText(template), total, perSecond };
    });
};
