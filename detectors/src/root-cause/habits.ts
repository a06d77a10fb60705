import type { Call } from "./calls.ts";

/** Something that calls of one kind do more or less often than before, where something given had happened in them. */
export interface Break {
  readonly service: string;
  readonly kind: string;
  /** "" stands for the call itself. */
  readonly given: string;
  readonly event: string;
  /** By how much its share of the calls surely differs, signed: below 0 for what happens no longer. */
  readonly change: number;
  readonly normal: Share;
  readonly now: Share;
}

/** Of so many traces, in how many; fractions where it is some of a trace's calls. */
export interface Share {
  readonly followed: number;
  readonly given: number;
}

/** The event that nothing follows: no further line, or no further span. */
export const NO_MORE_LINES = "no further line";
export const NO_MORE_SPANS = "nothing further";
export const CALL = "";

/** Two standard deviations: the strength falls to nothing there, and what is only just beyond stays weak. */
const Z = 2;
/** Kinds of events that may follow a given one; beyond these new ones are not counted. */
const EVENTS_MAX = 2_000;

/** What happened in a call, by what it followed, each once. */
export const pairsOf = (call: Call): ReadonlyMap<string, ReadonlySet<string>> => {
  const pairs = new Map<string, Set<string>>([[CALL, new Set(call.events)]]);
  const after = (given: string): Set<string> => {
    const events = pairs.get(given) ?? new Set();
    pairs.set(given, events);
    return events;
  };
  for (const event of call.events) after(event);
  after(call.last?.event ?? CALL).add(NO_MORE_SPANS);
  let before = CALL;
  for (const { template } of call.lines.toSorted((a, b) => a.timeUnixUs - b.timeUnixUs)) {
    after(before).add(template);
    before = template;
  }
  after(before).add(NO_MORE_LINES);
  return pairs;
};

/** One key for all calls of one kind of one service. */
export const keyOf = ({ service, kind }: { readonly service: string; readonly kind: string }): string =>
  `${service}\u0000${kind}`;

interface Habit {
  calls: number;
  /** Traces that have such calls. */
  traces: number;
  /** By event, the sum over these traces of its share of their calls: calls of one trace are asked the same, and count as one. */
  readonly events: Map<string, number>;
}

type Habits = ReadonlyMap<string, ReadonlyMap<string, Habit>>;

interface Seen {
  calls: number;
  readonly events: Map<string, number>;
}

/** By kind and given, within one trace. */
const seenIn = (calls: readonly Call[]): ReadonlyMap<string, ReadonlyMap<string, Seen>> => {
  const seen = new Map<string, Map<string, Seen>>();
  for (const call of calls) {
    const ofKind = seen.get(keyOf(call)) ?? new Map<string, Seen>();
    seen.set(keyOf(call), ofKind);
    for (const [given, events] of pairsOf(call)) {
      const counts = ofKind.get(given) ?? { calls: 0, events: new Map<string, number>() };
      ofKind.set(given, counts);
      counts.calls++;
      for (const event of events) counts.events.set(event, (counts.events.get(event) ?? 0) + 1);
    }
  }
  return seen;
};

const addSeen = (habit: Habit, { calls, events }: Seen): void => {
  habit.calls += calls;
  habit.traces++;
  for (const [event, count] of events) {
    const sum = habit.events.get(event);
    if (sum !== undefined || habit.events.size < EVENTS_MAX) habit.events.set(event, (sum ?? 0) + count / calls);
  }
};

const habitsOf = (calls: readonly Call[]): Habits => {
  const habits = new Map<string, Map<string, Habit>>();
  for (const ofTrace of Map.groupBy(calls, ({ traceId }) => traceId).values()) {
    for (const [key, givens] of seenIn(ofTrace)) {
      const ofKind = habits.get(key) ?? new Map<string, Habit>();
      habits.set(key, ofKind);
      for (const [given, seen] of givens) {
        const habit = ofKind.get(given) ?? { calls: 0, traces: 0, events: new Map<string, number>() };
        ofKind.set(given, habit);
        addSeen(habit, seen);
      }
    }
  }
  return habits;
};

/**
 * What the share would have become had calls only been lost, and those that remain been the most telling selection: where a caller calls less, the
 * mix of what it asks for changes too, and that is no fault of the callee. `kept` is the part of the calls that remains.
 */
const shareAfterLoss = ({ followed, given }: Share, kept: number, isMore: boolean): Share => {
  if (kept >= 1 || given === 0) return { followed, given };
  const remaining = given * kept;
  const selected = isMore ? Math.min(followed, remaining) : Math.max(0, followed - (given - remaining));
  return { followed: (selected / remaining) * given, given };
};

/** 0 when it may be chance. Agresti and Caffo (2000): one success and one failure are added to either side. */
const shareChange = (before: Share, now: Share): number => {
  const p1 = (before.followed + 1) / (before.given + 2);
  const p2 = (now.followed + 1) / (now.given + 2);
  const error = Z * Math.sqrt((p1 * (1 - p1)) / (before.given + 2) + (p2 * (1 - p2)) / (now.given + 2));
  return Math.sign(p2 - p1) * Math.max(0, Math.abs(p2 - p1) - error);
};

const rootsOf = (calls: readonly Call[]): number =>
  calls.reduce((count, { caller }) => count + (caller < 0 ? 1 : 0), 0);

const NEVER: Habit = { calls: 0, traces: 0, events: new Map() };

/** By the kind of call, all that is surely otherwise. Kinds of calls that are not known from before say nothing. */
export const breaksOf = (normal: readonly Call[], now: readonly Call[]): ReadonlyMap<string, readonly Break[]> => {
  const before = habitsOf(normal);
  const traffic = rootsOf(now) / Math.max(1, rootsOf(normal));
  const breaks = new Map<string, Break[]>();
  for (const [key, habits] of habitsOf(now)) {
    const known = before.get(key);
    const usual = (known?.get(CALL)?.calls ?? 0) * traffic;
    if (known === undefined || usual <= 0) continue;
    const kept = (habits.get(CALL)?.calls ?? 0) / usual;
    const [service = "", kind = ""] = key.split("\u0000");
    const found: Break[] = [];
    for (const [given, habit] of habits) {
      const old = known.get(given) ?? NEVER;
      for (const event of new Set([...old.events.keys(), ...habit.events.keys()])) {
        const was: Share = { followed: old.events.get(event) ?? 0, given: old.traces };
        const is: Share = { followed: habit.events.get(event) ?? 0, given: habit.traces };
        const isMore = is.followed * was.given > was.followed * is.given;
        const change = shareChange(shareAfterLoss(was, kept, isMore), is);
        if (change !== 0 && change > 0 === isMore)
          found.push({ service, kind, given, event, change, normal: was, now: is });
      }
    }
    if (found.length > 0) breaks.set(key, found);
  }
  return breaks;
};
