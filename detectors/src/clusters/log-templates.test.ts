import { Finding } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DEFAULT_RULES } from "../default-rules.ts";
import { type Line, linesWindow, play, T0 } from "../play.fixture.ts";
import { type LogTemplatesState, logTemplates } from "./log-templates.ts";
import { LogTemplatesConfig } from "./log-templates-config.ts";
import { templateRates } from "./template-counts.ts";

const config = LogTemplatesConfig.parse(DEFAULT_RULES.find(({ detector }) => detector === "log_templates"));
const ratesOf = (state: LogTemplatesState, slot: number) => templateRates(state.pairs, state.miner, slot);
const STREAMS = [{ host: "h1", service: "shop" }];

/** Lines spread evenly over seconds; one second is one batch. */
const seconds = (
  from: number,
  until: number,
  { perSecond, text, severity }: { perSecond: number; text: (n: number) => string; severity: number },
): Line[][] =>
  Array.from({ length: until - from }, (_, second) =>
    Array.from({ length: perSecond }, (_, n) => ({
      time: T0 + (from + second) * 1000 + Math.floor((n * 1000) / perSecond),
      text: text(second * perSecond + n),
      severity,
    })),
  );
const info = { perSecond: 20, severity: 9, text: (n: number) => `order ${n} reserved in ${n % 7}.5 ms, status 200` };
const error = {
  perSecond: 20,
  severity: 17,
  text: (n: number) => `order ${n} failed: stock unreachable: connect ECONNREFUSED 127.0.0.1:41${n % 10}`,
};

const tick = (second: number) => linesWindow(STREAMS, [], { isTick: true, nowUnixMs: T0 + second * 1000 });
const windowsOf = (batches: readonly (readonly Line[])[]) => batches.map((lines) => linesWindow(STREAMS, lines));
const found = (windows: readonly ReturnType<typeof tick>[]) => play(logTemplates, config, windows);

describe("a burst of errors", () => {
  test("is found within five seconds, said in a sentence, and over when the stream is quiet", () => {
    const windows = windowsOf([...seconds(0, 30, info), ...seconds(30, 40, error)]);
    const findings = found([...windows, ...Array.from({ length: 20 }, (_, at) => tick(40 + at))]);
    expect(findings.map(({ state }) => state)).toEqual(["firing", "resolved"]);
    const [finding] = findings;
    expect(Finding.parse(finding)).toMatchObject({
      detector: "log_templates",
      rule: "log-error-burst",
      severity: "critical",
      entity: { host: "h1", service: "shop" },
      started_at_unix_ms: T0 + 30_000,
      labels: { template: "order <*> failed: stock unreachable: connect ECONNREFUSED <*>:<*>" },
      evidence: [{ query: "log_search", params: { host_name: "h1", service_name: "shop", severity_min: 17 } }],
    });
    expect((finding?.detected_at_unix_ms ?? 0) - T0).toBeLessThan(35_000);
    expect(finding?.summary).toMatch(
      /^Service shop logs errors on h1: \d+ errors in 10 s, expected less than 10, most often: order <\*> failed/,
    );
  });

  test("is over while the stream goes on well", () => {
    const windows = windowsOf([...seconds(0, 30, info), ...seconds(30, 35, error), ...seconds(35, 60, info)]);
    expect(found(windows).map(({ state }) => state)).toEqual(["firing", "resolved"]);
  });

  test("is found again when it comes again soon, as an episode of its own", () => {
    const again = [0, 60, 120].flatMap((from) => [
      ...seconds(from, from + 30, info),
      ...seconds(from + 30, from + 36, error),
      ...seconds(from + 36, from + 60, info),
    ]);
    const findings = found(windowsOf(again));
    expect(findings.map(({ state }) => state)).toEqual([
      "firing",
      "resolved",
      "firing",
      "resolved",
      "firing",
      "resolved",
    ]);
    expect(new Set(findings.map(({ finding_id }) => finding_id)).size).toBe(3);
  });

  test.each([
    { name: "a stream without errors", batches: seconds(0, 120, info) },
    {
      name: "an error now and then",
      batches: seconds(0, 120, info).map((lines, at) =>
        at % 3 === 0 ? [...lines, ...seconds(at, at + 1, { ...error, perSecond: 1 }).flat()] : lines,
      ),
    },
    { name: "a stream that has always logged errors", batches: seconds(0, 300, { ...error, perSecond: 4 }) },
    {
      name: "a file that is read from its beginning in one go",
      batches: [Array.from({ length: 5000 }, (_, n) => ({ time: T0 + 100, text: error.text(n), severity: 17 }))],
    },
    { name: "errors in a stream's first seconds", batches: [...seconds(0, 8, error), ...seconds(8, 60, info)] },
  ])("is not seen in $name", ({ batches }) => {
    expect(found(windowsOf(batches))).toEqual([]);
  });

  test("is not announced from lines that are older than the present", () => {
    const batches = [...seconds(0, 30, info), ...seconds(30, 40, error)];
    const late = batches.map((lines) => linesWindow(STREAMS, lines, { nowUnixMs: T0 + 3_600_000 }));
    expect(found(late)).toEqual([]);
  });

  test("is found by its words where severity is unspecified", () => {
    const spoken = { perSecond: 20, severity: 0, text: (n: number) => `Unhandled exception in worker ${n}` };
    const windows = windowsOf([...seconds(0, 30, { ...info, severity: 0 }), ...seconds(30, 36, spoken)]);
    expect(found(windows).map(({ state }) => state)).toEqual(["firing"]);
  });

  test("becomes the stream's new level when it stays for an hour", () => {
    const short = { ...config, shift_after_s: 120 };
    const windows = windowsOf([...seconds(0, 30, info), ...seconds(30, 600, { ...error, perSecond: 3 })]);
    const findings = play(logTemplates, short, windows);
    expect(findings.filter(({ state }) => state === "resolved").map(({ summary }) => summary)).toEqual([
      expect.stringContaining("new level"),
    ]);
    expect(new Set(findings.map(({ finding_id }) => finding_id)).size).toBe(1);
  });

  test("is found where the host's clock is minutes behind", () => {
    const behind = [...seconds(0, 30, info), ...seconds(30, 36, error)].map((lines) =>
      linesWindow(STREAMS, lines, { nowUnixMs: Math.max(...lines.map(({ time }) => time)) + 200_000 }),
    );
    const ticks = Array.from({ length: 20 }, (_, at) => tick(236 + at));
    expect(found([...behind, ...ticks]).map(({ state }) => state)).toEqual(["firing", "resolved"]);
  });
});

describe("an error of a new kind", () => {
  const odd = { perSecond: 1, severity: 17, text: (n: number) => `ledger ${n} does not balance` };

  test("is told once its stream is known", () => {
    const windows = windowsOf([...seconds(0, 700, { ...info, perSecond: 1 }), ...seconds(700, 704, odd)]);
    const findings = found([...windows, tick(1010)]);
    expect(findings.map(({ rule, state }) => [rule, state])).toEqual([
      ["log-new-error", "firing"],
      ["log-new-error", "resolved"],
    ]);
    expect(findings[0]).toMatchObject({ severity: "info", started_at_unix_ms: T0 + 700_000, value: 3 });
  });

  test("is nothing new in a stream that is new itself", () => {
    expect(found(windowsOf([...seconds(0, 60, { ...info, perSecond: 1 }), ...seconds(60, 64, odd)]))).toEqual([]);
  });
});

describe("the template counter", () => {
  test("counts each stream's lines by template", () => {
    const streams = [...STREAMS, { host: "h2", service: "shop" }];
    const lines = seconds(0, 3, info)
      .flat()
      .map((line, at) => ({ ...line, slot: at % 2 }));
    const { state } = logTemplates.step(logTemplates.start(config), linesWindow(streams, lines), config);
    expect(ratesOf(state, 0)).toMatchObject([{ text: "order <*> reserved in <*> ms, status <*>", total: 30 }]);
    expect(ratesOf(state, 1)).toMatchObject([{ total: 30 }]);
  });

  test("forgets a stream with its findings and keeps the others under their new slots", () => {
    const streams = [{ host: "h0", service: "x" }, ...STREAMS];
    const windows = [...seconds(0, 30, info), ...seconds(30, 36, error)].map((lines) =>
      linesWindow(
        streams,
        lines.map((line) => ({ ...line, slot: 1 })),
      ),
    );
    let state = logTemplates.start(config);
    for (const window of windows) state = logTemplates.step(state, window, config).state;
    const { state: kept, findings } = logTemplates.forget(state, Uint32Array.of(1), T0);
    expect(findings).toEqual([]);
    expect(ratesOf(kept, 0).map(({ total }) => total)).toEqual([600, 120]);
    expect(logTemplates.forget(kept, Uint32Array.of(), T0).findings.map((finding) => finding.state)).toEqual([
      "resolved",
    ]);
  });

  test("stays over a restart with the template that it once gave a line", () => {
    const texts = ["disk sda is slow", "order 17 paid in 12 ms", "peer gone", "order 18 paid in 7 ms"];
    const lines = texts.map((text, at) => ({ time: T0 + at, text }));
    const { state } = logTemplates.step(logTemplates.start(config), linesWindow(STREAMS, lines), config);
    const before = ratesOf(state, 0);
    const loaded = logTemplates.load(logTemplates.save(state), config);
    const again = linesWindow(STREAMS, [{ time: T0 + 10, text: "order 4711 paid in 1 ms" }]);
    const after = ratesOf(logTemplates.step(loaded, again, config).state, 0);
    const paid = before.find(({ text }) => text === "order <*> paid in <*> ms")?.id;
    expect(paid).toBeDefined();
    expect(after.map(({ id, total }) => [id, total])).toEqual(
      before.map(({ id, total }) => [id, id === paid ? 3 : total]),
    );
  });

  const anyLine = fc.record({
    time: fc.nat(60_000).map((ms) => T0 + ms),
    text: fc.constantFrom("a 1 failed here", "a 2 is well here", "b 3 failed there now", "b x failed there now"),
    severity: fc.constantFrom(9, 17),
    slot: fc.nat(1),
  });
  const streams = [...STREAMS, { host: "h2", service: "shop" }];
  const eager = { ...config, count_min: 3, seconds_min: 2, warm_up_s: 0, clear_for_s: 1 };
  const byTime = (lines: readonly Line[]) => lines.toSorted((a, b) => a.time - b.time);

  test("finds the same whether or not it is restarted in the middle, in any order of lines", () => {
    fc.assert(
      fc.property(fc.array(anyLine, { maxLength: 150 }), fc.func(fc.boolean()), (lines, isRestart) => {
        const windows = lines.map((line) => linesWindow(streams, [line], { nowUnixMs: T0 + 60_000 }));
        expect(play(logTemplates, eager, windows, isRestart)).toEqual(play(logTemplates, eager, windows));
      }),
    );
  });

  test("finds the same however the lines are batched", () => {
    fc.assert(
      fc.property(fc.array(anyLine, { maxLength: 150 }), fc.integer({ min: 2, max: 40 }), (lines, size) => {
        const sorted = byTime(lines);
        const now = { nowUnixMs: T0 + 60_000 };
        const single = sorted.map((line) => linesWindow(streams, [line], now));
        const batched = Array.from({ length: Math.ceil(sorted.length / size) }, (_, at) =>
          linesWindow(streams, sorted.slice(at * size, (at + 1) * size), now),
        );
        expect(play(logTemplates, eager, batched)).toEqual(play(logTemplates, eager, single));
      }),
    );
  });
});
