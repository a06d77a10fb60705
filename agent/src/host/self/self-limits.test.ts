import { describe, expect, test } from "vitest";
import { ClockWatch } from "./clock-watch.ts";
import { codeOfProblem } from "./error-codes.ts";
import { createGear } from "./gear.ts";
import { SelfLimiter, type Verdict } from "./self-limits.ts";

const MIB = 1_048_576;
const LIMITS = { cpu_percent: 5, memory_bytes: 100 * MIB };

/** Seconds of a made-up meter. */
const drive = (
  limiter: SelfLimiter,
  seconds: number,
  at: { cpuPercent: number; rssMib: number; from?: number },
): Verdict[] => {
  const from = at.from ?? 0;
  return Array.from({ length: seconds }, (_, second) =>
    limiter.observe({
      atMs: (from + second) * 1000,
      cpuMicros: (from + second) * at.cpuPercent * 10_000,
      rssBytes: at.rssMib * MIB,
    }),
  );
};

describe("the agent's own limits", () => {
  test("leave it alone below them", () => {
    const verdicts = drive(new SelfLimiter(LIMITS), 300, { cpuPercent: 4, rssMib: 70 });
    expect(
      verdicts.every(({ slowdown, problem, restart }) => slowdown === 1 && problem === null && restart === null),
    ).toBe(true);
  });

  test("slow it down step by step above its share of CPU, and say so with the figures", () => {
    const limiter = new SelfLimiter(LIMITS);
    const verdicts = drive(limiter, 180, { cpuPercent: 20, rssMib: 70 });
    expect(verdicts[59]?.slowdown).toBe(1);
    expect(verdicts.at(-1)?.slowdown).toBe(16);
    expect(verdicts.at(-1)?.problem).toBe(
      "the agent slows itself down 16 times: 20.0 % of a core over a minute, limit 5 %",
    );
    expect(limiter.throttledMs).toBeGreaterThan(60_000);
  });

  test("let it go again as it recovers", () => {
    const limiter = new SelfLimiter(LIMITS);
    drive(limiter, 120, { cpuPercent: 20, rssMib: 70 });
    let [cpuMicros, last] = [
      120 * 20 * 10_000,
      limiter.observe({ atMs: 120_000, cpuMicros: 120 * 200_000, rssBytes: 70 * MIB }),
    ];
    for (let second = 121; second < 400; second++) {
      cpuMicros += 1_000;
      last = limiter.observe({
        atMs: second * 1000,
        cpuMicros: Math.max(cpuMicros, 120 * 200_000),
        rssBytes: 70 * MIB,
      });
    }
    expect(last).toEqual({ slowdown: 1, problem: null, restart: null });
  });

  test("slow it down near its memory limit, and have it begin anew after a minute above it", () => {
    const limiter = new SelfLimiter(LIMITS);
    expect(drive(limiter, 30, { cpuPercent: 1, rssMib: 95 }).at(-1)?.problem).toContain("95 MB resident, limit 100 MB");
    const verdicts = drive(limiter, 62, { cpuPercent: 1, rssMib: 101, from: 30 });
    expect(verdicts[59]?.restart).toBeNull();
    expect(verdicts.at(-1)?.restart).toBe("101 MB resident for a minute, limit 100 MB");
  });
});

describe("the clock's watch", () => {
  test("tells a jump from time that passes, and how far control's clock is away", () => {
    const clock = new ClockWatch();
    clock.observe(1_000_000, 0);
    clock.observe(1_001_000, 1_000);
    expect(clock.problems(4_000)).toEqual([]);
    clock.observe(1_062_000, 2_000);
    expect(clock.jumps).toBe(1);
    expect(clock.problems(-7_250)).toEqual([
      "the clock is 7.3 s behind the control plane's",
      "the clock jumped forward by 60.0 s",
    ]);
  });
});

describe("the gear", () => {
  test("shifts once, after two busy seconds in a row", () => {
    let shifts = 0;
    const gear = createGear(() => shifts++);
    let cpuMicros = 0;
    const second = (at: number, micros: number) => {
      cpuMicros += micros;
      gear.observe(cpuMicros, at * 1000);
    };
    for (const [at, micros] of [
      [0, 0],
      [1, 500_000],
      [2, 10_000],
      [3, 500_000],
    ] as const)
      second(at, micros);
    expect(shifts).toBe(0);
    for (const at of [4, 5, 6]) second(at, 500_000);
    expect(shifts).toBe(1);
  });
});

describe("the codes of errors", () => {
  test.each([
    ["the spool cannot write: ENOSPC", "spool"],
    ["the platform cannot be reached: connect ECONNREFUSED", "channel"],
    ["cannot read /var/log/x: EACCES", "tail"],
    ["the agent slows itself down 4 times: …", "limit"],
    ["something nobody thought of", "other"],
  ] as const)("%s is %s", (problem, code) => {
    expect(codeOfProblem(problem)).toBe(code);
  });
});
