import { BATCH_ROWS_MAX, type Checkpoint, type GatewayReport, type Heartbeat, Ledger } from "@homeostat/schemas";
import { z } from "zod";
import type { ledgerAccounts } from "./ledger-accounts.ts";

type Account = z.output<(typeof ledgerAccounts)["row"]>;

/**
 * closed: every row is accounted for. in_flight: what differs is on the bus, or was inserted after the sender told. unreadable: what differs
 * may be in batches whose rows cannot be counted. cut: the ledger does not reach back to the sender's beginning. unknown: the sender tells
 * nothing (any more). open: rows are missing, or there are more than were sent.
 */
export const BalanceState = z.enum(["closed", "in_flight", "unreadable", "cut", "unknown", "open"]);
export type BalanceState = z.infer<typeof BalanceState>;

/**
 * The account of one sender and topic, in rows. difference = produced - dropped - spooled - inserted - dead, where the sender tells of
 * checkpoints: at the last sequence that it knew to be on the bus when it told.
 */
export const Balance = z.strictObject({
  /** A host, a gateway, or `dlq`: all replays of dead letters. */
  sender: z.string(),
  topic: z.string(),
  state: BalanceState,
  /** As the sender told last; null where it does not. */
  told: Ledger.nullable(),
  told_at_unix_ms: z.number().nullable(),
  inserted: z.number(),
  dead: z.number(),
  /** Rows of batches that came again, which count for nothing; within the retention of the ledger. */
  duplicate: z.number(),
  unreadable_batches: z.number(),
  difference: z.number().nullable(),
});
export type Balance = z.infer<typeof Balance>;

export interface LedgerFacts {
  readonly heartbeats: readonly Heartbeat[];
  readonly gateways: readonly GatewayReport[];
  /** Read after the two above. */
  readonly accounts: readonly Account[];
  /** Batches of each topic that ingest has not done with, asked after the senders' telling and before the accounts; null: not known. */
  readonly waiting: ReadonlyMap<string, number> | null;
}

interface Sender {
  readonly name: string;
  readonly atUnixMs: number;
  readonly topics: Readonly<Record<string, Ledger>>;
  readonly checkpoints: readonly Checkpoint[];
  /** When its producers began; null where that is not told: an agent's outlive its process. */
  readonly bornAtUnixMs: number | null;
}

/** What the ledger has of one sender and topic, and what else decides the state. */
interface Known {
  readonly accounts: readonly Account[];
  readonly unreadable: number;
  readonly waiting: number | null;
  /** The ledger does not reach back to the sender's first batch. */
  readonly isCut: boolean;
}

interface Judgement {
  readonly state: BalanceState;
  readonly difference: number;
}

/** Sequences run through all topics of a producer: one that began within the ledger's memory has an account from here on. */
const FIRST_SEQUENCE = 1;

const senders = ({ heartbeats, gateways }: LedgerFacts): readonly Sender[] => [
  ...heartbeats.map(({ host: name, ...told }) => ({
    ...told,
    name,
    atUnixMs: told.at_unix_ms,
    bornAtUnixMs: null,
  })),
  ...gateways.map(({ gateway: name, ...told }) => ({
    ...told,
    name,
    atUnixMs: told.at_unix_ms,
    bornAtUnixMs: name.startsWith("gateway:") ? told.started_at_unix_ms : null,
  })),
];

/** A host that lost its spool goes on under another producer: the newest is the one that a heartbeat without checkpoints speaks of. */
const newestProducer = (own: readonly Account[]): string | null =>
  own
    .filter(({ producer }) => producer !== "")
    .reduce<Account | null>((a, b) => (a !== null && a.last_at_unix_ms >= b.last_at_unix_ms ? a : b), null)?.producer ??
  null;

/** All lanes of a gateway or a reader are one account; of an agent it is the producer that it goes under now. */
const currentAccounts = (own: readonly Account[], sender: Sender | null): readonly Account[] => {
  const told = new Set(sender?.checkpoints.map(({ producer }) => producer));
  if (told.size > 0) return own.filter(({ producer }) => told.has(producer));
  if (sender === null || sender.name.startsWith("gateway:")) return own.filter(({ producer }) => producer !== "");
  const newest = newestProducer(own);
  return own.filter(({ producer }) => producer === newest);
};

const sumOf = (accounts: readonly Account[], rowsOf: (account: Account) => number): number =>
  accounts.reduce((sum, account) => sum + rowsOf(account), 0);

const missing = (rows: number, unreadable: number): BalanceState =>
  rows <= unreadable * BATCH_ROWS_MAX ? "unreadable" : "open";

const onItsWay = ({ waiting }: Known): boolean => waiting === null || waiting > 0;

/** Each producer is compared at its checkpoint: what is missing behind it is lost, whatever else is on its way. */
const judgeAtCheckpoints = (told: Ledger, checkpoints: readonly Checkpoint[], known: Known): Judgement => {
  const gaps = checkpoints.map(({ producer, sequence, rows }) => {
    const account = known.accounts.find((one) => one.producer === producer);
    const gap = rows - (account?.checkpoint_rows ?? 0);
    // The sender told more between the two readings: what is not there yet was sent after the bus was asked what waits.
    const isNewer = account !== undefined && account.checkpoint_sequence > sequence;
    return { gap, isReached: account?.is_reached === true && !isNewer, isNewer };
  });
  const difference = gaps.reduce((sum, { gap }) => sum + gap, 0);
  const lost = gaps.reduce((sum, { gap, isReached }) => sum + (isReached ? Math.max(0, gap) : 0), 0);
  const away = gaps.reduce((sum, { gap, isReached }) => sum + (isReached ? 0 : Math.max(0, gap)), 0);
  const surplus = gaps.reduce((sum, { gap, isNewer }) => sum + (isNewer ? 0 : Math.max(0, -gap)), 0);
  if (known.isCut) return { state: "cut", difference };
  if (lost > 0) return { state: missing(lost, known.unreadable), difference };
  if (away > 0) return { state: onItsWay(known) ? "in_flight" : missing(away, known.unreadable), difference };
  if (gaps.some(({ isNewer, gap }) => isNewer && gap !== 0)) return { state: "in_flight", difference };
  // Rows that the sender counted as dropped may have arrived after all: an answer of the bus that was lost. Each is accounted for.
  const dropped = Object.values(told.dropped).reduce((sum, rows) => sum + rows, 0);
  return { state: surplus > dropped ? "open" : "closed", difference };
};

/** By totals alone, as senders without checkpoints tell them: what is new on the bus hides a loss until it has come in. */
const judgeByTotals = (told: Ledger, known: Known): Judgement => {
  const taken = sumOf(known.accounts, ({ rows, dead_rows }) => rows + dead_rows);
  const difference = told.delivered - taken;
  if (known.isCut) return { state: "cut", difference };
  if (difference === 0) return { state: "closed", difference };
  if (difference > 0)
    return { state: onItsWay(known) ? "in_flight" : missing(difference, known.unreadable), difference };
  // Inserted before the sender told of them: more than it has ever produced cannot be.
  const settled = taken - sumOf(known.accounts, ({ recent_rows }) => recent_rows);
  return { state: settled > told.produced ? "open" : "in_flight", difference };
};

const isCutFor =
  (checkpoints: readonly Checkpoint[]) =>
  ({ topic, producer, since_sequence }: Account): boolean => {
    const told = checkpoints.find((one) => one.topic === topic && one.producer === producer);
    const since = told?.since_sequence ?? FIRST_SEQUENCE;
    return since === FIRST_SEQUENCE ? since_sequence > since : since_sequence !== since;
  };

/** What all accounts are judged with. `oldestUnixMs`: of the ledger's rows; who fell silent before has none left. */
interface Whole {
  readonly waiting: LedgerFacts["waiting"];
  readonly oldestUnixMs: number;
}

const balanceOf = (
  sender: Sender | null,
  own: readonly Account[],
  topic: string,
  { waiting, oldestUnixMs }: Whole,
): Balance => {
  const current = currentAccounts(own, sender);
  const accounts = current.filter((one) => one.topic === topic);
  const unreadable = own.find((one) => one.topic === topic && one.producer === "")?.unreadable_batches ?? 0;
  const told = sender?.topics[topic] ?? null;
  const isForgotten = current.length === 0 && sender !== null && sender.atUnixMs < oldestUnixMs;
  const isWhole = sender !== null && sender.bornAtUnixMs !== null && sender.bornAtUnixMs >= oldestUnixMs;
  const known: Known = {
    accounts,
    unreadable,
    waiting: waiting === null ? null : (waiting.get(topic) ?? 0),
    isCut: isForgotten || (!isWhole && current.length > 0 && current.every(isCutFor(sender?.checkpoints ?? []))),
  };
  const checkpoints = sender?.checkpoints.filter((one) => one.topic === topic) ?? [];
  const judge = (ledger: Ledger): Judgement =>
    checkpoints.length > 0 ? judgeAtCheckpoints(ledger, checkpoints, known) : judgeByTotals(ledger, known);
  const judged = told === null ? null : judge(told);
  return {
    sender: sender?.name ?? own[0]?.account ?? "",
    topic,
    state: judged?.state ?? "unknown",
    told,
    told_at_unix_ms: sender?.atUnixMs ?? null,
    inserted: sumOf(accounts, ({ rows }) => rows),
    dead: sumOf(accounts, ({ dead_rows }) => dead_rows),
    duplicate: sumOf(accounts, ({ duplicate_rows }) => duplicate_rows),
    unreadable_batches: unreadable,
    difference: judged?.difference ?? null,
  };
};

/** One balance for each sender and topic, in that order; senders that are only in the ledger come with what it has. */
export const ledgerBalances = (facts: LedgerFacts): readonly Balance[] => {
  const told = new Map(senders(facts).map((sender) => [sender.name, sender]));
  const accounts = Map.groupBy(facts.accounts, ({ account }) => account);
  const oldestUnixMs = facts.accounts.reduce((oldest, one) => Math.min(oldest, one.first_at_unix_ms), Infinity);
  const whole: Whole = { waiting: facts.waiting, oldestUnixMs: Number.isFinite(oldestUnixMs) ? oldestUnixMs : 0 };
  const names = new Set([...told.keys(), ...accounts.keys()]);
  return [...names].sort().flatMap((name) => {
    const sender = told.get(name) ?? null;
    const own = accounts.get(name) ?? [];
    const topics = new Set([...own.map(({ topic }) => topic), ...Object.keys(sender?.topics ?? {})]);
    return [...topics].sort().map((topic) => balanceOf(sender, own, topic, whole));
  });
};
