import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StoreConfig } from "../store/store-config.ts";
import { planReclaim, type StoredDay } from "./plan-reclaim.ts";

const config = StoreConfig.parse({ ttl_days: { logs: 14, metric_samples: 30 } });
const TODAY = "2026-08-20";

const stored = (table_name: string, day: string, bytes: number): StoredDay => ({
  table_name,
  day,
  partition_id: day.replaceAll("-", ""),
  bytes,
  is_current: day >= TODAY,
});

const DAYS = [
  stored("logs", "2026-08-10", 60),
  stored("logs", "2026-08-19", 60),
  stored("logs", TODAY, 500),
  stored("metric_samples", "2026-07-26", 5),
  stored("metric_samples", "2026-08-10", 5),
  stored("metric_series", "2026-07-26", 1),
];

const plan = (freeBytes: number, days: readonly StoredDay[] = DAYS, leavingBytes = 0) => {
  const { drops, ...rest } = planReclaim({ freeBytes, leavingBytes, totalBytes: 1000 }, days, config);
  return { ...rest, drops: drops.map(({ table_name, day }) => `${table_name} ${day}`) };
};

describe("the plan for a disk", () => {
  it("is nothing while there is room", () => {
    expect(plan(100)).toEqual({ freeShare: 0.1, drops: [], outcome: "enough", isStopped: false });
  });

  it("drops what the retention would take next, until the target is met and no further", () => {
    expect(plan(99)).toMatchObject({ outcome: "reclaims", drops: ["logs 2026-08-10"] });
    expect(plan(60).drops).toEqual(["logs 2026-08-10", "metric_samples 2026-07-26", "logs 2026-08-19"]);
  });

  it("drops nothing more while what was dropped is being removed", () => {
    expect(plan(60, DAYS, 50)).toMatchObject({ outcome: "reclaims", drops: [] });
    expect(plan(10, DAYS, 100)).toMatchObject({ outcome: "reclaims", drops: [], isStopped: true });
  });

  it("drops the largest of equals first", () => {
    const days = [stored("logs", "2026-08-10", 1), stored("metric_samples", "2026-07-25", 70)];
    expect(plan(90, days).drops).toEqual(["metric_samples 2026-07-25"]);
  });

  it("drops nothing for nothing: where other files fill the disk, history stays", () => {
    expect(plan(30, [stored("logs", "2026-08-10", 10)])).toMatchObject({ outcome: "elsewhere", drops: [] });
  });

  it("takes all that may go in an emergency, and stops telemetry when that does not do", () => {
    expect(plan(5, [stored("logs", "2026-08-10", 10)])).toMatchObject({
      outcome: "helpless",
      drops: ["logs 2026-08-10"],
      isStopped: true,
    });
  });

  it("never takes today, series or resources, and never more than it must", () => {
    const day = fc.record({
      table: fc.constantFrom("logs", "logs_local", "metric_samples", "metric_series", "log_resources", "incidents"),
      date: fc.integer({ min: 1, max: 28 }).map((n) => `2026-08-${String(n).padStart(2, "0")}`),
      bytes: fc.nat(300),
    });
    fc.assert(
      fc.property(fc.nat(1000), fc.array(day), (freeBytes, days) => {
        const all = days.map(({ table, date, bytes }) => stored(table, date, bytes));
        const { drops, outcome } = planReclaim({ freeBytes, leavingBytes: 0, totalBytes: 1000 }, all, config);
        for (const drop of drops) {
          expect(drop.day < TODAY).toBe(true);
          expect(drop.table_name).toMatch(/^(logs|metric_samples)/);
        }
        const sum = (some: readonly StoredDay[]) => some.reduce((bytes, one) => bytes + one.bytes, freeBytes);
        if (drops.length > 0) expect(sum(drops.slice(0, -1))).toBeLessThan(150);
        if (outcome === "reclaims") expect(sum(drops)).toBeGreaterThanOrEqual(100);
      }),
    );
  });
});
