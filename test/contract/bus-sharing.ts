import { describe, expect, it } from "vitest";
import { gate, place, read, type Start, text } from "./bus.fixture.ts";

/** How partitions go from one member of a group to another. */
export const describeSharing = (start: Start): void => {
  describe("sharing", () => {
    it("shares the partitions among the members of a group, each with one of them", async () => {
      const { bus, spread, message } = await start();
      const first = await read(bus, { group: "g", topics: [spread], commits: true });
      await first.reading.until(({ opened }) => opened.length === 3);
      const second = await read(bus, { group: "g", topics: [spread], commits: true });
      await second.reading.until(({ opened }) => opened.length >= 1);
      await bus.publish([0, 1, 2].map((partition) => ({ ...message(spread, "k", String(partition)), partition })));
      const both = () => [...first.reading.messages, ...second.reading.messages];
      await Promise.race([
        first.reading.until(() => both().length >= 3),
        second.reading.until(() => both().length >= 3),
      ]);
      expect(both().map(text).sort()).toEqual(["0", "1", "2"]);
      expect(first.reading.messages.length).toBeGreaterThan(0);
      expect(second.reading.messages.length).toBeGreaterThan(0);
    });

    it("hands the partitions of a member that stops to the others, after its handlers have ended", async () => {
      const { bus, spread, message } = await start();
      const events: string[] = [];
      const hold = gate();
      const holding = gate();
      const first = await read(bus, {
        group: "g",
        topics: [spread],
        onReceive: async (messages, { partition, commit }) => {
          holding.resolve();
          await hold.promise;
          await commit((messages.at(-1)?.offset ?? 0) + 1);
          events.push(`first ended ${partition}`);
        },
      });
      await first.reading.until(({ opened }) => opened.length === 3);
      await bus.publish([{ ...message(spread, "k", "slow"), partition: 1 }]);
      await holding.promise;
      const stopped = first.consumer.stop();
      const second = await read(bus, {
        group: "g",
        topics: [spread],
        onOpen: async ({ partition, committed }) =>
          void events.push(`second opened ${partition} at ${committed?.offset ?? null}`),
      });
      expect(first.reading.opened.every(({ signal }) => signal.aborted)).toBe(true);
      hold.resolve();
      await stopped;
      await second.reading.until(({ opened }) => opened.length >= 3);
      expect(events.indexOf("first ended 1")).toBeLessThan(events.indexOf("second opened 1 at 1"));
      expect(events).toContain("first ended 1");
      expect(first.reading.closed).toHaveLength(3);
      await bus.publish([0, 1, 2].map((partition) => ({ ...message(spread, "k", "after"), partition })));
      await second.reading.until(({ messages }) => messages.length === 3);
      expect(first.reading.values()).toEqual(["slow"]);
    });

    it("takes partitions from a member when another joins: its signal aborts, its handler ends, its commit no longer counts", async () => {
      const { bus, spread } = await start();
      const first = await read(bus, { group: "g", topics: [spread] });
      await first.reading.until(({ opened }) => opened.length === 3);
      const before = [...first.reading.opened];
      const second = await read(bus, { group: "g", topics: [spread] });
      await second.reading.until(({ opened }) => opened.length >= 1);
      const taken = second.reading.opened[0];
      const lost = before.find(({ partition }) => partition === taken?.partition);
      expect(lost?.signal.aborted).toBe(true);
      expect(first.reading.closed).toContain(lost && place(lost));
      await expect(lost?.commit(0, "stale")).rejects.toMatchObject({ code: "not_owner" });
      await expect(taken?.commit(0, "mine")).resolves.toBeUndefined();
    });

    it("waits with stop() for the handler that runs, and takes its commit and what it publishes", async () => {
      const { bus, single, journal, publish, message } = await start();
      await publish(single, "one");
      const hold = gate();
      const holding = gate();
      const order: string[] = [];
      await read(bus, {
        group: "g",
        topics: [single],
        onReceive: async (_messages, { commit, signal }) => {
          holding.resolve();
          await hold.promise;
          expect(signal.aborted).toBe(true);
          await commit(1, "done");
          await bus.publish([message(journal, "k", "last words")]);
          order.push("handler ended");
        },
      });
      await holding.promise;
      const stopped = bus.stop().then(() => order.push("stopped"));
      hold.resolve();
      await stopped;
      expect(order).toEqual(["handler ended", "stopped"]);
    });
  });
};
