import type { Finding } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { play, type Sample, samplesWindow, seriesNamed, T0 } from "../play.fixture.ts";
import { BaselineConfig, baseline } from "./baseline.ts";

const MINUTE = 60_000;
const WEEK = 10_080 * MINUTE;
const config = BaselineConfig.parse({ detector: "baseline", name: "b", title: "It is unusual", metric: "m" });
const SERIES = [seriesNamed("m")];

/** Two days of a daily rhythm, then what comes. */
const samplesOf = (oddities: readonly number[], startMs = T0): Sample[] =>
  Array.from({ length: 2880 + oddities.length }, (_, minute) => ({
    time: startMs + minute * MINUTE,
    value: oddities[minute - 2880] ?? 50 + 20 * Math.sin((2 * Math.PI * minute) / 1440) + ((minute * 7919) % 13) / 4,
  }));
const found = (samples: readonly Sample[]) =>
  play(
    baseline,
    config,
    samples.map((sample) => samplesWindow(SERIES, [sample])),
  );
const storyOf = (findings: readonly Finding[], shiftMs = 0) =>
  findings.map(({ state, started_at_unix_ms, detected_at_unix_ms, value }) => ({
    state,
    started: started_at_unix_ms - shiftMs,
    detected: detected_at_unix_ms - shiftMs,
    value,
  }));
const anyOddities = fc.array(fc.constantFrom(50, 60, 300, 1000), { minLength: 5, maxLength: 60 });

describe("a baseline, whatever comes,", () => {
  test("finds the same whole weeks later", () => {
    fc.assert(
      fc.property(anyOddities, fc.integer({ min: -20, max: 20 }), (oddities, weeks) => {
        const later = found(samplesOf(oddities, T0 + weeks * WEEK));
        expect(storyOf(later, weeks * WEEK)).toEqual(storyOf(found(samplesOf(oddities))));
      }),
      { numRuns: 15 },
    );
  });

  test("finds the same when each sample comes twice", () => {
    fc.assert(
      fc.property(anyOddities, (oddities) => {
        const samples = samplesOf(oddities);
        const twice = samples.flatMap((sample) => [sample, sample]);
        expect(storyOf(found(twice))).toEqual(storyOf(found(samples)));
      }),
      { numRuns: 15 },
    );
  });

  test("finds the same with samples that are no numbers in between", () => {
    fc.assert(
      fc.property(anyOddities, fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY), (oddities, value) => {
        const samples = samplesOf(oddities);
        const odd = samples.flatMap((sample) => [sample, { time: sample.time + 1, value }]);
        expect(storyOf(found(odd))).toEqual(storyOf(found(samples)));
      }),
      { numRuns: 15 },
    );
  });
});
