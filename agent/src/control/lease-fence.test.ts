import { describe, expect, it } from "vitest";
import { LeaseFence } from "./lease-fence.ts";

const fenced = () => {
  const at = { now: 1_000, asked: 0, isLost: false, over: new AbortController() };
  const lease = {
    endOffset: 3,
    commit: async () => {
      at.asked += 1;
      if (at.isLost) throw new Error("not_owner");
    },
  };
  return { at, fence: new LeaseFence({ lease, now: () => at.now, signal: at.over.signal }) };
};

describe("the fence before a leader's writes", () => {
  it("asks once for all writes of a short while", async () => {
    const { at, fence } = fenced();
    await Promise.all([fence.pass(), fence.pass()]);
    at.now += 19;
    await fence.pass();
    expect(at.asked).toBe(1);
  });

  it("refuses a lease that is lost, at the latest when the last answer is 50 ms old", async () => {
    const { at, fence } = fenced();
    await fence.pass();
    at.isLost = true;
    at.now += 30;
    await fence.pass();
    at.now += 20;
    await expect(fence.pass()).rejects.toThrow("not_owner");
  });

  it("asks ahead, so that a steady stream of writes does not wait", async () => {
    const { at, fence } = fenced();
    await fence.pass();
    for (let n = 0; n < 10; n += 1) {
      at.now += 25;
      await fence.pass();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(at.asked).toBe(11);
  });

  it("asks again when the clock was set back", async () => {
    const { at, fence } = fenced();
    await fence.pass();
    at.now -= 5;
    await fence.pass();
    expect(at.asked).toBe(2);
  });

  it("lets nothing through once the term is over", async () => {
    const { at, fence } = fenced();
    await fence.pass();
    at.over.abort();
    await expect(fence.pass()).rejects.toThrow(/does not lead/);
  });
});
