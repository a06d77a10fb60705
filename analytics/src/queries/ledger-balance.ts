import { BATCH_ROWS_MAX, type GatewayReport, type Heartbeat, Ledger } from "@homeostat/schemas";
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

/** The account of one sender and topic, in rows. difference = produced - dropped - spooled - inserted - dead. */
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
}

const NOTHING: Omit<Account, "topic" | "account" | "producer"> = {
  since_sequence: 0,
  rows: 0,
  dead_rows: 0,
  recent_rows: 0,
  duplicate_rows: 0,
  unreadable_batches: 0,
  last_at_unix_ms: 0,
};
/** Sequences run through all topics of a producer: one that began within the ledger's memory has an account from here on. */
const FIRST_SEQUENCE = 1;

const senders = ({ heartbeats, gateways }: LedgerFacts): readonly Sender[] => [
  ...heartbeats.map(({ host, at_unix_ms, topics }) => ({ name: host, atUnixMs: at_unix_ms, topics })),
  ...gateways.map(({ gateway, at_unix_ms, topics }) => ({ name: gateway, atUnixMs: at_unix_ms, topics })),
];

/** A host that lost its spool goes on under another producer: the newest is the one that its heartbeat speaks of. */
const currentProducer = (own: readonly Account[]): string | null =>
  own
    .filter(({ producer }) => producer !== "")
    .reduce<Account | null>((a, b) => (a !== null && a.last_at_unix_ms >= b.last_at_unix_ms ? a : b), null)?.producer ??
  null;

const differenceOf = ({ delivered }: Ledger, { rows, dead_rows }: typeof NOTHING): number =>
  delivered - rows - dead_rows;

interface Known {
  readonly unreadable: number;
  readonly waiting: number | null;
  /** The ledger does not reach back to the sender's first batch. */
  readonly isCut: boolean;
}

const stateOf = (told: Ledger, account: typeof NOTHING, { unreadable, waiting, isCut }: Known): BalanceState => {
  const difference = differenceOf(told, account);
  if (isCut) return "cut";
  if (difference === 0) return "closed";
  if (difference > 0) {
    if (waiting === null || waiting > 0) return "in_flight";
    return difference <= unreadable * BATCH_ROWS_MAX ? "unreadable" : "open";
  }
  // Inserted before the sender told of them: more than it has ever produced cannot be.
  const settled = account.rows + account.dead_rows - account.recent_rows;
  return settled > told.produced ? "open" : "in_flight";
};

const balanceOf = (
  sender: Sender | null,
  own: readonly Account[],
  topic: string,
  waiting: LedgerFacts["waiting"],
): Balance => {
  const producer = currentProducer(own);
  const current = own.filter((account) => account.producer === producer);
  const account = current.find((one) => one.topic === topic) ?? NOTHING;
  const unreadable = own.find((one) => one.topic === topic && one.producer === "")?.unreadable_batches ?? 0;
  const told = sender?.topics[topic] ?? null;
  const known = {
    unreadable,
    waiting: waiting === null ? null : (waiting.get(topic) ?? 0),
    isCut: current.length > 0 && current.every(({ since_sequence }) => since_sequence > FIRST_SEQUENCE),
  };
  return {
    sender: sender?.name ?? own[0]?.account ?? "",
    topic,
    state: told === null ? "unknown" : stateOf(told, account, known),
    told,
    told_at_unix_ms: sender?.atUnixMs ?? null,
    inserted: account.rows,
    dead: account.dead_rows,
    duplicate: account.duplicate_rows,
    unreadable_batches: unreadable,
    difference: told === null ? null : differenceOf(told, account),
  };
};

/** One balance for each sender and topic, in that order; senders that are only in the ledger come with what it has. */
export const ledgerBalances = (facts: LedgerFacts): readonly Balance[] => {
  const told = new Map(senders(facts).map((sender) => [sender.name, sender]));
  const accounts = Map.groupBy(facts.accounts, ({ account }) => account);
  const names = new Set([...told.keys(), ...accounts.keys()]);
  return [...names].sort().flatMap((name) => {
    const sender = told.get(name) ?? null;
    const own = accounts.get(name) ?? [];
    const topics = new Set([...own.map(({ topic }) => topic), ...Object.keys(sender?.topics ?? {})]);
    return [...topics].sort().map((topic) => balanceOf(sender, own, topic, facts.waiting));
  });
};
