import { expect, test } from "vitest";
import { behaviourClues } from "./behaviour-clues.ts";
import { callsOf } from "./calls.ts";
import { DETECTED_MS, linesOf, traffic } from "./incident.fixture.ts";
import type { LogLine, Span } from "./incident.ts";
import { spanTree } from "./span-tree.ts";

const same = (message: string): string => message;
const NORMAL = traffic({ traces: 30, startMs: DETECTED_MS - 60_000 });
const NOW = traffic({ traces: 20, startMs: DETECTED_MS });

const clues = (
  now: { spans: readonly Span[]; logs?: readonly LogLine[] },
  normalLogs: readonly LogLine[] = [],
  normal = NORMAL,
) =>
  behaviourClues(
    callsOf(spanTree(normal), normalLogs, same),
    callsOf(spanTree(now.spans), now.logs ?? [], same),
  ).toSorted((a, b) => b.strength - a.strength);

test("a line that no longer follows another one is a clue to the service that wrote it", () => {
  const [first] = clues(
    { spans: NOW, logs: linesOf(NOW, "bank", ["charge begins"]) },
    linesOf(NORMAL, "bank", ["charge begins", "charge is done"]),
  );
  expect(first?.service).toBe("bank");
  expect(first?.reason).toMatch(/“charge is done” after “charge begins” in 0 % of calls, normally in 100 %/);
});

test("what a caller does otherwise is explained by what its callee did otherwise", () => {
  const [first, second] = clues(
    {
      spans: NOW,
      logs: [...linesOf(NOW, "bank", ["charge begins", "charge failed"]), ...linesOf(NOW, "pay", ["no luck"])],
    },
    [...linesOf(NORMAL, "bank", ["charge begins", "charge is done"]), ...linesOf(NORMAL, "pay", ["paid"])],
  );
  expect(first?.service).toBe("bank");
  expect(second?.strength ?? 0).toBe(0);
});

test("a service that stops before its next call, without an answer to blame, is suspected itself", () => {
  const now = traffic({ traces: 20, startMs: DETECTED_MS, without: ["front>cart", "front>pay"] });
  expect(clues({ spans: now })[0]?.service).toBe("front");
});

test("where calls end right after another service answered, that one is suspected first and the caller next", () => {
  const now = traffic({ traces: 20, startMs: DETECTED_MS, without: ["front>pay"] });
  expect(
    clues({ spans: now })
      .map(({ service }) => service)
      .slice(0, 2),
  ).toEqual(["cart", "front"]);
});

test("errors that are no longer written count for less than errors that are new", () => {
  const [healed] = clues({ spans: NOW }, linesOf(NORMAL, "bank", ["charge failed"]));
  const [broken] = clues({ spans: NOW, logs: linesOf(NOW, "bank", ["charge failed"]) });
  expect(broken?.strength ?? 0).toBeGreaterThan(healed?.strength ?? 0);
});

test("twice the traffic is no other behaviour", () => {
  const now = traffic({ traces: 60, startMs: DETECTED_MS });
  expect(clues({ spans: now, logs: linesOf(now, "bank", ["charge"]) }, linesOf(NORMAL, "bank", ["charge"]))).toEqual(
    [],
  );
});

/** Requests of two kinds that bank answers with different lines. */
const mixed = (spans: readonly Span[], card: (trace: number) => boolean): LogLine[] =>
  linesOf(spans, "bank", ["x"]).map((line) => ({
    ...line,
    message: card(Number(line.traceId.slice(1))) ? "by card" : "by cash",
  }));

test("a callee that is asked only for a part of what it was is not blamed for the other mix", () => {
  const isCard = (trace: number): boolean => trace % 3 === 0;
  const normal = traffic({ traces: 60, startMs: DETECTED_MS - 60_000 });
  const all = traffic({ traces: 60, startMs: DETECTED_MS });
  const bank = new Set(all.filter(({ traceId }) => isCard(Number(traceId.slice(1)))).map(({ traceId }) => traceId));
  const cut = traffic({ traces: 60, startMs: DETECTED_MS, without: ["pay>bank"] });
  const now = [...all.filter(({ traceId }) => bank.has(traceId)), ...cut.filter(({ traceId }) => !bank.has(traceId))];
  const found = clues({ spans: now, logs: mixed(now, isCard) }, mixed(normal, isCard), normal);
  expect(found[0]?.service).toBe("pay");
  expect(found.some(({ service }) => service === "bank")).toBe(false);
});

test("lines of no known trace make calls of their own", () => {
  const line = (at: number, message: string): LogLine => ({
    timeUnixUs: at,
    service: "cron",
    traceId: `c${at >> 1}`,
    message,
  });
  const normal = Array.from({ length: 40 }, (_, at) => line(at, at % 2 === 0 ? "begin" : "end"));
  const now = normal.filter(({ message }) => message === "begin");
  expect(clues({ spans: [], logs: now }, normal, [])[0]?.service).toBe("cron");
});
