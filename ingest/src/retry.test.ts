import { BusError, type Finding, InsertError, type Log } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { noCounts } from "./ingest-counts.ts";
import { createRetry } from "./retry.ts";
import { StoreHealth } from "./store-health.ts";

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** Retries on a clock of our own; `random` of 1 gives the longest delays. */
const world = (options: { random?: number; reportFinding?: (finding: Finding) => Promise<void> } = {}) => {
  const state = { now: 1_000_000 };
  const delays: number[] = [];
  const findings: Finding[] = [];
  const report = async (finding: Finding): Promise<void> => {
    findings.push(finding);
  };
  const now = () => state.now;
  const health = new StoreHealth({ host: "h", now, log: silent, reportFinding: options.reportFinding ?? report });
  const counts = noCounts();
  const retry = createRetry({
    health,
    counts,
    log: silent,
    random: () => options.random ?? 1,
    wait: async (ms, signal) => {
      signal.throwIfAborted();
      delays.push(ms);
      state.now += ms;
    },
  });
  return { retry, health, counts, delays, findings };
};

const failing = (times: number, error: Error = new InsertError("down", { retryable: true })) => {
  let left = times;
  return async (): Promise<string> => {
    if (left-- > 0) throw error;
    return "done";
  };
};

const at = (place: string, signal = new AbortController().signal) => ({ what: "insert", at: place, signal });

describe("retry", () => {
  it("tries again with growing delays up to thirty seconds, and cuts one short to report in time", async () => {
    const { retry, delays } = world();
    expect(await retry(at("t:0"), failing(10))).toBe("done");
    expect(delays).toEqual([250, 500, 1000, 2000, 4000, 2250, 16_000, 30_000, 30_000, 30_000]);
  });

  it("halves the delays at the other end of the jitter", async () => {
    const { retry, delays } = world({ random: 0 });
    await retry(at("t:0"), failing(3));
    expect(delays).toEqual([125, 250, 500]);
  });

  const errors: readonly [string, Error, boolean][] = [
    ["an insert that may succeed later", new InsertError("too many parts", { retryable: true }), true],
    ["an insert that the engine refuses", new InsertError("cannot parse", { retryable: false }), false],
    ["a bus that is full", new BusError("full", "full", { retryable: true }), true],
    ["a partition that is lost", new BusError("not_owner", "lost", { retryable: false }), false],
    ["a defect of ours", new TypeError("x is undefined"), false],
  ];
  it.each(errors)("after %s", async (_name, error, isRetried) => {
    const { retry, counts } = world();
    const outcome = await retry(at("t:0"), failing(1, error)).catch((thrown: unknown) => thrown);
    expect(outcome).toBe(isRetried ? "done" : error);
    expect(counts.retries).toBe(isRetried ? 1 : 0);
  });

  it("ends when the partition goes away, and does not count it as failing any more", async () => {
    const { retry, health } = world();
    const controller = new AbortController();
    const run = async (): Promise<string> => {
      controller.abort();
      throw new InsertError("down", { retryable: true });
    };
    await expect(retry(at("t:0", controller.signal), run)).rejects.toThrow("down");
    await expect(retry(at("t:0", controller.signal), failing(0))).rejects.toThrow(/aborted/);
    expect(health.failing).toBeNull();
  });
});

describe("the store's health", () => {
  it("is not reported before ten seconds", async () => {
    const { retry, findings, health } = world();
    await retry(at("t:0"), failing(5));
    expect(findings).toEqual([]);
    expect(health.failing).toBeNull();
  });

  it("is reported once, and resolved when the last partition works again", async () => {
    const { health, retry, findings } = world();
    await health.failed("t:1", new Error("down"));
    await retry(at("t:0"), failing(8));
    expect(findings.map(({ state }) => state)).toEqual(["firing"]);
    expect(health.failing).toMatchObject({ sinceUnixMs: 1_000_000, error: "down" });
    await health.worked("t:1");
    await health.worked("t:1");
    expect(findings.map(({ state, severity, category }) => [state, severity, category])).toEqual([
      ["firing", "critical", "data_health"],
      ["resolved", "critical", "data_health"],
    ]);
    expect(findings[0]?.finding_id).toBe(findings[1]?.finding_id);
  });

  it("is told when it is over, where it could not be told before, and names the bus where that fails", async () => {
    const told: Finding[] = [];
    let isDown = true;
    const { retry } = world({
      reportFinding: async (finding) => {
        if (isDown) throw new Error("down");
        told.push(finding);
      },
    });
    const run = failing(8, new BusError("unreachable", "no broker", { retryable: true }));
    await retry(at("t:0"), async () => {
      const result = await run();
      isDown = false;
      return result;
    });
    expect(told.map(({ rule, state }) => [rule, state])).toEqual([
      ["ingest_bus_failing", "firing"],
      ["ingest_bus_failing", "resolved"],
    ]);
  });

  it("keeps retrying when even the report fails", async () => {
    const { retry } = world({
      reportFinding: async () => {
        throw new Error("the bus is down too");
      },
    });
    expect(await retry(at("t:0"), failing(9))).toBe("done");
  });
});
