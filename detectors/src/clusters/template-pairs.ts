import type { Finding } from "@homeostat/schemas";
import { type Columns, growColumns, makeColumns, pickColumns } from "../columns.ts";
import { type Episodes, forgetEpisodes, resolve } from "../episode.ts";
import { GAP_LAYOUT, joinGaps } from "./arrival-gaps.ts";
import { joinRates, RATE_LAYOUT, SCALES } from "./count-scales.ts";
import { find, insert, makeIndex, type PairIndex } from "./pair-index.ts";

/** A stream's lines of all templates are counted as if they were of this one. */
export const WHOLE = 65_535;

/** One stream's lines of one template. */
export const PAIR_LAYOUT = {
  stream: { fill: 0 },
  template: { fill: 0 },
  /** The next pair of the same stream, -1 at the last. */
  next: { fill: -1 },
  /** The newest second in which it was logged, of the stream's clock. */
  seen: { fill: Number.NEGATIVE_INFINITY },
  /** The day, since 1970, whose extremes are being learnt. */
  day: { fill: Number.NaN },
  /** While it is not sure yet that it is a kind of its own: its first second in a stream that was known, and that line's severity. */
  novelSince: { fill: Number.NaN },
  novelSeverity: { fill: 0 },
  /** Of error lines: the first second, how many, and whether the kind was new to a stream that was known. */
  firstError: { fill: Number.NaN },
  lastError: { fill: Number.NaN },
  errors: { fill: 0 },
  isNew: { fill: 0 },
  ...RATE_LAYOUT,
  ...GAP_LAYOUT,
} as const;

/** What is told of templates one by one, and together where there are many. */
export const KINDS = ["new_template", "rate_change", "vanished_template"] as const;
export type Kind = (typeof KINDS)[number];

/** One stream. */
export const FLOW_LAYOUT = {
  /** The newest second of its clock, and that clock's first. */
  second: { fill: Number.NEGATIVE_INFINITY },
  firstSecond: { fill: Number.NaN },
  /** How many intervals of the shortest scale its clock had counted when they were last closed. */
  bucket: { fill: Number.NaN },
  /** Whether the current interval of each scale began with a pause or with the stream itself. */
  isPartial: { fill: 1, width: SCALES },
  /** Whether the stream was silent for a while in it. */
  isBroken: { fill: 0, width: SCALES },
  /** Seconds of its clock without those of pauses. */
  spoken: { fill: 0 },
  /** The pair that counts all its lines. */
  whole: { fill: -1 },
  firstPair: { fill: -1 },
  pairs: { fill: 0 },
  /** Things of one kind that happened to its templates together: how many, and in which seconds the first and the last did. */
  many: { fill: 0, width: KINDS.length },
  manyFirst: { fill: Number.NaN, width: KINDS.length },
  manyLast: { fill: Number.NaN, width: KINDS.length },
} as const;

/** Of one partition, and of one stream: beyond them new pairs go uncounted, and that is counted. */
const PAIRS_MAX = 20_000;
export const PAIRS_PER_STREAM_MAX = 500;
/** Lines that found no room before idle pairs are looked for again: a search costs as much as all the pairs. */
const REFUSED_BEFORE_ROOM = 10_000;
/** Pairs that have not been logged for so long make room. */
const IDLE_S = 3600;

export interface PairState {
  pairs: Columns<typeof PAIR_LAYOUT>;
  flows: Columns<typeof FLOW_LAYOUT>;
  index: PairIndex;
  /** Lines of pairs that found no room, in all and since room was last looked for. */
  uncounted: number;
  refused: number;
  /** Pairs with `novelSince`. */
  novel: number;
  /** By pair. */
  newErrors: Episodes;
  one: Readonly<Record<Kind, Episodes>>;
  /** By stream. */
  many: Readonly<Record<Kind, Episodes>>;
}

const noEpisodes = (): Record<Kind, Episodes> => ({
  new_template: new Map(),
  rate_change: new Map(),
  vanished_template: new Map(),
});

export const startPairs = (): PairState => ({
  pairs: makeColumns(PAIR_LAYOUT),
  flows: makeColumns(FLOW_LAYOUT),
  index: makeIndex(),
  uncounted: 0,
  refused: 0,
  novel: 0,
  newErrors: new Map(),
  one: noEpisodes(),
  many: noEpisodes(),
});

const keyOf = (slot: number, template: number): number => slot * (WHOLE + 1) + template;

export const growFlows = (state: PairState, slots: number): void => growColumns(state.flows, FLOW_LAYOUT, slots);

/** From the columns, as they were saved: the index, the list of each stream, and how many are novel. */
export const indexPairs = (state: PairState): void => {
  const { stream, template, next, novelSince } = state.pairs.at;
  const { firstPair, pairs: count, whole } = state.flows.at;
  state.index = makeIndex();
  state.novel = 0;
  firstPair.fill(-1);
  whole.fill(-1);
  count.fill(0);
  for (let pair = 0; pair < state.pairs.slots; pair++) {
    const slot = stream[pair] as number;
    insert(state.index, keyOf(slot, template[pair] as number), pair);
    next[pair] = firstPair[slot] as number;
    firstPair[slot] = pair;
    count[slot] = (count[slot] as number) + 1;
    if (template[pair] === WHOLE) whole[slot] = pair;
    if (!Number.isNaN(novelSince[pair])) state.novel++;
  }
};

/** As `pickColumns`, number by number: there are many columns, and a stream of ever new templates makes this run often. */
const pickPairs = ({ at }: PairState["pairs"], kept: Uint32Array): PairState["pairs"] => {
  const picked = makeColumns(PAIR_LAYOUT);
  growColumns(picked, PAIR_LAYOUT, kept.length);
  for (const name of Object.keys(PAIR_LAYOUT) as (keyof typeof PAIR_LAYOUT)[]) {
    const [from, to, layout] = [at[name], picked.at[name], PAIR_LAYOUT[name]];
    const width = "width" in layout ? layout.width : 1;
    for (let index = 0; index < kept.length; index++) {
      const start = (kept[index] as number) * width;
      for (let more = 0; more < width; more++) to[index * width + more] = from[start + more] as number;
    }
  }
  return picked;
};

const keepPairs = (state: PairState, isKept: (pair: number) => boolean): readonly Finding[] => {
  const kept = Uint32Array.from(Array.from({ length: state.pairs.slots }, (_, pair) => pair).filter(isKept));
  if (kept.length === state.pairs.slots) return [];
  state.pairs = pickPairs(state.pairs, kept);
  indexPairs(state);
  const errors = forgetEpisodes(state.newErrors, kept);
  state.newErrors = errors.episodes;
  const one = KINDS.map((kind) => [kind, forgetEpisodes(state.one[kind], kept)] as const);
  state.one = Object.fromEntries(one.map(([kind, { episodes }]) => [kind, episodes])) as Record<Kind, Episodes>;
  return [...errors.findings, ...one.flatMap(([, { findings }]) => findings)];
};

const hasEpisode = (state: PairState, pair: number): boolean =>
  state.newErrors.has(pair) || KINDS.some((kind) => state.one[kind].has(pair));

const makeRoom = (state: PairState): readonly Finding[] => {
  state.refused = 0;
  const { seen } = state.pairs.at;
  const newest = state.flows.at.second.subarray(0, state.flows.slots).reduce((a, b) => Math.max(a, b), 0);
  return keepPairs(state, (pair) => newest - (seen[pair] as number) < IDLE_S || hasEpisode(state, pair));
};

export const findPair = (state: PairState, slot: number, template: number): number =>
  find(state.index, keyOf(slot, template));

const addPair = (state: PairState, slot: number, template: number): number => {
  const pair = state.pairs.slots;
  growColumns(state.pairs, PAIR_LAYOUT, pair + 1);
  const { at } = state.pairs;
  const { firstPair, pairs: count, whole } = state.flows.at;
  if (template === WHOLE) whole[slot] = pair;
  at.stream[pair] = slot;
  at.template[pair] = template;
  at.next[pair] = firstPair[slot] as number;
  firstPair[slot] = pair;
  count[slot] = (count[slot] as number) + 1;
  insert(state.index, keyOf(slot, template), pair);
  return pair;
};

const isFull = (state: PairState, slot: number): boolean =>
  state.pairs.slots >= PAIRS_MAX || (state.flows.at.pairs[slot] as number) >= PAIRS_PER_STREAM_MAX;

/** A pair that was not there; -1 when there is no room. */
export const makePair = (state: PairState, slot: number, template: number, findings: Finding[]): number => {
  if (isFull(state, slot) && state.refused >= REFUSED_BEFORE_ROOM) findings.push(...makeRoom(state));
  if (!isFull(state, slot)) return addPair(state, slot, template);
  state.uncounted++;
  state.refused++;
  return -1;
};

/** Streams have new slots, or none. */
export const renumberStreams = (state: PairState, kept: Uint32Array): readonly Finding[] => {
  const slots = new Map([...kept].map((slot, index) => [slot, index]));
  const { stream } = state.pairs.at;
  for (let pair = 0; pair < state.pairs.slots; pair++) stream[pair] = slots.get(stream[pair] as number) ?? -1;
  state.flows = pickColumns(state.flows, FLOW_LAYOUT, kept);
  const many = KINDS.map((kind) => [kind, forgetEpisodes(state.many[kind], kept)] as const);
  state.many = Object.fromEntries(many.map(([kind, { episodes }]) => [kind, episodes])) as Record<Kind, Episodes>;
  const findings = keepPairs(state, (pair) => (stream[pair] as number) >= 0);
  indexPairs(state);
  return [...findings, ...many.flatMap(([, told]) => told.findings)];
};

/** What was known of one pair joins what is known of another; what was told of the first is taken back. */
const joinPairs = (state: PairState, from: number, into: number): readonly Finding[] => {
  const { at } = state.pairs;
  joinGaps(at, from, into);
  joinRates(at, from, into);
  // NaN when one of them is known: then the other was no new kind.
  at.novelSince[into] = Math.min(at.novelSince[into] as number, at.novelSince[from] as number);
  at.seen[into] = Math.max(at.seen[into] as number, at.seen[from] as number);
  at.firstError[into] = Math.min(at.firstError[into] || Infinity, at.firstError[from] || Infinity);
  if (at.firstError[into] === Infinity) at.firstError[into] = Number.NaN;
  at.lastError[into] = Math.max(at.lastError[into] || 0, at.lastError[from] || 0) || Number.NaN;
  at.errors[into] = (at.errors[into] as number) + (at.errors[from] as number);
  at.isNew[into] = Math.min(at.isNew[into] as number, at.isNew[from] as number);
  const summary = "Its template turned out to be one with another.";
  return [state.newErrors, ...KINDS.map((kind) => state.one[kind])].flatMap((episodes) =>
    resolve(episodes, from, { summary }),
  );
};

/**
 * Templates have new places: -1 is gone, and what was counted for it goes too; two with one place have been merged, and their counts join.
 */
export const renumberTemplates = (state: PairState, places: Int32Array): readonly Finding[] => {
  const { stream, template } = state.pairs.at;
  const first = makeIndex();
  const findings: Finding[] = [];
  for (let pair = 0; pair < state.pairs.slots; pair++) {
    const old = template[pair] as number;
    const place = old === WHOLE ? WHOLE : (places[old] ?? -1);
    template[pair] = place;
    if (place < 0) continue;
    const key = keyOf(stream[pair] as number, place);
    const known = find(first, key);
    if (known < 0) insert(first, key, pair);
    else {
      findings.push(...joinPairs(state, pair, known));
      template[pair] = -1;
    }
  }
  findings.push(...keepPairs(state, (pair) => (template[pair] as number) >= 0));
  indexPairs(state);
  return findings;
};
