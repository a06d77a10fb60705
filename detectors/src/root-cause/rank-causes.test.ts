import fc from "fast-check";
import { expect, test } from "vitest";
import { DETECTED_MS, linesOf, metric, traffic } from "./incident.fixture.ts";
import type { IncidentEvidence, MetricSeries } from "./incident.ts";
import { rankCauses } from "./rank-causes.ts";

const NOTHING: IncidentEvidence = { detectedAtUnixMs: DETECTED_MS, metrics: [] };
const cpu = (service: string, level: number, to = level): MetricSeries => metric(service, "cpu", { level, to });
const names = (evidence: IncidentEvidence): readonly string[] => rankCauses(evidence).services.map(({ name }) => name);

test("without evidence nothing is ranked, and the explanation says so", () => {
  expect(rankCauses(NOTHING)).toEqual({
    services: [],
    metrics: [],
    explanation: "Nothing in the evidence points at any one service.",
  });
});

test("a single calm service is ranked without a reason to suspect it", () => {
  const { services, explanation } = rankCauses({ ...NOTHING, metrics: [cpu("only", 5)] });
  expect(services[0]?.score).toBeLessThan(0.3);
  expect(services).toHaveLength(1);
  expect(explanation).toContain("only");
});

test("the winner has its reasons and each loser a reason why it is not the winner", () => {
  const { services, metrics, explanation } = rankCauses({
    ...NOTHING,
    metrics: [cpu("a", 5), cpu("b", 5, 90), cpu("c", 8)],
  });
  expect(services[0]).toMatchObject({ name: "b", reasons: [expect.stringContaining("cpu moved by")] });
  expect(services[0]).not.toHaveProperty("whyNot");
  expect(services.slice(1).every(({ whyNot }) => whyNot?.includes("b"))).toBe(true);
  expect(metrics[0]).toMatchObject({ service: "b", kind: "cpu" });
  expect(explanation).toMatch(/^b is the likeliest cause/);
});

test("a change shortly before raises what it changed; one long before, or after, does not", () => {
  const metrics = [cpu("a", 5), cpu("b", 5), cpu("c", 5)];
  const changed = (minutes: number) => ({
    ...NOTHING,
    metrics,
    changes: [{ service: "b", atUnixMs: DETECTED_MS - minutes * 60_000, summary: "release 7" }],
  });
  expect(rankCauses(changed(2)).services[0]).toMatchObject({
    name: "b",
    reasons: expect.arrayContaining([expect.stringContaining("release 7")]),
  });
  const scoreOfB = (evidence: IncidentEvidence) =>
    rankCauses(evidence).services.find(({ name }) => name === "b")?.score;
  expect(scoreOfB(changed(300))).toBe(scoreOfB({ ...NOTHING, metrics }));
  expect(scoreOfB(changed(-5))).toBe(scoreOfB({ ...NOTHING, metrics }));
});

test("without a normal time, the spans before the detection are the normal ones", () => {
  const spans = [
    ...traffic({ traces: 30, startMs: DETECTED_MS - 30_000 }),
    ...traffic({ traces: 30, startMs: DETECTED_MS, workMs: { bank: 100 } }).map((span) => ({
      ...span,
      traceId: `now ${span.traceId}`,
    })),
  ];
  expect(names({ ...NOTHING, spans })[0]).toBe("bank");
});

test("lines are told apart by their templates, not by their numbers", () => {
  const normalSpans = traffic({ traces: 30, startMs: DETECTED_MS - 60_000 });
  const spans = traffic({ traces: 30, startMs: DETECTED_MS });
  const numbered = (done: boolean, list: typeof spans) =>
    linesOf(list, "bank", done ? ["charge begins for 1", "charge is done after 5 ms"] : ["charge begins for 1"]).map(
      (line, at) => ({
        ...line,
        message: line.message.replaceAll(/\d+/g, String(at * 37)),
      }),
    );
  const logs = numbered(false, spans);
  expect(names({ ...NOTHING, spans, normalSpans, logs, normalLogs: numbered(true, normalSpans) })[0]).toBe("bank");
});

const SERVICES = ["front", "pay", "bank", "cart"] as const;
const Shop = fc.record({
  levels: fc.array(fc.double({ min: 1, max: 50, noNaN: true }), { minLength: 4, maxLength: 4 }),
  sick: fc.integer({ min: 0, max: 3 }),
  factor: fc.double({ min: 3, max: 20, noNaN: true }),
});
const shop = ({ levels, sick, factor }: { levels: number[]; sick: number; factor: number }): IncidentEvidence => ({
  ...NOTHING,
  metrics: SERVICES.flatMap((service, at) => {
    const level = levels[at] ?? 1;
    return [cpu(service, level, at === sick ? level * factor : level), metric(service, "latency_avg", { level: 10 })];
  }),
  graph: [
    ["front", "pay"],
    ["pay", "bank"],
    ["front", "cart"],
  ],
});

const renamed = (evidence: IncidentEvidence, to: (name: string) => string): IncidentEvidence => ({
  ...evidence,
  metrics: evidence.metrics.map((one) => ({ ...one, service: to(one.service) })),
  graph: (evidence.graph ?? []).map(([caller, callee]) => [to(caller), to(callee)]),
});

test("what services are called does not matter", () => {
  const mirrored = (name: string): string => `zz-${[...name].toReversed().join("")}`;
  fc.assert(
    fc.property(Shop, (made) => {
      const before = new Map(rankCauses(shop(made)).services.map(({ name, score }) => [mirrored(name), score]));
      for (const { name, score } of rankCauses(renamed(shop(made), mirrored)).services)
        expect(score).toBeCloseTo(before.get(name) ?? -1, 9);
    }),
    { numRuns: 40 },
  );
});

test("the order of the evidence does not matter", () => {
  fc.assert(
    fc.property(Shop, (made) => {
      const evidence = shop(made);
      expect(names({ ...evidence, metrics: evidence.metrics.toReversed() })).toEqual(names(evidence));
    }),
    { numRuns: 40 },
  );
});

test("another clock shows the same causes", () => {
  const evidence = shop({ levels: [5, 6, 7, 8], sick: 2, factor: 9 });
  const byMs = 86_400_000;
  const shifted = {
    ...evidence,
    detectedAtUnixMs: evidence.detectedAtUnixMs + byMs,
    metrics: evidence.metrics.map((one) => ({
      ...one,
      timesUnixMs: Array.from(one.timesUnixMs, (time) => time + byMs),
    })),
  };
  expect(rankCauses(shifted)).toEqual(rankCauses(evidence));
});

test("whatever values are missing or not finite, every service is ranked once with a score between 0 and 1", () => {
  const Values = fc.array(fc.oneof(fc.double(), fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY)), {
    maxLength: 20,
  });
  const kinds = fc.constantFrom("cpu", "latency_avg", "client_p90", "availability", "errors", "requests", "net_tx");
  const Series = fc.record({
    service: fc.constantFrom(...SERVICES),
    kind: kinds,
    values: Values,
    normalValues: Values,
  });
  fc.assert(
    fc.property(fc.array(Series, { maxLength: 20 }), (series) => {
      const timesUnixMs = Float64Array.from({ length: 20 }, (_, at) => DETECTED_MS + (at - 10) * 60_000);
      const { services } = rankCauses({
        ...shop({ levels: [1, 1, 1, 1], sick: 0, factor: 3 }),
        metrics: series.map((one) => ({ ...one, timesUnixMs })),
      });
      expect(new Set(services.map(({ name }) => name)).size).toBe(services.length);
      for (const { score } of services) expect(score >= 0 && score <= 1).toBe(true);
    }),
  );
});
