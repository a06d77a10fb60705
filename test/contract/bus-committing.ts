import { describe, expect, it } from "vitest";
import type { Bus, CommittedOffset } from "../../schemas/src/index.ts";
import { read, type Start } from "./bus.fixture.ts";

/** Where a group stands, over restarts too. */
export const describeCommitting = (start: Start): void => {
  describe("committing", () => {
    it("gives again after a restart what was not committed, and nothing of what was", async () => {
      const { bus, single, publish, reopen } = await start();
      await publish(single, "one", "two", "three");
      const first = await read(bus, { group: "g", topics: [single] });
      await first.reading.until(({ messages }) => messages.length === 3);
      await first.reading.opened[0]?.commit(1);
      const second = await read(await reopen(), { group: "g", topics: [single] });
      await second.reading.until(({ messages }) => messages.length === 2);
      expect(second.reading.values()).toEqual(["two", "three"]);
    });

    it("keeps the note beside the offset, also of an empty partition, and lets the group move back", async () => {
      const { bus, single, publish, reopen } = await start();
      const seen: (CommittedOffset | null)[] = [];
      const commits: [number, string?][] = [[0, '{"end":12}'], [2, "ü".repeat(2_000)], [1]];
      let at: Bus = bus;
      for (const [offset, metadata] of commits) {
        const { reading } = await read(at, { group: "g", topics: [single] });
        await reading.until(({ opened }) => opened.length === 1);
        seen.push(reading.opened[0]?.committed ?? null);
        await reading.opened[0]?.commit(offset, metadata);
        at = await reopen();
        if (offset === 0) await publish(single, "one", "two");
      }
      const { reading } = await read(at, { group: "g", topics: [single] });
      await reading.until(({ opened }) => opened.length === 1);
      seen.push(reading.opened[0]?.committed ?? null);
      expect(seen).toEqual([
        null,
        { offset: 0, metadata: '{"end":12}' },
        { offset: 2, metadata: "ü".repeat(2_000) },
        { offset: 1, metadata: "" },
      ]);
    });

    it("refuses a note that is too long and an offset that is none", async () => {
      const { bus, single } = await start();
      const { reading } = await read(bus, { group: "g", topics: [single] });
      await reading.until(({ opened }) => opened.length === 1);
      await expect(reading.opened[0]?.commit(0, "x".repeat(4_097))).rejects.toMatchObject({ code: "too_large" });
      await expect(reading.opened[0]?.commit(-1)).rejects.toThrow(RangeError);
      await expect(reading.opened[0]?.commit(1.5)).rejects.toThrow(RangeError);
    });

    it("refuses the commit of a member that has given its partition back", async () => {
      const { bus, single, publish } = await start();
      await publish(single, "one");
      const { reading, consumer } = await read(bus, { group: "g", topics: [single] });
      await reading.until(({ messages }) => messages.length === 1);
      await consumer.stop();
      await expect(reading.opened[0]?.commit(1)).rejects.toMatchObject({ code: "not_owner", retryable: false });
      expect(await bus.lag("g", single)).toEqual([1]);
    });

    it("counts what a group has yet to read", async () => {
      const { bus, spread, message } = await start();
      await bus.publish([0, 0, 0, 2].map((partition) => ({ ...message(spread, "k", "v"), partition })));
      expect(await bus.lag("g", spread)).toEqual([3, 0, 1]);
      const { reading } = await read(bus, { group: "g", topics: [spread] });
      await reading.until(({ messages }) => messages.length === 4);
      await reading.opened.find(({ partition }) => partition === 0)?.commit(2);
      expect(await bus.lag("g", spread)).toEqual([1, 0, 1]);
      expect(await bus.lag("other", spread)).toEqual([3, 0, 1]);
      await expect(bus.lag("g", "no.such.topic")).rejects.toMatchObject({ code: "unknown_topic" });
    });
  });
};
