import type { Finding } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { play, type Sample, samplesWindow, seriesNamed, T0 } from "../play.fixture.ts";
import { ThresholdConfig, threshold } from "./threshold.ts";

const rule = ThresholdConfig.parse({
  detector: "threshold",
  name: "r",
  title: "It",
  metric: "m",
  op: ">",
  value: 8,
  clear_value: 6,
  critical_value: 16,
  for_s: 2,
});
const SERIES = [seriesNamed("m"), seriesNamed("m", { fingerprint: "00000000000000bb", isCounter: true })];
const windowsOf = (samples: readonly Sample[]) => samples.map((sample) => samplesWindow(SERIES, [sample]));
const found = (samples: readonly Sample[], config = rule) => play(threshold, config, windowsOf(samples));

/** Powers of two and their sums: scaling by one of them is exact. */
const anyValue = fc.nat(40).map((n) => n / 2);
const anySamples = fc.array(
  fc.record({ slot: fc.nat(1), time: fc.nat(120).map((s) => T0 + s * 500), value: anyValue }),
  { maxLength: 80 },
);
const storyOf = (findings: readonly Finding[], { shiftMs = 0, scale = 1 } = {}) =>
  findings.map(({ state, severity, started_at_unix_ms, detected_at_unix_ms, value, labels }) => ({
    state,
    severity,
    started: started_at_unix_ms - shiftMs,
    detected: detected_at_unix_ms - shiftMs,
    value: value === null ? null : value / scale,
    labels,
  }));

describe("a threshold, whatever comes,", () => {
  test("finds the same at another time", () => {
    fc.assert(
      fc.property(anySamples, fc.integer({ min: -1_000_000_000, max: 1_000_000_000 }), (samples, shiftMs) => {
        const later = samples.map((sample) => ({ ...sample, time: sample.time + shiftMs }));
        expect(storyOf(found(later), { shiftMs })).toEqual(storyOf(found(samples)));
      }),
    );
  });

  test("finds the same in another unit", () => {
    fc.assert(
      fc.property(anySamples, fc.integer({ min: -20, max: 20 }), (samples, power) => {
        const scale = 2 ** power;
        const scaled = samples.map((sample) => ({ ...sample, value: sample.value * scale }));
        const config = { ...rule, value: 8 * scale, clear_value: 6 * scale, critical_value: 16 * scale };
        expect(storyOf(found(scaled, config), { scale })).toEqual(storyOf(found(samples)));
      }),
    );
  });

  test("finds the same when each sample comes twice, and with samples that are no numbers in between", () => {
    const notANumber = fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
    fc.assert(
      fc.property(anySamples, notANumber, (samples, value) => {
        // Later than its neighbour and before the next: it must not take the place of either.
        const odd = samples.flatMap((sample) => [sample, sample, { ...sample, time: sample.time + 1, value }]);
        expect(storyOf(found(odd).filter(isTold))).toEqual(storyOf(found(samples).filter(isTold)));
      }),
    );
  });

  test("finds the same for each series, whatever the others do", () => {
    fc.assert(
      fc.property(anySamples, (samples) => {
        const alone = found(samples.filter(({ slot }) => slot === 0));
        const ids = new Set(alone.map(({ finding_id }) => finding_id));
        expect(found(samples).filter(({ finding_id }) => ids.has(finding_id))).toEqual(alone);
      }),
    );
  });

  test("finds nothing in a series that is constant on the good side", () => {
    fc.assert(
      fc.property(fc.double({ max: 8, noNaN: true }), fc.array(fc.nat(1000)), (value, times) => {
        expect(found(times.map((s) => ({ time: T0 + s * 1000, value })))).toEqual([]);
      }),
    );
  });
});

const isTold = ({ state }: Finding): boolean => state !== "no_data";
