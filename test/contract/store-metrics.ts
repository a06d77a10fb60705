import { beforeAll, describe, expect, it } from "vitest";
import {
  incidentMetrics,
  metricFact,
  metricLatest,
  metricNames,
  metricRange,
  metricSeries,
  type Store,
} from "../../analytics/src/index.ts";
import { seriesFingerprint } from "../../schemas/src/index.ts";
import { AROUND, insertSeries, NOON } from "./store-rows.ts";

/** The part of the suite that asks for metrics. */
export const describeMetricQueries = (store: () => Store): void => {
  describe("metrics", () => {
    const host = { "host.name": "host-1" };
    beforeAll(() =>
      insertSeries(store(), [
        {
          name: "mem",
          labels: { ...host, state: "used" },
          points: [
            [0, 10],
            [30, 20],
            [60, 40],
          ],
        },
        {
          name: "mem",
          labels: { ...host, state: "free" },
          points: [
            [0, 100],
            [30, 200],
          ],
        },
        // Rises by 60 a minute; falls to 5 at second 90, which is a reset.
        {
          name: "io",
          kind: "counter",
          labels: host,
          points: [
            [-30, 70],
            [0, 100],
            [30, 130],
            [60, 160],
            [90, 5],
            [119, 35],
          ],
        },
      ]),
    );
    const range = { from_unix_ms: NOON, to_unix_ms: NOON + 120_000 };

    it("aggregates a gauge by step, each series for itself", async () => {
      const rows = await store().run(metricRange, { metric_name: "mem", ...range, labels: { state: "used" } });
      expect(rows).toEqual([
        { at_unix_ms: NOON, labels: { ...host, state: "used" }, unit: "By", value: 15, resolution: "raw" },
        { at_unix_ms: NOON + 60_000, labels: { ...host, state: "used" }, unit: "By", value: 40, resolution: "raw" },
      ]);
    });

    it.each([
      ["avg", [82.5, 40]],
      ["min", [10, 40]],
      ["max", [200, 40]],
      ["sum", [165, 40]],
      ["last", [220, 40]],
    ] as const)("joins the series of a group by %s", async (aggregate, values) => {
      const rows = await store().run(metricRange, { metric_name: "mem", ...range, aggregate, group_by: ["host.name"] });
      expect(rows.map(({ value }) => value)).toEqual(values);
      expect(rows[0]?.labels).toEqual(host);
    });

    it("tells a counter as its rate, the sample before the range and resets among it", async () => {
      const rows = await store().run(metricRange, { metric_name: "io", ...range });
      expect(rows).toEqual([
        { at_unix_ms: NOON, labels: host, unit: "By/s", value: 1, resolution: "raw" },
        { at_unix_ms: NOON + 60_000, labels: host, unit: "By/s", value: (30 + 5 + 30) / 60, resolution: "raw" },
      ]);
    });

    it("gives every series of the hosts of an incident by steps, and of no other host", async () => {
      const rows = await store().run(incidentMetrics, { host_names: ["host-1"], ...range, step_ms: 30_000 });
      const told = rows.map(({ metric_name, labels, steps_unix_ms, values }) => [
        `${metric_name} ${labels.state ?? ""}`.trim(),
        steps_unix_ms.map((at) => (at - NOON) / 1000),
        values,
      ]);
      expect(told).toHaveLength(3);
      expect(told).toContainEqual(["mem used", [0, 30, 60], [10, 20, 40]]);
      expect(told).toContainEqual(["mem free", [0, 30], [100, 200]]);
      // The first step has nothing before it in the range; the third holds the reset.
      expect(told).toContainEqual(["io", [30, 60], [1, 1]]);
      expect(await store().run(incidentMetrics, { host_names: ["host-2"], ...range })).toEqual([]);
    });

    it("gives the newest value of each series, and nothing where there is nothing in the range", async () => {
      const latest = await store().run(metricLatest, { metric_name: "mem", ...range });
      expect(latest.map(({ labels, value }) => [labels.state, value])).toEqual([
        ["free", 200],
        ["used", 40],
      ]);
      expect(
        await store().run(metricLatest, {
          metric_name: "mem",
          from_unix_ms: NOON + 90_000,
          to_unix_ms: NOON + 120_000,
        }),
      ).toEqual([]);
    });

    it.each([
      ["last", 40],
      ["min", 10],
      ["max", 40],
      ["sum", 70],
      ["count", 3],
    ] as const)("measures a fact by %s", async (aggregate, value) => {
      const query = { metric_name: "mem", ...range, labels: { state: "used" }, aggregate };
      expect(await store().run(metricFact, query)).toEqual([{ value }]);
      expect(await store().run(metricFact, { ...query, labels: { state: "gone" } })).toEqual([]);
    });

    it("finds series by fingerprint, host and label, and lists names", async () => {
      const fingerprint = seriesFingerprint("mem", { ...host, state: "free" })
        .toString(16)
        .padStart(16, "0");
      const series = await store().run(metricSeries, { metric_name: "mem", ...AROUND, fingerprint });
      expect(series).toMatchObject([{ fingerprint, kind: "gauge", labels: { ...host, state: "free" } }]);
      expect(await store().run(metricSeries, { metric_name: "mem", ...AROUND, host_name: "host-2" })).toEqual([]);
      expect(await store().run(metricRange, { metric_name: "mem", ...range, fingerprint })).toHaveLength(1);
      const names = await store().run(metricNames, AROUND);
      expect(names.map(({ metric_name, kind, series: count }) => [metric_name, kind, count])).toEqual([
        ["io", "counter", 1],
        ["mem", "gauge", 2],
      ]);
    });
  });
};
