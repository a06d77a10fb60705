import { describe, expect, it } from "vitest";
import { MESSAGE_BYTES_MAX } from "../../schemas/src/index.ts";
import { read, type Start, text } from "./bus.fixture.ts";

/** What is taken, what is refused, and in which order it stands. */
export const describePublishing = (start: Start): void => {
  describe("publishing", () => {
    it("keeps the messages of one key in the order of the calls, awaited or not, and in one partition", async () => {
      const { bus, spread, message } = await start();
      const keys = ["a", "b", "c", "d", "e"];
      const calls = Array.from({ length: 200 }, (_, n) => message(spread, keys[n % keys.length] ?? "", String(n)));
      await Promise.all(calls.map((one) => bus.publish([one])));
      const { reading } = await read(bus, { group: "g", topics: [spread] });
      await reading.until(({ messages }) => messages.length >= calls.length);
      for (const key of keys) {
        const of = reading.messages.filter((one) => one.key === key);
        expect(new Set(of.map(({ partition }) => partition)).size).toBe(1);
        expect(of.map(text)).toEqual(
          calls.filter((one) => one.key === key).map(({ value }) => Buffer.from(value ?? []).toString()),
        );
      }
    });

    it("chooses Kafka's partition for a key", async () => {
      const { bus, spread, message } = await start();
      await bus.publish(["foobar", "21", "abc"].map((key) => message(spread, key, key)));
      const { reading } = await read(bus, { group: "g", topics: [spread] });
      await reading.until(({ messages }) => messages.length === 3);
      const hashes = { foobar: -790332482, "21": -973932308, abc: 479470107 };
      for (const [key, hash] of Object.entries(hashes))
        expect(reading.messages.find((one) => one.key === key)?.partition).toBe((hash & 0x7fffffff) % 3);
    });

    it("puts a message where its partition says", async () => {
      const { bus, spread, message } = await start();
      await bus.publish([0, 1, 2].map((partition) => ({ ...message(spread, "same", String(partition)), partition })));
      const { reading } = await read(bus, { group: "g", topics: [spread] });
      await reading.until(({ messages }) => messages.length === 3);
      for (const one of reading.messages) expect(text(one)).toBe(String(one.partition));
    });

    it("carries value, key and headers unchanged, and tells an empty value from a tombstone", async () => {
      const { bus, journal } = await start();
      const value = Uint8Array.from({ length: 256 }, (_, byte) => byte);
      await bus.publish([
        { topic: journal, key: "schlüssel", value, headers: { reason: "größer", empty: "" } },
        { topic: journal, key: "empty", value: new Uint8Array(0) },
        { topic: journal, key: "gone", value: null },
      ]);
      const { reading } = await read(bus, { group: "g", topics: [journal] });
      await reading.until(({ messages }) => messages.length === 3);
      const [full, empty, gone] = reading.messages;
      expect(full).toMatchObject({
        topic: journal,
        partition: 0,
        offset: 0,
        key: "schlüssel",
        headers: { reason: "größer", empty: "" },
      });
      expect(Buffer.from(full?.value ?? [])).toEqual(Buffer.from(value));
      expect(empty?.value?.length).toBe(0);
      expect(empty?.headers).toEqual({});
      expect(gone?.value).toBeNull();
    });

    it("in order takes messages for several topics, all of them or, when one is refused, none", async () => {
      const { bus, single, spread, journal, message } = await start();
      const messages = [message(single, "k", "1"), message(journal, "k", "2"), message(single, "k", "3")];
      const refused = { ...message(spread, "k", "4"), partition: 99 };
      await expect(bus.publish([...messages, refused], { inOrder: true })).rejects.toThrow();
      await bus.publish([...messages, message(journal, "m", "5")], { inOrder: true });
      const { reading } = await read(bus, { group: "g", topics: [single, journal] });
      await reading.until(({ messages: found }) => found.length === 4);
      const of = (topic: string) => reading.messages.filter((one) => one.topic === topic).map(text);
      expect([of(single), of(journal)]).toEqual([
        ["1", "3"],
        ["2", "5"],
      ]);
    });

    it("takes a message of exactly the largest size", async () => {
      const { bus, single } = await start();
      await bus.publish([{ topic: single, key: "k", value: new Uint8Array(MESSAGE_BYTES_MAX).fill(7) }]);
      const { reading } = await read(bus, { group: "g", topics: [single] });
      await reading.until(({ messages }) => messages.length === 1);
      expect(reading.messages[0]?.value?.length).toBe(MESSAGE_BYTES_MAX);
    });

    it("refuses a message that is too large, names the size, and writes nothing of the call", async () => {
      const { bus, single, message } = await start();
      const large = { topic: single, key: "k", value: new Uint8Array(MESSAGE_BYTES_MAX + 1) };
      await expect(bus.publish([message(single, "k", "before"), large])).rejects.toMatchObject({
        code: "too_large",
        retryable: false,
        message: expect.stringContaining(String(MESSAGE_BYTES_MAX + 1)),
      });
      expect(await bus.lag("g", single)).toEqual([0]);
    });

    it("takes many large messages in one call", async () => {
      const { bus, spread } = await start();
      const values = Array.from({ length: 24 }, (_, n) => new Uint8Array(400_000).fill(n));
      await bus.publish(values.map((value) => ({ topic: spread, key: "one", value })));
      const { reading } = await read(bus, { group: "g", topics: [spread] });
      await reading.until(({ messages }) => messages.length === values.length);
      expect(reading.messages.map(({ value }) => value?.[0])).toEqual(values.map((_, n) => n));
    });

    it("refuses topics and partitions that it does not have", async () => {
      const { bus, single, message } = await start();
      await expect(bus.publish([message("no.such.topic", "k", "v")])).rejects.toMatchObject({
        code: "unknown_topic",
        message: expect.stringContaining("no.such.topic"),
      });
      await expect(bus.publish([{ ...message(single, "k", "v"), partition: 1 }])).rejects.toMatchObject({
        code: "unknown_topic",
      });
      await expect(read(bus, { group: "g", topics: ["no.such.topic"] })).rejects.toMatchObject({
        code: "unknown_topic",
      });
    });

    it("refuses everything once it is stopped", async () => {
      const { bus, single, publish } = await start();
      await bus.stop();
      await expect(publish(single, "late")).rejects.toMatchObject({ code: "stopped" });
      await expect(read(bus, { group: "g", topics: [single] })).rejects.toMatchObject({ code: "stopped" });
    });
  });
};
