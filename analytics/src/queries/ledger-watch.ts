import { createHash } from "node:crypto";
import type { Finding } from "@homeostat/schemas";
import type { Balance } from "./ledger-balance.ts";

/** Rows that are missing for less are taken for rows on their way: a hand-over of a partition, a slow heartbeat. */
const FIRING_AFTER_MS = 300_000;
/** Senders told of at once; what goes wrong for more of them is one fault, and the ledger has them all. */
const SENDERS_MAX = 50;

/** A sender and topic whose account has not closed since. */
interface Gap {
  readonly balance: Balance;
  readonly sinceUnixMs: number;
  readonly isTold: boolean;
}
export type LedgerGaps = ReadonlyMap<string, Gap>;

const keyOf = ({ sender, topic }: Balance): string => `${sender}\n${topic}`;

const summaryOf = ({ sender, topic, difference, told, inserted, dead }: Balance): string => {
  const rows = difference ?? 0;
  const what = rows > 0 ? `${rows} rows are missing` : `there are ${-rows} rows too many`;
  return (
    `The account of ${sender} on ${topic} does not close: ${what}. It says that the bus has ${told?.delivered ?? 0}; ` +
    `${inserted} were inserted, ${dead} are dead letters.`
  ).slice(0, 1000);
};

const findingOf = (gap: Gap, state: "firing" | "resolved", nowUnixMs: number): Finding => {
  const { balance, sinceUnixMs } = gap;
  const { sender, topic, difference } = balance;
  const id = `ledger_does_not_close/${sender}/${topic}/${sinceUnixMs}`;
  const [, host = sender] = /^gateway:(.+)\/[^/]*$/.exec(sender) ?? [];
  return {
    finding_id: createHash("sha256").update(id).digest("hex").slice(0, 32),
    detector: "ledger",
    rule: "ledger_does_not_close",
    state,
    severity: "warning",
    category: "data_health",
    entity: { host },
    started_at_unix_ms: sinceUnixMs,
    detected_at_unix_ms: Math.max(sinceUnixMs, nowUnixMs),
    value: state === "firing" ? difference : 0,
    unit: "{row}",
    expected: { low: 0, high: 0 },
    summary: state === "firing" ? summaryOf(balance) : `The account of ${sender} on ${topic} closes again.`,
    labels: { sender: sender.slice(0, 1000), topic },
    evidence: [],
  };
};

/** What to remember and what to tell after a look at all balances; gaps are told once they have lasted, and once when they are closed. */
export const watchLedger = (
  before: LedgerGaps,
  balances: readonly Balance[],
  nowUnixMs: number,
): { readonly gaps: LedgerGaps; readonly findings: readonly Finding[] } => {
  const gaps = new Map<string, Gap>();
  const findings: Finding[] = [];
  for (const balance of balances) {
    if (balance.state !== "open") continue;
    const known = before.get(keyOf(balance));
    const sinceUnixMs = known?.sinceUnixMs ?? nowUnixMs;
    const isLasting = nowUnixMs - sinceUnixMs >= FIRING_AFTER_MS;
    const isTold = known?.isTold === true || (isLasting && findings.length < SENDERS_MAX);
    const gap = { balance, sinceUnixMs, isTold };
    gaps.set(keyOf(balance), gap);
    if (isTold) findings.push(findingOf(gap, "firing", nowUnixMs));
  }
  for (const [key, gap] of before)
    if (gap.isTold && !gaps.has(key)) findings.push(findingOf(gap, "resolved", nowUnixMs));
  return { gaps, findings };
};

export interface LedgerWatchPorts {
  readonly read: () => Promise<readonly Balance[]>;
  readonly publish: (finding: Finding) => Promise<void>;
  readonly now: () => number;
}

/** One look at the ledger; call it once a minute. */
export const createLedgerWatch = ({ read, publish, now }: LedgerWatchPorts): { check(): Promise<void> } => {
  let gaps: LedgerGaps = new Map();
  return {
    async check() {
      const looked = watchLedger(gaps, await read(), now());
      for (const finding of looked.findings) await publish(finding);
      gaps = looked.gaps;
    },
  };
};
