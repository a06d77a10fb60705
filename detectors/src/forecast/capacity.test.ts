import { expect, test } from "vitest";
import type { HourlySeries, HourlyVerdict } from "../hourly.ts";
import type { Series } from "../series.ts";
import { CapacityConfig, capacity, forecastCapacity } from "./capacity.ts";
import { seriesOf } from "./series.fixture.ts";

const disk: Series = {
  fingerprint: "00000000000000aa",
  metric: "system.filesystem.utilization",
  unit: "1",
  isCounter: false,
  host: "db-1",
  service: "",
  labels: { mountpoint: "/var", state: "used" },
};

const config = CapacityConfig.parse({
  detector: "capacity",
  name: "filesystem-fills",
  title: "File system {mountpoint}",
  metric: disk.metric,
  limit: 0.95,
});

const row = (values: Float64Array): HourlySeries => ({ series: disk, fromUnixMs: 0, values });
const growing = (to: number): Float64Array =>
  seriesOf({ rows: 500, seed: 3, level: to - 0.5, growth: 0.001, noise: 0.002 });

const alarm = (verdict: HourlyVerdict) => {
  if (typeof verdict === "string") throw new Error(`no alarm: ${verdict}`);
  return verdict;
};

test("a disk that fills within the week is told with its days, their interval and the back-test's error", () => {
  const told = alarm(capacity.judge(row(growing(0.87)), config));
  expect(told).toMatchObject({
    severity: "warning",
    category: "capacity",
    unit: "1",
    expected: { low: null, high: 0.95 },
  });
  const { days_to_limit, days_to_limit_low, days_to_limit_high, crossing_probability, backtest_smape } = told.labels;
  expect(Number(days_to_limit)).toBeGreaterThan(2);
  expect(Number(days_to_limit)).toBeLessThan(5);
  expect(Number(days_to_limit_low)).toBeLessThanOrEqual(Number(days_to_limit));
  expect(Number(days_to_limit_high)).toBeGreaterThanOrEqual(Number(days_to_limit));
  expect(Number(crossing_probability)).toBeGreaterThan(0.9);
  expect(Number(backtest_smape)).toBeGreaterThan(0);
  expect(told.summary).toMatch(/^File system \/var on db-1: .* is 86\.96 % and reaches its limit of 95 % in .* days/);
});

test("a limit that is near is critical", () => {
  expect(alarm(capacity.judge(row(growing(0.94)), config)).severity).toBe("critical");
});

test("a limit that is already reached is critical and says so", () => {
  const told = alarm(capacity.judge(row(growing(0.97)), config));
  expect(told.severity).toBe("critical");
  expect(told.summary).toContain("its limit is 95 %");
});

test("a disk that stands still is fine", () => {
  expect(capacity.judge(row(seriesOf({ rows: 500, seed: 3, level: 0.5, noise: 0.002 })), config)).toBe("fine");
});

test.each([
  ["a day of hours", growing(0.9).slice(0, 24)],
  ["a series that has fallen silent", growing(0.9).fill(Number.NaN, 480)],
  ["no value at all", new Float64Array(500).fill(Number.NaN)],
])("%s is unknown: no alarm and no all-clear", (_, values) => {
  expect(capacity.judge(row(values), config)).toBe("unknown");
});

test("a probability between the two levels leaves things as they are", () => {
  const values = growing(0.87);
  const told = forecastCapacity(row(values), config);
  if (told.state !== "ready" || told.crossing === null) throw new Error("no crossing");
  const { probability } = told.crossing;
  const between = { ...config, warn_probability: probability + 0.01, clear_probability: probability - 0.01 };
  expect(capacity.judge(row(values), between)).toBe("unknown");
});

test("a utilization is not foretold beyond one", () => {
  const told = forecastCapacity(row(growing(0.99)), config);
  if (told.state !== "ready") throw new Error(told.reason);
  expect(Math.max(...told.hi95)).toBeLessThanOrEqual(1);
});

test("a clearing level above the warning level is refused", () => {
  expect(CapacityConfig.safeParse({ ...config, warn_probability: 0.3, clear_probability: 0.4 }).success).toBe(false);
});
