import { expect, test } from "vitest";
import type { Span } from "./incident.ts";
import { spanTree } from "./span-tree.ts";

const span = (spanId: string, parentSpanId: string, startUnixUs: number, durationUs: number, service = "a"): Span => ({
  traceId: "t",
  spanId,
  parentSpanId,
  service,
  operation: spanId,
  startUnixUs,
  durationUs,
});

test("a span's own time is what its children do not cover, overlapping ones counted once", () => {
  const { selfUs } = spanTree([span("p", "", 0, 100), span("x", "p", 10, 30), span("y", "p", 20, 40)]);
  expect([...selfUs]).toEqual([50, 30, 40]);
});

test("a child that outlives its parent takes no more than its parent has", () => {
  expect(spanTree([span("p", "", 0, 100), span("x", "p", 90, 500)]).selfUs[0]).toBe(90);
});

test("beside a span that waits for another service, one without children does no work", () => {
  const { selfUs, callees } = spanTree([
    span("root", "", 0, 100),
    span("beside", "root", 0, 100),
    span("wait", "root", 10, 80),
    span("other", "wait", 20, 60, "b"),
  ]);
  expect(callees).toEqual([null, null, "b", null]);
  expect(selfUs[1]).toBe(20);
  expect(selfUs[2]).toBe(20);
});

test("a span that is its own ancestor, and one whose parent is missing, are read without an end", () => {
  const { parents } = spanTree([
    span("x", "y", 0, 10),
    span("y", "x", 0, 10),
    span("z", "gone", 0, 10),
    span("w", "w", 0, 10),
  ]);
  expect([...parents]).toEqual([1, 0, -1, -1]);
});

test("the same span id in two traces is two spans", () => {
  const { parents } = spanTree([
    span("p", "", 0, 10),
    { ...span("p", "", 0, 10), traceId: "u" },
    { ...span("c", "p", 0, 5), traceId: "u" },
  ]);
  expect([...parents]).toEqual([-1, -1, 1]);
});
