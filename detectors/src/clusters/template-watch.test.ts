import { Finding } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Line, linesWindow, play, T0 } from "../play.fixture.ts";
import type { LogWindow } from "../window.ts";
import { type LogTemplatesState, logTemplates } from "./log-templates.ts";
import { LogTemplatesConfig } from "./log-templates-config.ts";
import { templateRates } from "./template-counts.ts";
import { PAIRS_PER_STREAM_MAX, renumberTemplates } from "./template-pairs.ts";

const config = LogTemplatesConfig.parse({
  detector: "log_templates",
  name: "bursts",
  rate_change: { name: "rate" },
  vanished_template: { name: "vanished" },
  new_template: { name: "new" },
  new_error: { name: "new-error" },
});
const STREAMS = [{ host: "h1", service: "shop" }];
/** The rates are known after half an hour. */
const KNOWN = 2400;

/** How many lines of each text come in a second. */
type Flow = (second: number) => Readonly<Record<string, number>>;

interface Life {
  readonly severity?: number;
  readonly startMs?: number;
  readonly slot?: number;
}

/** Each second its lines, and a tick. */
const secondsOf = (from: number, until: number, flow: Flow, { severity = 9, startMs = T0, slot = 0 }: Life = {}) =>
  Array.from({ length: until - from }, (_, index): LogWindow[] => {
    const time = startMs + (from + index) * 1000;
    const lines = Object.entries(flow(from + index)).flatMap(([text, count]) =>
      Array.from({ length: count }, (): Line => ({ time, text, severity, slot })),
    );
    return [
      linesWindow(STREAMS, lines, { nowUnixMs: time + 500 }),
      linesWindow(STREAMS, [], { isTick: true, nowUnixMs: time + 900 }),
    ];
  }).flat();

const A = "order accepted for delivery";
const B = "cache entry refreshed by worker";
const C = "metrics page was scraped";
/** 3, 4 and 3 lines a second. */
const usual = (): Record<string, number> => ({ [A]: 3, [B]: 4, [C]: 3 });

const told = (windows: readonly LogWindow[], rules = config) =>
  // What lasts is told again each minute.
  [
    ...new Map(
      play(logTemplates, rules, windows).map((finding) => [`${finding.finding_id} ${finding.state}`, finding]),
    ).values(),
  ].map((finding) => Finding.parse(finding));
const story = (findings: readonly Finding[]) => findings.map(({ rule, state }) => `${rule} ${state}`);

describe("a changed rate", () => {
  test("of one template is found within seconds, and over when it is as before", () => {
    const findings = told([
      ...secondsOf(0, KNOWN, usual),
      ...secondsOf(KNOWN, KNOWN + 60, () => ({ ...usual(), [A]: 40 })),
      ...secondsOf(KNOWN + 60, KNOWN + 200, usual),
    ]);
    expect(story(findings)).toEqual(["rate firing", "rate resolved"]);
    expect(findings[0]).toMatchObject({
      severity: "info",
      labels: { template: A, direction: "up" },
      started_at_unix_ms: T0 + KNOWN * 1000,
      entity: { host: "h1", service: "shop" },
    });
    expect((findings[0]?.detected_at_unix_ms ?? 0) - T0 - KNOWN * 1000).toBeLessThan(10_000);
    expect(findings[0]?.summary).toMatch(/^Service shop on h1 logs \d.* times as many lines of one kind as usual/);
  });

  test("is found downwards too", () => {
    const findings = told([
      ...secondsOf(0, KNOWN, usual),
      ...secondsOf(KNOWN, KNOWN + 120, (at) => ({ ...usual(), [B]: at % 20 === 0 ? 1 : 0 })),
      ...secondsOf(KNOWN + 120, KNOWN + 300, usual),
    ]);
    expect(story(findings)).toEqual(["rate firing", "rate resolved"]);
    expect(findings[0]).toMatchObject({ labels: { template: B, direction: "down" } });
  });

  test("of all templates at once is told once, of the stream", () => {
    const findings = told([
      ...secondsOf(0, KNOWN, usual),
      ...secondsOf(KNOWN, KNOWN + 60, () => ({ [A]: 30, [B]: 40, [C]: 30 })),
      ...secondsOf(KNOWN + 60, KNOWN + 200, usual),
    ]);
    expect(story(findings)).toEqual(["rate firing", "rate resolved"]);
    expect(findings[0]?.labels).toEqual({ direction: "up" });
  });

  test("that stays is told once, and is then how the template is", () => {
    const findings = told([
      ...secondsOf(0, KNOWN, usual),
      ...secondsOf(KNOWN, KNOWN + 5400, () => ({ ...usual(), [A]: 40 })),
    ]);
    expect(story(findings)).toEqual(["rate firing", "rate resolved"]);
    expect(findings[1]?.summary).toMatch(/new rate/);
  });

  test.each<{ name: string; flow: Flow; until: number }>([
    {
      name: "chatter that comes five times as often",
      flow: (at) => ({ ...usual(), d: at % (at < 3000 ? 50 : 10) === 0 ? 1 : 0 }),
      until: 4000,
    },
    {
      name: "a job that runs every ten minutes",
      flow: (at) => ({ ...usual(), job: at % 600 < 5 ? 40 : 0 }),
      until: 7200,
    },
    { name: "a stream that pauses and goes on", flow: (at) => (at > 3000 && at < 3300 ? {} : usual()), until: 4000 },
    { name: "a stream that begins", flow: (at) => (at < 1000 ? { [A]: 1 } : { [A]: 50 }), until: 1500 },
  ])("is not seen in $name", ({ flow, until }) => {
    expect(told(secondsOf(0, until, flow)).filter(({ rule }) => rule === "rate")).toEqual([]);
  });

  test("is not announced from lines that are older than the present", () => {
    const windows = [...secondsOf(0, KNOWN, usual), ...secondsOf(KNOWN, KNOWN + 60, () => ({ ...usual(), [A]: 40 }))];
    expect(told(windows.map((window) => ({ ...window, nowUnixMs: window.nowUnixMs + 3_600_000 })))).toEqual([]);
  });
});

describe("a vanished template", () => {
  const beat = "heartbeat sent to the leader";
  const withBeat = (at: number) => ({ ...usual(), [beat]: at % 5 === 0 ? 1 : 0 });

  test("is missed while its stream goes on, and found again", () => {
    const findings = told([
      ...secondsOf(0, 1000, withBeat),
      ...secondsOf(1000, 1200, usual),
      ...secondsOf(1200, 1300, withBeat),
    ]);
    expect(story(findings)).toEqual(["vanished firing", "vanished resolved"]);
    expect(findings[0]).toMatchObject({ labels: { template: beat }, started_at_unix_ms: T0 + 995_000 });
    expect((findings[0]?.detected_at_unix_ms ?? 0) - T0).toBeLessThan(1_060_000);
  });

  test("is not expected for ever", () => {
    const findings = told([...secondsOf(0, 1000, withBeat), ...secondsOf(1000, 6000, usual)]);
    expect(story(findings)).toEqual(["vanished firing", "vanished resolved"]);
  });

  test.each<{ name: string; flow: Flow }>([
    { name: "the whole stream is silent", flow: (at) => (at < 1000 ? withBeat(at) : at < 1500 ? {} : withBeat(at)) },
    { name: "it was rare", flow: (at) => ({ ...usual(), [beat]: at < 1000 && at % 100 === 0 ? 1 : 0 }) },
    { name: "it came in bursts", flow: (at) => ({ ...usual(), [beat]: at % 900 < 10 ? 5 : 0 }) },
    { name: "its stream had only begun", flow: (at) => (at < 200 ? withBeat(at) : usual()) },
  ])("is not missed when $name", ({ flow }) => {
    expect(told(secondsOf(0, 2000, flow)).filter(({ rule }) => rule === "vanished")).toEqual([]);
  });
});

describe("a new template", () => {
  const learnt = secondsOf(0, 3700, (at) => (at % 10 === 0 ? { [A]: 1 } : {}));
  const at = (second: number, text: string, severity = 9) =>
    secondsOf(second, second + 1, () => ({ [text]: 1 }), { severity });
  const quiet = (from: number, until: number) =>
    secondsOf(from, until, (second) => (second % 10 === 0 ? { [A]: 1 } : {}));

  test.each([
    { name: "a warning", text: "ledger does not balance", severity: 13, expected: "info", fault: undefined },
    {
      name: "a known fault",
      text: "write failed: no space left on device",
      severity: 9,
      expected: "info",
      fault: "disk_full",
    },
    {
      name: "both",
      text: "write failed: no space left on device",
      severity: 13,
      expected: "warning",
      fault: "disk_full",
    },
    {
      name: "a known fault without a level",
      text: "Stale file handle",
      severity: 0,
      expected: "warning",
      fault: "nfs_stale_handle",
    },
  ])("is told when it is $name", ({ text, severity, expected, fault }) => {
    const findings = told([...learnt, ...at(3700, text, severity), ...quiet(3701, 4100)]);
    expect(story(findings)).toEqual(["new firing", "new resolved"]);
    expect(findings[0]).toMatchObject({ severity: expected, labels: { template: text } });
    expect(findings[0]?.labels.fault).toBe(fault);
  });

  test("is not told by itself when it is neither", () => {
    expect(told([...learnt, ...at(3700, "all is well"), ...quiet(3701, 3800)])).toEqual([]);
  });

  test("is told with the others when a release brings many", () => {
    const words = [
      "amber",
      "birch",
      "cedar",
      "dogwood",
      "elm",
      "fir",
      "ginkgo",
      "hazel",
      "iris",
      "juniper",
      "kapok",
      "larch",
    ];
    const release = words.flatMap((word, index) => at(3700 + index, `${word} started its ${word} loop`));
    const findings = told([...learnt, ...release, ...quiet(3712, 4200)]);
    expect(story(findings)).toEqual(["new firing", "new resolved"]);
    expect(findings[1]?.value).toBe(12);
    expect(findings[0]?.summary).toMatch(/logs \d+ kinds of lines that it never logged before/);
  });

  test("is no news in a stream that is new", () => {
    expect(told([...quiet(0, 100), ...at(100, "no space left on device"), ...quiet(101, 200)])).toEqual([]);
  });
});

describe("the counts", () => {
  const anyTexts = [A, B, C, "heartbeat sent to the leader", "write failed: no space left on device"];
  /** Phases of a minute or more, each with rates of its own, after a calm beginning. */
  const anyPhases = fc.array(
    fc.record({
      lasts: fc.integer({ min: 20, max: 200 }),
      rates: fc.array(fc.constantFrom(0, 0, 1, 3, 30), { minLength: 5, maxLength: 5 }),
    }),
    { minLength: 1, maxLength: 4 },
  );
  const eager = {
    ...config,
    new_template: {
      name: "new",
      learn_s: 600,
      clear_for_s: 60,
      severity: "info" as const,
      fault_severity: "warning" as const,
    },
    rate_change: {
      ...config.rate_change,
      name: "rate",
      shift_after_s: 120,
      factor: 2,
      count_min: 10,
      false_alarms_per_day: 10,
      clear_for_s: 20,
      severity: "info" as const,
    },
  };
  const windowsOf = (phases: readonly { lasts: number; rates: readonly number[] }[], startMs = T0) => {
    let from = 1900;
    const calm = secondsOf(0, from, (at) => ({ [A]: 1, [B]: at % 2, heartbeat: at % 5 === 0 ? 1 : 0 }), { startMs });
    return [
      ...calm,
      ...phases.flatMap(({ lasts, rates }) => {
        from += lasts;
        return secondsOf(
          from - lasts,
          from,
          () => Object.fromEntries(anyTexts.map((text, at) => [text, rates[at] ?? 0])),
          { startMs },
        );
      }),
    ];
  };

  test("find the same after restarts in the middle", () => {
    fc.assert(
      fc.property(anyPhases, fc.array(fc.nat(4000), { maxLength: 4 }), (phases, restarts) => {
        const windows = windowsOf(phases);
        const at = new Set(restarts.map((restart) => Math.min(windows.length - 1, 2000 + restart)));
        expect(play(logTemplates, eager, windows, (index) => at.has(index))).toEqual(
          play(logTemplates, eager, windows),
        );
      }),
      { numRuns: 3 },
    );
  });

  test("find the same days later", () => {
    const days = 17 * 86_400_000;
    const parts = (
      { rule, state, started_at_unix_ms, detected_at_unix_ms, value, summary }: Finding,
      shift: number,
    ) => [rule, state, started_at_unix_ms - shift, detected_at_unix_ms - shift, value, summary];
    fc.assert(
      fc.property(anyPhases, (phases) => {
        const now = play(logTemplates, eager, windowsOf(phases)).map((finding) => parts(finding, 0));
        const later = play(logTemplates, eager, windowsOf(phases, T0 + days)).map((finding) => parts(finding, days));
        expect(later).toEqual(now);
      }),
      { numRuns: 3 },
    );
  });

  test("end every finding that they begin, when all is as it was for long enough", () => {
    fc.assert(
      fc.property(anyPhases, (phases) => {
        const lasts = phases.reduce((sum, phase) => sum + phase.lasts, 1900);
        const windows = [...windowsOf(phases), ...secondsOf(lasts, lasts + 4500, (at) => ({ [A]: 1, [B]: at % 2 }))];
        const open = new Set<string>();
        for (const { finding_id, state } of play(logTemplates, eager, windows))
          if (state === "firing") open.add(finding_id);
          else open.delete(finding_id);
        expect(open.size).toBe(0);
      }),
      { numRuns: 3 },
    );
  });

  const stateAfter = (windows: readonly LogWindow[]): LogTemplatesState =>
    windows.reduce((state, window) => logTemplates.step(state, window, config).state, logTemplates.start(config));

  test("of templates that turn out to be one join, and what was told of one of them is taken back", () => {
    const state = stateAfter([
      ...secondsOf(0, KNOWN, usual),
      ...secondsOf(KNOWN, KNOWN + 20, () => ({ ...usual(), [C]: 40 })),
    ]);
    const before = templateRates(state.pairs, state.miner, 0);
    const places = Int32Array.of(0, 1, 0);
    const findings = renumberTemplates(state.pairs, places);
    expect(findings.map(({ rule, state }) => `${rule} ${state}`)).toEqual(["rate resolved"]);
    const after = templateRates(state.pairs, state.miner, 0);
    const totals = (rates: typeof before) => rates.reduce((sum, { total }) => sum + total, 0);
    expect(after).toHaveLength(2);
    expect(totals(after)).toBe(totals(before));
    const resumed = logTemplates.step(state, linesWindow(STREAMS, [{ time: T0 + 2_500_000, text: B }]), config);
    expect(totals(templateRates(resumed.state.pairs, resumed.state.miner, 0))).toBe(totals(before) + 1);
  });

  test("stay bounded when each line is of a kind of its own, and when a line is ten megabytes", () => {
    const shapes = ["a:b", "[c]", "d=e", "(f)"];
    const shape = (n: number): string => Array.from(n.toString(4), (digit) => shapes[Number(digit)]).join(" ");
    const lines = Array.from({ length: 12_000 }, (_, n): Line => ({ time: T0 + n * 20, text: `happened ${shape(n)}` }));
    let state = logTemplates.start(config);
    for (let at = 0; at < lines.length; at += 1000)
      state = logTemplates.step(state, linesWindow(STREAMS, lines.slice(at, at + 1000)), config).state;
    expect(state.pairs.pairs.slots).toBeLessThanOrEqual(PAIRS_PER_STREAM_MAX);
    expect(state.pairs.uncounted).toBeGreaterThan(5000);
    const huge = linesWindow(STREAMS, [{ time: T0 + 300_000, text: "x out of memory ".repeat(655_360) }]);
    state = logTemplates.step(state, huge, config).state;
    expect(JSON.stringify(logTemplates.save(state).json).length).toBeLessThan(5_000_000);
  });

  test("are told for lines out of order, repeated, and at odd times, without an error", () => {
    const anyLine = fc.record({
      time: fc.oneof(
        fc.nat(10_000_000).map((ms) => T0 + ms),
        fc.constantFrom(0, 1, T0 - 86_400_000, T0 + 300_000_000),
      ),
      text: fc.constantFrom(...anyTexts, ""),
      severity: fc.constantFrom(0, 9, 13, 17, 24),
    });
    fc.assert(
      fc.property(fc.array(anyLine, { maxLength: 200 }), (lines) => {
        const windows = lines.map((line) => linesWindow(STREAMS, [line, line], { nowUnixMs: T0 + 10_000_000 }));
        const tick = linesWindow(STREAMS, [], { isTick: true, nowUnixMs: T0 + 10_001_000 });
        for (const finding of play(logTemplates, eager, [...windows, tick])) Finding.parse(finding);
      }),
    );
  });
});
