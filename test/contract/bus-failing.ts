import { describe, expect, it } from "vitest";
import { gate, read, type Start, text } from "./bus.fixture.ts";

/** What becomes of messages whose handler fails. */
export const describeFailing = (start: Start): void => {
  describe("failing", () => {
    it("gives a failing handler the same messages again while other partitions go on", async () => {
      const { bus, spread, message } = await start();
      await bus.publish([0, 1, 2].map((partition) => ({ ...message(spread, "k", `${partition}:0`), partition })));
      const attempts: (string | null)[][] = [];
      const mended = gate();
      let isBroken = true;
      const { reading } = await read(bus, {
        group: "g",
        topics: [spread],
        onReceive: async (messages, { partition }) => {
          if (partition !== 1) return;
          attempts.push(messages.map(text));
          if (isBroken) throw new Error("the store is away");
        },
      });
      void mended.promise.then(() => {
        isBroken = false;
      });
      await reading.until(({ messages, errors }) => messages.length === 2 && errors.length >= 2);
      await bus.publish([0, 1, 2].map((partition) => ({ ...message(spread, "k", `${partition}:1`), partition })));
      await reading.until(({ messages }) => messages.length === 4);
      expect(reading.values()).not.toContain("1:0");
      mended.resolve();
      await reading.until(({ messages }) => messages.length === 6);
      expect(attempts.length).toBeGreaterThanOrEqual(3);
      expect(attempts.slice(0, 3)).toEqual([["1:0"], ["1:0"], ["1:0"]]);
      expect(reading.messages.filter(({ partition }) => partition === 1).map(text)).toEqual(["1:0", "1:1"]);
      expect(reading.errors[0]?.message).toBe("the store is away");
    });

    it("opens again what failed to open", async () => {
      const { bus, single, publish } = await start();
      await publish(single, "one");
      let attempts = 0;
      const { reading } = await read(bus, {
        group: "g",
        topics: [single],
        onOpen: async () => {
          attempts += 1;
          if (attempts < 3) throw new Error(`attempt ${attempts}`);
        },
      });
      await reading.until(({ messages }) => messages.length === 1);
      expect(reading.errors.map(({ message }) => message)).toEqual(["attempt 1", "attempt 2"]);
      expect(reading.opened).toHaveLength(1);
    });
  });
};
