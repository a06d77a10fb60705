import { expect, test } from "vitest";
import { callGraph } from "./call-graph.ts";
import { scoreMetrics } from "./change-score.ts";
import { clientClues } from "./client-clues.ts";
import { DETECTED_MS, metric } from "./incident.fixture.ts";

const waits = (service: string, to: number) => metric(service, "client_p90", { level: 5, to });
const GRAPH = callGraph([
  ["front", "cart"],
  ["pay", "cart"],
  ["pay", "bank"],
]);
const strengths = (front: number, pay: number): ReadonlyMap<string, number> =>
  new Map(
    clientClues(scoreMetrics([waits("front", front), waits("pay", pay)], DETECTED_MS), GRAPH).map(
      ({ service, strength }) => [service, strength],
    ),
  );

test("of a waiting caller's callees, the one that others call without waiting is suspected less", () => {
  const found = strengths(5, 500);
  expect(found.get("bank")).toBeGreaterThan(found.get("cart") ?? 1);
});

test("a callee of which all callers wait is suspected as much as the surest of them", () => {
  const found = strengths(500, 500);
  expect(found.get("cart")).toBeGreaterThan(0.3);
  expect(found.get("cart")).toBeCloseTo(found.get("bank") ?? 0, 1);
});

test("callers that wait less point at nobody", () => {
  expect(strengths(1, 1).size).toBe(0);
});
