import { Finding, type OutgoingMessage } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { HourlyDetector, HourlySeries } from "../hourly.ts";
import { seriesNamed, T0 } from "../play.fixture.ts";
import { Selector } from "../series.ts";
import { lookAtAllHours } from "./hourly-looks.ts";
import { HOUR_MS, hourlyMaker, hourlyRules } from "./hourly-rule.ts";

const nothing = () => undefined;
const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing };

const Config = z.strictObject({
  detector: z.literal("full"),
  name: z.string(),
  ...Selector,
  above: z.number(),
  series_max: z.int(),
});

/** Alarms when the last hour is above a level; knows nothing where there is none. */
const full: HourlyDetector<z.infer<typeof Config>> = {
  name: "full",
  config: Config,
  hours: () => 4,
  judge: ({ values }, { above }) => {
    const last = values.at(-1) ?? Number.NaN;
    if (Number.isNaN(last)) return "unknown";
    if (last <= above) return "fine";
    return {
      severity: "warning",
      category: "capacity",
      value: last,
      unit: "1",
      expected: { low: null, high: above },
      summary: `it is ${last}`,
      labels: {},
    };
  },
};

const rulesOf = (...configs: readonly Partial<z.infer<typeof Config>>[]) =>
  hourlyRules(
    configs.map(
      (config) =>
        ({
          detector: "full",
          name: "f",
          metric: "m",
          labels: {},
          not_labels: {},
          above: 5,
          series_max: 10,
          ...config,
        }) as never,
    ),
    [hourlyMaker(full)],
  );

class Hours {
  readonly published: Finding[] = [];
  readonly asked: number[] = [];
  publishFailures = 0;
  #saved: Uint8Array | null = null;

  async look(rules: ReturnType<typeof rulesOf>, nowUnixMs: number, rows: Readonly<Record<string, readonly number[]>>) {
    const { asked } = this;
    await lookAtAllHours(rules, nowUnixMs, {
      bus: { publish: (messages) => this.#publish(messages) },
      snapshots: {
        load: async () => this.#saved,
        save: async (_, __, ___, bytes) => {
          this.#saved = bytes;
        },
      },
      readHours: async function* ({ fromUnixMs, toUnixMs }): AsyncGenerator<HourlySeries> {
        asked.push(fromUnixMs, toUnixMs);
        for (const [fingerprint, values] of Object.entries(rows))
          yield { series: seriesNamed("m", { fingerprint }), fromUnixMs, values: Float64Array.from(values) };
      },
      log: silent,
    });
  }

  async #publish(messages: readonly OutgoingMessage[]): Promise<void> {
    if (this.publishFailures-- > 0) throw new Error("the bus is away");
    for (const { value } of messages)
      this.published.push(Finding.parse(JSON.parse(Buffer.from(value ?? []).toString())));
  }

  get story(): readonly string[] {
    return this.published.map(({ rule, state }) => `${rule} ${state}`);
  }
}

const A = "00000000000000aa";
const B = "00000000000000bb";
const MINUTE = 60_000;

describe("rules on hours", () => {
  test("see whole hours, tell what they find at each look, and take it back", async () => {
    const hours = new Hours();
    const rules = rulesOf({});
    await hours.look(rules, T0 + 4 * MINUTE, { [A]: [1, 2, 9], [B]: [1] });
    expect(hours.asked).toEqual([T0 - 4 * HOUR_MS, T0]);
    await hours.look(rules, T0 + HOUR_MS + 4 * MINUTE, { [A]: [2, 9, 10], [B]: [1] });
    await hours.look(rules, T0 + 2 * HOUR_MS, { [A]: [9, 10, Number.NaN], [B]: [1] });
    await hours.look(rules, T0 + 3 * HOUR_MS, { [A]: [3], [B]: [1] });
    await hours.look(rules, T0 + 4 * HOUR_MS, { [A]: [3], [B]: [1] });
    expect(hours.story).toEqual(["f firing", "f firing", "f firing", "f resolved"]);
    expect(new Set(hours.published.map(({ finding_id }) => finding_id)).size).toBe(1);
    expect(hours.published.map(({ value }) => value)).toEqual([9, 10, 10, 10]);
    expect(hours.published[3]).toMatchObject({ started_at_unix_ms: T0, detected_at_unix_ms: T0 + 4 * MINUTE });
  });

  test("find the same under the same ids when they look at the same hours again, also without their state", async () => {
    const [once, twice, forgetful] = [new Hours(), new Hours(), new Hours()];
    const rows = { [A]: [9], [B]: [7] };
    await once.look(rulesOf({}), T0, rows);
    for (const minute of [0, 20]) await twice.look(rulesOf({}), T0 + minute * MINUTE, rows);
    await forgetful.look(rulesOf({}), T0 + 40 * MINUTE, rows);
    const ids = ({ published }: Hours) => new Set(published.map(({ finding_id }) => finding_id));
    expect(ids(twice)).toEqual(ids(once));
    expect(ids(forgetful)).toEqual(ids(once));
  });

  test("take back what was told by a rule that is gone or another now", async () => {
    const hours = new Hours();
    await hours.look(rulesOf({}), T0, { [A]: [9] });
    await hours.look(rulesOf({ above: 20 }), T0 + HOUR_MS, { [A]: [9] });
    expect(hours.story).toEqual(["f firing", "f resolved"]);
    await hours.look(rulesOf({ above: 6 }), T0 + 2 * HOUR_MS, { [A]: [9] });
    await hours.look([], T0 + 3 * HOUR_MS, {});
    expect(hours.story).toEqual(["f firing", "f resolved", "f firing", "f resolved"]);
  });

  test("tell once that a series is away, and take it back after a day", async () => {
    const hours = new Hours();
    await hours.look(rulesOf({}), T0, { [A]: [9] });
    for (let hour = 1; hour <= 26; hour++) await hours.look(rulesOf({}), T0 + hour * HOUR_MS, {});
    expect(hours.story).toEqual(["f firing", "f no_data", "f resolved"]);
  });

  test("take a series for away whose newest hours the store does not have, however many older ones it has", async () => {
    const hours = new Hours();
    const row = [9, ...Array(30).fill(Number.NaN)];
    for (let hour = 0; hour <= 31; hour++)
      await hours.look(rulesOf({}), T0 + hour * HOUR_MS, { [A]: row.slice(0, hour + 1) });
    const firing = Array(7).fill("f firing");
    expect(hours.story).toEqual([...firing, "f no_data", "f resolved"]);
  });

  test("take back what they said of their cap when they are gone", async () => {
    const hours = new Hours();
    await hours.look(rulesOf({ series_max: 1 }), T0, { [A]: [1], [B]: [9] });
    await hours.look([], T0 + HOUR_MS, {});
    expect(hours.story).toEqual(["series-cap firing", "series-cap resolved"]);
  });

  test("publish at the next look what the bus did not take", async () => {
    const hours = new Hours();
    await hours.look(rulesOf({}), T0, { [A]: [9] });
    hours.publishFailures = 1;
    await expect(hours.look(rulesOf({}), T0 + HOUR_MS, { [A]: [1] })).rejects.toThrow("away");
    await hours.look(rulesOf({}), T0 + 2 * HOUR_MS, { [A]: [1] });
    expect(hours.story).toEqual(["f firing", "f resolved"]);
  });

  test("look at no more than series_max series, and say so", async () => {
    const hours = new Hours();
    await hours.look(rulesOf({ series_max: 1 }), T0, { [A]: [1], [B]: [9] });
    expect(hours.story).toEqual(["series-cap firing"]);
    expect(hours.published[0]).toMatchObject({ labels: { metric: "m" }, summary: expect.stringContaining("rule f") });
  });

  test("find the same whatever else there is beside a series", async () => {
    const anyRows = fc.array(fc.tuple(fc.double({ min: 0, max: 10 }), fc.boolean()), { minLength: 3, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(anyRows, async (steps) => {
        const [alone, beside] = [new Hours(), new Hours()];
        for (const [hour, [value, isThere]] of steps.entries()) {
          const now = T0 + hour * HOUR_MS;
          await alone.look(rulesOf({}), now, { [A]: [value] });
          await beside.look(rulesOf({}), now, { ...(isThere && { [B]: [8] }), [A]: [value] });
        }
        const ofA = ({ published }: Hours) => published.filter(({ evidence }) => evidence[0]?.params.fingerprint === A);
        expect(ofA(beside)).toEqual(alone.published);
      }),
      { numRuns: 20 },
    );
  });
});
