import { Finding } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hostsOf, play, samplesWindow, seriesNamed, T0 } from "../play.fixture.ts";
import { AbsenceConfig, absence } from "./absence.ts";
import { SilenceConfig, silence } from "./silence.ts";

const SERIES = [seriesNamed("m")];
const at = (second: number): number => T0 + second * 1000;

/** The host has spoken until `hostSecond`, by its own clock. */
const tick = (second: number, hostSecond: number, more: { speakingSince?: number; observingSince?: number } = {}) =>
  samplesWindow(SERIES, [], {
    isTick: true,
    nowUnixMs: at(second),
    observingSinceUnixMs: more.observingSince ?? T0,
    hosts: hostsOf([
      { name: "h1", lastEvent: at(hostSecond), currentAt: at(hostSecond), speakingSince: more.speakingSince ?? T0 },
    ]),
  });
const sample = (second: number) => samplesWindow(SERIES, [{ time: at(second), value: 1 }]);

describe("absence", () => {
  const config = AbsenceConfig.parse({
    detector: "absence",
    name: "a",
    title: "It is missing",
    metric: "m",
    for_s: 10,
  });
  const states = (windows: readonly ReturnType<typeof tick>[]) =>
    play(absence, config, windows).map(({ state }) => state);

  test("fires when a series is silent while its host speaks, and resolves when it is back", () => {
    expect(states([sample(0), tick(9, 9), tick(10, 10), tick(11, 11), sample(12)])).toEqual(["firing", "resolved"]);
  });

  test("composes findings that keep the schema", () => {
    const [finding] = play(absence, config, [sample(0), tick(10, 10)]);
    expect(Finding.parse(finding)).toMatchObject({ value: 10, started_at_unix_ms: T0, entity: { host: "h1" } });
  });

  test.each([
    { name: "a host that is wholly silent", windows: [sample(0), tick(60, 2)] },
    { name: "a host that is back after a pause", windows: [sample(0), tick(3600, 3600, { speakingSince: at(3599) })] },
    { name: "a series that was never there", windows: [tick(60, 60)] },
    {
      name: "an observer that does not keep up",
      windows: [sample(0), tick(60, 60, { observingSince: Number.POSITIVE_INFINITY })],
    },
  ])("says nothing of $name", ({ windows }) => {
    expect(states(windows)).toEqual([]);
  });
});

describe("silence", () => {
  const config = SilenceConfig.parse({ detector: "silence", name: "host-silent", for_s: 15 });
  const found = (windows: readonly ReturnType<typeof tick>[]) => play(silence, config, windows);

  test("finds a host that is silent, once a minute, and says when it speaks again", () => {
    const windows = [tick(14, 0), tick(15, 0), tick(16, 0), tick(75, 0), tick(76, 76)];
    const findings = found(windows);
    expect(findings.map(({ state }) => state)).toEqual(["firing", "firing", "resolved"]);
    expect(Finding.parse(findings[0])).toMatchObject({ category: "data_health", value: 15, entity: { host: "h1" } });
    expect(new Set(findings.map(({ finding_id }) => finding_id)).size).toBe(1);
  });

  test("does not take its own pause for the host's", () => {
    expect(found([tick(3600, 0, { observingSince: at(3595) })])).toEqual([]);
  });

  test("does not take its own return for the host's", () => {
    const windows = [tick(15, 0), tick(100, 0, { observingSince: at(100) })];
    expect(found(windows).map(({ state }) => state)).toEqual(["firing"]);
  });

  test("finds the same whether or not it is restarted in the middle", () => {
    const anyWindows = fc.array(fc.tuple(fc.nat(100), fc.nat(100)), { maxLength: 50 });
    fc.assert(
      fc.property(anyWindows, fc.func(fc.boolean()), (pairs, isRestart) => {
        const windows = pairs.map(([second, back]) => tick(second, second - back));
        expect(play(silence, config, windows, isRestart)).toEqual(found(windows));
      }),
    );
  });
});
