import { describe, expect, it } from "vitest";
import { read, type Start } from "./bus.fixture.ts";

/** Who reads what, from where, and how much at once. */
export const describeReading = (start: Start): void => {
  describe("reading", () => {
    it("has after a restart what was published before", async () => {
      const { single, publish, reopen } = await start();
      await publish(single, "one", "two");
      const { reading } = await read(await reopen(), { group: "g", topics: [single] });
      await reading.until(({ messages }) => messages.length === 2);
      expect(reading.values()).toEqual(["one", "two"]);
    });

    it("wakes a waiting reader", async () => {
      const { bus, single, publish } = await start();
      const { reading } = await read(bus, { group: "g", topics: [single] });
      await reading.until(({ opened }) => opened.length === 1);
      await publish(single, "one");
      await reading.until(({ messages }) => messages.length === 1);
      await publish(single, "two");
      await reading.until(({ messages }) => messages.length === 2);
      expect(reading.values()).toEqual(["one", "two"]);
    });

    it("opens every partition, empty ones too, and says where it begins and ends", async () => {
      const { bus, spread, message } = await start();
      await bus.publish([0, 1, 2, 3].map((n) => ({ ...message(spread, "k", String(n)), partition: 1 })));
      const { reading } = await read(bus, { group: "g", topics: [spread] });
      await reading.until(({ opened }) => opened.length === 3);
      const facts = reading.opened
        .map(({ partition, earliestOffset, endOffset, committed }) => [partition, earliestOffset, endOffset, committed])
        .sort();
      expect(facts).toEqual([
        [0, 0, 0, null],
        [1, 0, 4, null],
        [2, 0, 0, null],
      ]);
    });

    it("says with each delivery where the partition ends", async () => {
      const { bus, single, publish } = await start();
      await publish(single, "one", "two", "three");
      const ends: number[] = [];
      const { reading } = await read(bus, {
        group: "g",
        topics: [single],
        maxMessages: 2,
        onReceive: async (_messages, _partition, endOffset) => void ends.push(endOffset),
      });
      await reading.until(({ messages }) => messages.length === 3);
      expect(ends).toEqual([3, 3]);
    });

    it("gives no more at once than was asked for, except that one message always comes", async () => {
      const { bus, single, publish } = await start();
      await publish(single, ..."abcdefgh");
      await publish(single, "x".repeat(5_000), "y".repeat(5_000), "zz");
      const sizes: number[] = [];
      const { reading } = await read(bus, {
        group: "g",
        topics: [single],
        maxMessages: 3,
        maxBytes: 4_000,
        onReceive: async (messages) => void sizes.push(messages.length),
      });
      await reading.until(({ messages }) => messages.length === 11);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(3);
      expect(sizes.slice(-3)).toEqual([1, 1, 1]);
      expect(reading.values()).toEqual([..."abcdefgh", "x".repeat(5_000), "y".repeat(5_000), "zz"]);
    });

    it("waits until enough has gathered", async () => {
      const { bus, single, publish } = await start();
      const sizes: number[] = [];
      const { reading } = await read(bus, {
        group: "g",
        topics: [single],
        minBytes: 300,
        maxWaitMs: 20_000,
        onReceive: async (messages) => void sizes.push(messages.length),
      });
      await reading.until(({ opened }) => opened.length === 1);
      for (const value of ["a", "b", "c"]) await publish(single, value.repeat(100));
      await reading.until(({ messages }) => messages.length === 3);
      expect(sizes).toEqual([3]);
    });

    it("begins where the handler says, and moves what is out of range into it", async () => {
      const { bus, spread, message } = await start();
      await bus.publish(
        [0, 1, 2].flatMap((partition) =>
          [0, 1, 2].map((n) => ({ ...message(spread, "k", `${partition}:${n}`), partition })),
        ),
      );
      const { reading } = await read(bus, {
        group: "g",
        topics: [spread],
        startOffset: ({ partition }) => [2, -5, 99][partition] ?? 0,
      });
      await reading.until(({ messages }) => messages.length === 4);
      await bus.publish([{ ...message(spread, "k", "new"), partition: 2 }]);
      await reading.until(({ messages }) => messages.length === 5);
      expect(reading.values().sort()).toEqual(["0:2", "1:0", "1:1", "1:2", "new"]);
    });

    it("lets two groups read the same messages, each at its own place", async () => {
      const { bus, single, publish } = await start();
      await publish(single, "one", "two");
      const first = await read(bus, { group: "first", topics: [single], commits: true });
      await first.reading.until(({ messages }) => messages.length === 2);
      const second = await read(bus, { group: "second", topics: [single] });
      await second.reading.until(({ messages }) => messages.length === 2);
      expect(second.reading.opened[0]?.committed).toBeNull();
      expect(second.reading.values()).toEqual(["one", "two"]);
    });
  });
};
