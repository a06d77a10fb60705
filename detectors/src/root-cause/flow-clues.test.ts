import { expect, test } from "vitest";
import { callGraph } from "./call-graph.ts";
import { scoreMetrics } from "./change-score.ts";
import { flowClues } from "./flow-clues.ts";
import { DETECTED_MS, metric } from "./incident.fixture.ts";
import type { MetricSeries } from "./incident.ts";

const CHAIN = [
  ["front", "pay"],
  ["pay", "bank"],
  ["front", "cart"],
] as const;

const ranked = (
  series: readonly MetricSeries[],
  edges: Iterable<readonly [string, string]>,
  symptom?: { service: string; kind: string },
) =>
  flowClues(scoreMetrics(series, DETECTED_MS), callGraph(edges), {
    detectedAtUnixMs: DETECTED_MS,
    ...(symptom === undefined ? {} : { symptom }),
  }).toSorted((a, b) => b.strength - a.strength);

const requests = (service: string, level = 100) => metric(service, "requests", { level });
const latency = (service: string, level: number, to = level) => metric(service, "latency_avg", { level, to });
const health = (service: string, to: number) => metric(service, "availability", { level: 100, to });

test("of a chain that became slow together, the deepest is the one that lost the time itself", () => {
  const series = ["front", "pay", "bank", "cart"].map((name) => requests(name));
  const found = ranked(
    [...series, latency("front", 50, 250), latency("pay", 30, 230), latency("bank", 10, 210), latency("cart", 5)],
    CHAIN,
  );
  expect(found[0]?.service).toBe("bank");
  expect(found.find(({ service }) => service === "front")?.reason).toMatch(
    /0 % are its own, what it calls explains all/,
  );
});

test("a caller that lost more than its callees is suspected itself", () => {
  const series = ["front", "pay", "bank"].map((name) => requests(name));
  expect(
    ranked([...series, latency("front", 50, 500), latency("pay", 30, 60), latency("bank", 10, 40)], CHAIN)[0]?.service,
  ).toBe("front");
});

test("a callee without metrics of its own is looked through", () => {
  const found = ranked(
    [requests("front"), requests("bank"), latency("front", 50, 250), latency("bank", 10, 210)],
    CHAIN,
  );
  expect(found[0]?.service).toBe("bank");
});

test("failed requests are followed like lost time", () => {
  const series = ["front", "pay", "bank"].flatMap((name) => [requests(name), health(name, name === "cart" ? 100 : 80)]);
  expect(ranked(series, CHAIN)[0]).toMatchObject({ service: "bank", source: "errors" });
});

test("counted errors are compared as they are, whatever the number of requests", () => {
  const errors = (service: string, to: number) => metric(service, "error_count", { level: 2, to });
  const series = [requests("front", 10), requests("pay", 10_000), errors("front", 50), errors("pay", 9)];
  expect(ranked(series, [["pay", "front"]]).map(({ service }) => service)).toEqual(["front", "pay"]);
});

test("what cannot have reached the symptom does not count beyond what the symptom lost", () => {
  const series = [
    requests("front"),
    requests("pay"),
    requests("batch", 10_000),
    latency("front", 50, 150),
    latency("pay", 30, 130),
  ];
  const found = ranked([...series, latency("batch", 10, 200)], CHAIN, { service: "front", kind: "latency_avg" });
  expect(found[0]?.service).toBe("pay");
});

test("callers in a circle are followed without an end", () => {
  const circle = [...CHAIN, ["bank", "front"], ["bank", "bank"]] as const;
  const series = ["front", "pay", "bank"].flatMap((name) => [requests(name), latency(name, 10, 100)]);
  expect(ranked(series, circle)).toHaveLength(3);
});
