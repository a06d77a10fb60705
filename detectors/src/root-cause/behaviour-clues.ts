import type { Call } from "./calls.ts";
import { type Break, breaksOf, CALL, keyOf, NO_MORE_LINES, NO_MORE_SPANS, pairsOf, type Share } from "./habits.ts";
import type { Clue } from "./incident.ts";

/*
 * What services do, call by call, against what they did: which operations and calls to others a call of one kind contains, which line follows which,
 * and after what it ends. After Yu, Chen, Li, Chen, Chen, Zheng: "Nezha: Interpretable Fine-Grained Root Causes Analysis for Microservices on
 * Multi-Modal Observability Data", ESEC/FSE 2023, who compare the patterns of events in normal and faulty traces. Shares are of the calls of the same
 * kind, so that more traffic by itself changes nothing.
 */

/** Words of trouble, as operations and lines have them. */
const TROUBLE = /error|exception|fail|fatal|panic|timeout|refused|denied|unavailable|rejected|abort/i;
/** What a fault does first is to end things early and to raise errors; that more happens than before is more often other traffic. */
const MORE_LEFT = 0.5;
/** Trouble that is no longer there is no fault. */
const RELIEF_LEFT = 0.25;
/** A call that ends early right after it called another service: the other one's answer is likelier the reason than its own next step. */
const CALLER_LEFT = 0.8;
/** What a call did otherwise is explained by something at least this much as sure that came before it: in what it called, or its early end. */
const EXPLAINED_FROM = 0.5;

const isEnd = ({ event, change }: Break): boolean => change > 0 && (event === NO_MORE_LINES || event === NO_MORE_SPANS);
const isRelief = ({ event, change }: Break): boolean => change < 0 && TROUBLE.test(event);

/** `all` are the breaks of the same kind of call: where trouble no longer follows, that nothing follows is a relief too. */
const strengthOf = (one: Break, all: readonly Break[]): number => {
  const sure = Math.sqrt(Math.abs(one.change));
  if (isRelief(one)) return RELIEF_LEFT * sure;
  if (isEnd(one)) return all.some((other) => other.given === one.given && isRelief(other)) ? RELIEF_LEFT * sure : sure;
  return one.change < 0 || TROUBLE.test(one.event) ? sure : MORE_LEFT * sure;
};

/** What this one call did otherwise. */
const brokenIn = (call: Call, breaks: readonly Break[]): readonly Break[] => {
  if (breaks.length === 0) return breaks;
  const pairs = pairsOf(call);
  return breaks.filter(({ given, event, change }) => {
    const events = pairs.get(given);
    return events !== undefined && events.has(event) === change > 0;
  });
};

const surest = (breaks: readonly Break[]): number =>
  breaks.reduce((most, one) => Math.max(most, Math.abs(one.change)), 0);

/** Per call, how surely something that it called, directly or through others, did otherwise. Callers stand before what they call. */
const brokenBelow = (calls: readonly Call[], broken: readonly (readonly Break[])[]): Float64Array => {
  const below = new Float64Array(calls.length);
  for (let at = calls.length - 1; at >= 0; at--) {
    const caller = calls[at]?.caller ?? -1;
    if (caller < 0) continue;
    below[caller] = Math.max(below[caller] as number, below[at] as number, surest(broken[at] ?? []));
  }
  return below;
};

/** The early end of a call right after it called another service. */
const endAfterCallee = (call: Call, broken: readonly Break[]): Break | undefined =>
  call.last?.callee == null
    ? undefined
    : broken.find((one) => isEnd(one) && one.event === NO_MORE_SPANS && one.given === call.last?.event);

interface Tally {
  /** Calls in which nothing else explains it, and all that it was seen in. */
  unexplained: number;
  all: number;
  callee: string | null;
}

const tallies = (now: readonly Call[], broken: readonly (readonly Break[])[]): ReadonlyMap<Break, Tally> => {
  const below = brokenBelow(now, broken);
  const counts = new Map<Break, Tally>();
  now.forEach((call, at) => {
    const list = broken[at] ?? [];
    const end = endAfterCallee(call, list);
    for (const one of list) {
      const tally = counts.get(one) ?? {
        unexplained: 0,
        all: 0,
        callee: one === end ? (call.last?.callee ?? null) : null,
      };
      const reason = Math.max(below[at] as number, end === undefined || one === end ? 0 : end.change);
      tally.all++;
      if (reason < EXPLAINED_FROM * Math.abs(one.change)) tally.unexplained++;
      counts.set(one, tally);
    }
  });
  return counts;
};

export const behaviourClues = (normal: readonly Call[], now: readonly Call[]): readonly Clue[] => {
  const breaks = breaksOf(normal, now);
  if (breaks.size === 0) return [];
  const broken = now.map((call) => brokenIn(call, breaks.get(keyOf(call)) ?? []));
  const best = new Map<string, Clue>();
  const suspect = (service: string, strength: number, one: Break): void => {
    if (strength > (best.get(service)?.strength ?? 0))
      best.set(service, { source: "behaviour", service, strength, reason: reasonOf(one) });
  };
  for (const [one, { unexplained, all, callee }] of tallies(now, broken)) {
    const strength = (strengthOf(one, breaks.get(keyOf(one)) ?? []) * unexplained) / all;
    suspect(one.service, callee === null ? strength : CALLER_LEFT * strength, one);
    if (callee !== null) suspect(callee, strength, one);
  }
  return [...best.values()];
};

const QUOTE_MAX = 120;

const reasonOf = ({ service, kind, given, event, normal, now }: Break): string => {
  const what = event === NO_MORE_LINES || event === NO_MORE_SPANS ? event : `“${event.slice(0, QUOTE_MAX)}”`;
  const after = given === CALL ? "" : ` after “${given.slice(0, QUOTE_MAX)}”`;
  const share = ({ followed, given: traces }: Share): string =>
    `${Math.round((100 * followed) / Math.max(1, traces))} %`;
  return `${service}, ${kind || "its lines"}: ${what}${after} in ${share(now)} of calls, normally in ${share(normal)} (${now.given} and ${normal.given} traces)`;
};
