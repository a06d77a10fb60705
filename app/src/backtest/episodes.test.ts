import type { Finding } from "@homeostat/schemas";
import { describe, expect, test } from "vitest";
import { countByDay, EPISODES_MAX, EpisodeBook } from "./episodes.ts";

const T0 = 1_795_219_200_000;

const finding = (id: string, more: Partial<Finding> = {}): Finding => ({
  finding_id: id,
  detector: "threshold",
  rule: "r",
  state: "firing",
  severity: "warning",
  category: "symptom",
  entity: { host: "h" },
  started_at_unix_ms: T0,
  detected_at_unix_ms: T0 + 1000,
  value: 1,
  unit: "1",
  expected: null,
  summary: "first",
  labels: {},
  evidence: [],
  ...more,
});

describe("episodes", () => {
  test("keep their first telling, their worst severity and their end", () => {
    const book = new EpisodeBook();
    book.add(finding("a"), T0 + 1000);
    book.add(finding("a", { severity: "critical", summary: "later" }), T0 + 2000);
    book.add(finding("a", { severity: "warning", state: "no_data" }), T0 + 3000);
    book.add(finding("a", { state: "resolved", summary: "over" }), T0 + 4000);
    expect(book.since(T0)).toMatchObject([
      { finding_id: "a", severity: "critical", summary: "first", resolved_at_unix_ms: T0 + 4000 },
    ]);
  });

  test("that ended before the range are not told, and those that still fire have no end", () => {
    const book = new EpisodeBook();
    book.add(finding("old"), T0);
    book.add(finding("old", { state: "resolved" }), T0 + 5000);
    book.add(finding("open", { started_at_unix_ms: T0 + 9 }), T0 + 5000);
    expect(
      book.since(T0 + 5000).map(({ finding_id, resolved_at_unix_ms }) => [finding_id, resolved_at_unix_ms]),
    ).toEqual([["open", null]]);
  });

  test("are bounded, and those beyond are counted", () => {
    const book = new EpisodeBook();
    for (let n = 0; n < EPISODES_MAX + 5; n++) for (const _ of [1, 2]) book.add(finding(`f${n}`), T0);
    expect(book.since(T0 - 1)).toHaveLength(EPISODES_MAX);
    expect(book.beyond).toBe(5);
  });

  test("are counted by the day on which they were detected, days without any among them", () => {
    const book = new EpisodeBook();
    book.add(finding("a"), T0);
    book.add(finding("b", { detected_at_unix_ms: T0 + 2 * 86_400_000 }), T0);
    const range = { fromUnixMs: T0, toUnixMs: T0 + 3 * 86_400_000 };
    expect(countByDay(book.since(T0 - 1), range)).toEqual({ "2026-11-21": 1, "2026-11-22": 0, "2026-11-23": 1 });
  });
});
