import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostSeconds, incidentMetrics, metricFact, metricLatest, metricRange } from "../../analytics/src/index.ts";
import { insertSamples, type MetricStore, startMetricStore } from "./metric-rows.ts";
import { NOON } from "./store-rows.ts";

const SECOND_MS = 1000;
const MINUTE_MS = 60_000;
const HOST = { "host.name": "host-1" };

describe("the model of metrics on a real engine", () => {
  let engine: MetricStore;
  beforeAll(async () => {
    engine = await startMetricStore();
    const seconds = (...points: [number, number][]) => points.map(([at, value]) => [at * SECOND_MS, value] as const);
    await insertSamples(engine.store, [
      // Ends with a staleness marker, and comes back.
      {
        name: "up",
        kind: "gauge",
        labels: { ...HOST, n: "back" },
        points: seconds([0, 10], [10, Number.NaN], [70, 30]),
      },
      { name: "up", kind: "gauge", labels: { ...HOST, n: "gone" }, points: seconds([0, 5], [80, 7], [90, Number.NaN]) },
      {
        name: "up",
        kind: "gauge",
        labels: { ...HOST, n: "odd" },
        points: seconds([0, Number.POSITIVE_INFINITY], [20, 1], [40, Number.NEGATIVE_INFINITY], [60, 3]),
      },
      { name: "up", kind: "gauge", labels: { ...HOST, n: "silent" }, points: seconds([-200, 9]) },
      // A marker between the values of a counter is no reset.
      {
        name: "requests",
        kind: "counter",
        labels: HOST,
        points: seconds([0, 100], [20, 160], [30, Number.NaN], [60, 220], [90, 60]),
      },
      { name: "sent", kind: "delta", labels: HOST, points: seconds([0, 60], [30, 60], [70, 120], [80, Number.NaN]) },
    ]);
  });
  afterAll(() => engine.stop());

  const range = { from_unix_ms: NOON, to_unix_ms: NOON + 2 * MINUTE_MS };
  const byStep = async (metric_name: string, more: object = {}) =>
    (await engine.store.run(metricRange, { metric_name, ...range, ...more })).map(({ at_unix_ms, labels, value }) => [
      labels.n ?? "",
      (at_unix_ms - NOON) / MINUTE_MS,
      value,
    ]);

  it("has staleness markers and infinities in no average, sum, minimum, maximum or last value", async () => {
    expect(await byStep("up")).toEqual([
      ["back", 0, 10],
      ["back", 1, 30],
      ["gone", 0, 5],
      ["gone", 1, 7],
      ["odd", 0, 1],
      ["odd", 1, 3],
    ]);
    for (const [aggregate, all] of [
      ["sum", 16],
      ["min", 1],
      ["max", 10],
      ["last", 16],
    ] as const)
      expect(await byStep("up", { aggregate, group_by: ["host.name"], to_unix_ms: NOON + MINUTE_MS })).toEqual([
        ["", 0, all],
      ]);
  });

  it("counts a counter's rise over a staleness marker, and from zero after a reset", async () => {
    expect(await byStep("requests")).toEqual([
      ["", 0, 1],
      ["", 1, 2],
    ]);
  });

  it("tells a delta as its sum per second", async () => {
    expect(await byStep("sent")).toEqual([
      ["", 0, 2],
      ["", 1, 2],
    ]);
    const [row] = await engine.store.run(metricRange, { metric_name: "sent", ...range });
    expect(row?.unit).toBe("s/s");
    const rows = await engine.store.run(incidentMetrics, { host_names: ["host-1"], ...range, step_ms: MINUTE_MS });
    expect(rows.find(({ metric_name }) => metric_name === "sent")?.values).toEqual([2, 2]);
  });

  it("has no newest value of a series that a marker or five minutes of silence have ended", async () => {
    const latest = async (toMs: number) =>
      (
        await engine.store.run(metricLatest, {
          metric_name: "up",
          from_unix_ms: NOON - 60 * MINUTE_MS,
          to_unix_ms: NOON + toMs,
        })
      ).map(({ labels, value }) => [labels.n, value]);
    expect(await latest(5 * SECOND_MS)).toEqual([
      ["back", 10],
      ["gone", 5],
      ["odd", null],
      ["silent", 9],
    ]);
    expect(await latest(15 * SECOND_MS)).not.toContainEqual(["back", expect.anything()]);
    expect(await latest(100 * SECOND_MS)).toEqual([
      ["back", 30],
      ["odd", 3],
      ["silent", 9],
    ]);
    expect(await latest(100 * SECOND_MS + 1)).not.toContainEqual(["silent", 9]);
    expect(await latest(6 * MINUTE_MS + 11 * SECOND_MS)).toEqual([]);
  });

  it.each([
    ["last", 3],
    ["min", 1],
    ["max", 30],
    ["sum", 56],
    ["avg", 56 / 6],
    ["count", 6],
  ] as const)("measures a fact by %s of what are samples", async (aggregate, value) => {
    const ask = { metric_name: "up", ...range, aggregate, labels: {} };
    const near = expect.closeTo(value, 9);
    if (aggregate !== "last") expect(await engine.store.run(metricFact, ask)).toEqual([{ value: near }]);
    else {
      expect(await engine.store.run(metricFact, { ...ask, labels: { n: "odd" } })).toEqual([{ value: near }]);
      expect(await engine.store.run(metricFact, { ...ask, labels: { n: "gone" } })).toEqual([]);
    }
  });

  it("does not take another's marker for a word of the host", async () => {
    const [host] = await engine.store.run(hostSeconds, range);
    expect(host?.seconds).toEqual([0, 20, 30, 40, 60, 70, 80, 90]);
  });

  it("gives series the identities in SQL that other implementations give them", async () => {
    const file = new URL("../fixtures/fingerprints.json", import.meta.url);
    const vectors: { name: string; labels: Record<string, string>; metric_id: string; fingerprint: string }[] =
      JSON.parse(readFileSync(file, "utf8"));
    const bytes = (text: string) => `unhex('${Buffer.from(text).toString("hex")}')`;
    const ended = (text: string) =>
      `concat(replaceAll(replaceAll(${text}, '\\x02', '\\x02\\x04'), '\\x01', '\\x02\\x03'), '\\x01')`;
    const identity = (text: string) =>
      `lower(leftPad(hex(reinterpretAsUInt64(substring(SHA256(${text}), 1, 8))), 16, '0'))`;
    for (const { name, labels, metric_id, fingerprint } of vectors) {
      const pairs = Object.entries(labels).flatMap(([label, value]) => [bytes(label), bytes(value)]);
      const map = `CAST(map(${pairs.join(", ")}), 'Map(String, String)')`;
      const parts = `arrayMap(label -> concat(${ended("label")}, ${ended(`${map}[label]`)}), arraySort(mapKeys(${map})))`;
      const text = `concat(${ended(bytes(name))}, arrayStringConcat(${parts}))`;
      const answer = await engine.ask(`SELECT ${identity(bytes(name))}, ${identity(text)}`);
      expect(answer.split("\t")).toEqual([metric_id, fingerprint]);
    }
  });
});
