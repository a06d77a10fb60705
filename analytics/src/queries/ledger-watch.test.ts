import { describe, expect, it } from "vitest";
import type { Balance } from "./ledger-balance.ts";
import { type LedgerGaps, watchLedger } from "./ledger-watch.ts";

const MINUTE_MS = 60_000;
const balance = (state: Balance["state"], more: Partial<Balance> = {}): Balance => ({
  sender: "web-1",
  topic: "telemetry.logs",
  state,
  told: { produced: 10, delivered: 10, spooled: 0, dropped: {} },
  told_at_unix_ms: 0,
  inserted: 7,
  dead: 0,
  duplicate: 0,
  unreadable_batches: 0,
  difference: 3,
  ...more,
});

/** What is told, minute by minute. */
const play = (minutes: readonly (readonly Balance[])[]): (readonly string[])[] => {
  let gaps: LedgerGaps = new Map();
  return minutes.map((balances, minute) => {
    const looked = watchLedger(gaps, balances, minute * MINUTE_MS);
    gaps = looked.gaps;
    return looked.findings.map(({ state, value, entity }) => `${entity.host} ${state} ${value}`);
  });
};

describe("the watch over the ledger", () => {
  it("tells of an account that has not closed for five minutes, every minute, and once when it closes", () => {
    const open = [balance("open")];
    expect(play([open, open, open, open, open, open, open, [balance("closed")], []])).toEqual([
      ...[[], [], [], [], []],
      ["web-1 firing 3"],
      ["web-1 firing 3"],
      ["web-1 resolved 0"],
      [],
    ]);
  });

  it("is silent about what is on its way, and begins anew after a moment of closing", () => {
    const open = [balance("open")];
    const away = [balance("in_flight")];
    expect(play([open, open, open, away, open, open, open, open, open]).flat()).toEqual([]);
  });

  it("tells of at most fifty senders at once", () => {
    const many = Array.from({ length: 200 }, (_, host) => balance("open", { sender: `h-${host}` }));
    expect(play(Array.from({ length: 6 }, () => many)).at(-1)).toHaveLength(50);
  });

  it("names the host of a gateway", () => {
    const open = [balance("open", { sender: "gateway:edge-1/0a", difference: -2 })];
    expect(play(Array.from({ length: 6 }, () => open)).at(-1)).toEqual(["edge-1 firing -2"]);
  });
});
