import type { Finding } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hostsOf, play, samplesWindow, seriesNamed, T0 } from "../play.fixture.ts";
import { AbsenceConfig, absence } from "./absence.ts";
import { SilenceConfig, silence } from "./silence.ts";

const SERIES = [seriesNamed("m"), seriesNamed("m", { fingerprint: "00000000000000bb" })];
const absent = AbsenceConfig.parse({ detector: "absence", name: "a", title: "It is missing", metric: "m", for_s: 10 });
const silent = SilenceConfig.parse({ detector: "silence", name: "s", for_s: 15 });

/** Seconds in order; in each the host speaks or not, and each series has a sample or not. */
const anySeconds = fc.array(fc.record({ host: fc.boolean(), samples: fc.subarray([0, 1]), value: fc.double() }), {
  maxLength: 120,
});
type Seconds = readonly { readonly host: boolean; readonly samples: readonly number[]; readonly value: number }[];

const windowsOf = (seconds: Seconds, { startMs = T0, copies = 1 } = {}) => {
  let heardAt = startMs;
  return seconds.flatMap(({ host, samples, value }, second) => {
    const now = startMs + second * 1000;
    if (host) heardAt = now;
    const rows = host ? samples.map((slot) => ({ slot, time: now, value })) : [];
    const arrival = samplesWindow(SERIES, Array.from({ length: copies }, () => rows).flat(), { nowUnixMs: now });
    const tick = samplesWindow(SERIES, [], {
      isTick: true,
      nowUnixMs: now + 500,
      observingSinceUnixMs: startMs,
      hosts: hostsOf([{ name: "h1", lastEvent: heardAt, currentAt: heardAt, speakingSince: startMs }]),
    });
    return [arrival, tick];
  });
};
const storyOf = (findings: readonly Finding[], shiftMs = 0) =>
  findings.map(({ state, started_at_unix_ms, detected_at_unix_ms, value }) => ({
    state,
    started: started_at_unix_ms - shiftMs,
    detected: detected_at_unix_ms - shiftMs,
    value,
  }));
const absences = (windows: ReturnType<typeof windowsOf>) => play(absence, absent, windows);
const silences = (windows: ReturnType<typeof windowsOf>) => play(silence, silent, windows);

describe.each([
  { name: "absence", found: absences },
  { name: "silence", found: silences },
])("$name, whatever comes,", ({ found }) => {
  test("finds the same at another time", () => {
    fc.assert(
      fc.property(anySeconds, fc.integer({ min: -1e9, max: 1e9 }), (seconds, shiftMs) => {
        const later = found(windowsOf(seconds, { startMs: T0 + shiftMs }));
        expect(storyOf(later, shiftMs)).toEqual(storyOf(found(windowsOf(seconds))));
      }),
    );
  });

  test("finds the same when everything comes three times, and whatever the values are", () => {
    fc.assert(
      fc.property(anySeconds, (seconds) => {
        const plain = seconds.map((second) => ({ ...second, value: 1 }));
        expect(found(windowsOf(seconds, { copies: 3 }))).toEqual(found(windowsOf(plain)));
      }),
    );
  });

  test("resolves only what fires, and has one finding of a subject at once", () => {
    fc.assert(
      fc.property(anySeconds, (seconds) => {
        const open = new Set<string>();
        for (const { finding_id, state } of found(windowsOf(seconds))) {
          if (state === "resolved") expect(open.delete(finding_id)).toBe(true);
          else open.add(finding_id);
          expect(open.size).toBeLessThanOrEqual(SERIES.length);
        }
      }),
    );
  });
});

describe("absence", () => {
  test("finds the same after a restart at any moment", () => {
    fc.assert(
      fc.property(anySeconds, fc.func(fc.boolean()), (seconds, isRestart) => {
        const windows = windowsOf(seconds);
        expect(play(absence, absent, windows, isRestart)).toEqual(play(absence, absent, windows));
      }),
    );
  });

  test("finds every series that is silent for so long while the host speaks, at the tick at which it is", () => {
    fc.assert(
      fc.property(fc.integer({ min: 10, max: 50 }), fc.nat(5), (silentFor, spoke) => {
        const life = Array.from({ length: spoke + 1 + silentFor }, (_, second) => ({
          host: true,
          samples: second <= spoke ? [0, 1] : [0],
          value: 1,
        }));
        const findings = absences(windowsOf(life));
        expect(storyOf(findings).slice(0, 1)).toEqual([
          { state: "firing", started: T0 + spoke * 1000, detected: T0 + (spoke + 10) * 1000 + 500, value: 10 },
        ]);
      }),
    );
  });
});
