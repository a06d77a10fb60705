import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoffMs, retryUntilAborted } from "./retry.ts";

describe("backoffMs", () => {
  it("grows from at most 100 ms to at most 10 s and is never below half of its step", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.double({ min: 0, max: 1, noNaN: true }), (failures, chance) => {
        const step = Math.min(10_000, 100 * 2 ** (failures - 1));
        const ms = backoffMs(failures, () => chance);
        expect(ms >= step / 2 && ms <= step).toBe(true);
      }),
    );
  });
});

describe("retryUntilAborted", () => {
  it("waits longer after each failure and returns the first success", async () => {
    const waits: number[] = [];
    let calls = 0;
    const result = await retryUntilAborted(
      async () => {
        calls += 1;
        if (calls < 4) throw new Error("not yet");
        return calls;
      },
      {
        signal: new AbortController().signal,
        random: () => 1,
        onFailure: () => undefined,
        after: (ms, run) => {
          waits.push(ms);
          queueMicrotask(run);
          return () => undefined;
        },
      },
    );
    expect(result).toBe(4);
    expect(waits).toEqual([100, 200, 400]);
  });

  it("gives up in the middle of a wait when the signal aborts", async () => {
    const controller = new AbortController();
    const result = await retryUntilAborted(() => Promise.reject(new Error("never")), {
      signal: controller.signal,
      random: () => 1,
      onFailure: () => queueMicrotask(() => controller.abort()),
      after: () => () => undefined,
    });
    expect(result).toBeNull();
  });
});
