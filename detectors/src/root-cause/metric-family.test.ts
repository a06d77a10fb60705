import { expect, test } from "vitest";
import { familyOf, latencyPreference, type MetricFamily } from "./metric-family.ts";

const NAMES: readonly (readonly [string, MetricFamily])[] = [
  ["cpu", "resource"],
  ["system.memory.usage", "resource"],
  ["jvm.heap_used", "resource"],
  ["latency_Average", "latency"],
  ["server_p90", "latency"],
  ["http.server.request.duration", "latency"],
  ["http.client.request.duration", "client_latency"],
  ["client_p99", "client_latency"],
  ["availability_Average", "health"],
  ["request_errors", "errors"],
  ["http_5xx", "errors"],
  ["requests_Sum", "requests"],
  ["ops", "requests"],
  ["net_tx", "other"],
];

test.each(NAMES)("a metric named %s is of the family %s", (name, family) => {
  expect(familyOf(name)).toBe(family);
});

test("a mean is preferred to a percentile, and a near percentile to a far one", () => {
  const kinds = ["latency_p99", "latency_p50", "latency_Average", "latency_p90"];
  expect(kinds.sort((a, b) => latencyPreference(a) - latencyPreference(b))).toEqual([
    "latency_Average",
    "latency_p50",
    "latency_p90",
    "latency_p99",
  ]);
});
