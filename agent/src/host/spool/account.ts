import type { Ledger } from "@homeostat/schemas";

/** Rows, and what became of them: those up to `consumed` were delivered or dropped. What was rejected was never appended. */
export interface Account {
  appended: number;
  consumed: number;
  delivered: number;
  dropped: Record<string, number>;
  rejected: Record<string, number>;
}

export const emptyAccount = (): Account => ({ appended: 0, consumed: 0, delivered: 0, dropped: {}, rejected: {} });

export const addRows = (counts: Record<string, number>, reason: string, rows: number): void => {
  const total = (counts[reason] ?? 0) + rows;
  if (total > 0) counts[reason] = total;
  else delete counts[reason];
};

/** All that was appended up to here is gone. */
export const dropUpTo = (account: Account, appended: number, reason: string): void => {
  if (appended <= account.consumed) return;
  addRows(account.dropped, reason, appended - account.consumed);
  account.consumed = appended;
};

/** Rows that were counted as dropped have arrived after all; no more than were counted, which is what it returns. */
export const undrop = (account: Account, reason: string, rows: number): number => {
  const back = Math.min(rows, account.dropped[reason] ?? 0);
  addRows(account.dropped, reason, -back);
  account.delivered += back;
  return back;
};

export const ledgerOf = ({ appended, consumed, delivered, dropped, rejected }: Account): Ledger => {
  const all = { ...dropped };
  let produced = appended;
  for (const [reason, rows] of Object.entries(rejected)) {
    addRows(all, reason, rows);
    produced += rows;
  }
  return { produced, delivered, spooled: appended - consumed, dropped: all };
};
