import { expect, test } from "vitest";
import { DETECTED_MS, traffic } from "./incident.fixture.ts";
import { latencyClues } from "./span-latency.ts";
import { spanTree } from "./span-tree.ts";

const NORMAL = spanTree(traffic({ traces: 40, startMs: DETECTED_MS - 60_000 }));
const after = (change: Partial<Parameters<typeof traffic>[0]>) =>
  spanTree(traffic({ traces: 30, startMs: DETECTED_MS, ...change }));
const suspects = (tree: ReturnType<typeof spanTree>): readonly string[] =>
  latencyClues(tree, NORMAL)
    .toSorted((a, b) => b.strength - a.strength)
    .map(({ service }) => service);

test("the service whose own work takes longer is suspected, not the ones that wait for it", () => {
  expect(suspects(after({ workMs: { bank: 80 } }))).toEqual(["bank"]);
});

test("where time is lost on the way to a service, that service comes first and its caller after it", () => {
  const [first, second] = suspects(after({ wayMs: { cart: 200 } }));
  expect([first, second]).toEqual(["cart", "front"]);
});

test("a caller that loses time on the way to all its callees is suspected rather than any of them", () => {
  expect(suspects(after({ wayMs: { cart: 100, pay: 100 } }))[0]).toBe("front");
});

test("the same times give no clue", () => {
  expect(latencyClues(after({}), NORMAL)).toEqual([]);
});

test("operations that are not known from before give no clue", () => {
  expect(latencyClues(after({ workMs: { bank: 80 } }), spanTree([]))).toEqual([]);
});
