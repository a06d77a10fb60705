import { afterEach, describe, expect, it } from "vitest";
import type {
  AssignedPartition,
  Bus,
  BusMessage,
  CommittedOffset,
  ConsumeOptions,
  Consumer,
  OutgoingMessage,
  Topic,
} from "../../schemas/src/index.ts";
import { MESSAGE_BYTES_MAX } from "../../schemas/src/index.ts";

/** One log with topics of its own; `open` gives a client of it, after the former was stopped. */
export interface BusHarness {
  open(topics: readonly Topic[]): Promise<Bus>;
  dispose(): Promise<void>;
}

const text = (message: BusMessage) => (message.value === null ? null : Buffer.from(message.value).toString());
const place = ({ topic, partition }: { topic: string; partition: number }) => `${topic}/${partition}`;

/** Reads into an array, and lets a test wait until something is true of what came. */
class Reading {
  /** Each once: the bus may give a message again that was not committed. */
  readonly messages: BusMessage[] = [];
  readonly #seen = new Set<string>();
  readonly opened: AssignedPartition[] = [];
  readonly closed: string[] = [];
  readonly errors: Error[] = [];
  readonly #waiting = new Set<() => void>();

  add(messages: readonly BusMessage[]): void {
    for (const message of messages) {
      const where = `${place(message)}/${message.offset}`;
      if (!this.#seen.has(where)) this.messages.push(message);
      this.#seen.add(where);
    }
    this.changed();
  }

  changed(): void {
    for (const look of [...this.#waiting]) look();
  }

  until(isTrue: (reading: this) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!isTrue(this)) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  values(): (string | null)[] {
    return this.messages.map(text);
  }
}

interface ReadOptions extends Partial<Omit<ConsumeOptions, "open" | "onError">> {
  group: string;
  topics: string[];
  commits?: boolean;
  startOffset?(partition: AssignedPartition): number;
  onOpen?(partition: AssignedPartition): Promise<void>;
  onReceive?(messages: readonly BusMessage[], partition: AssignedPartition, endOffset: number): Promise<void>;
}

const read = async (bus: Bus, options: ReadOptions): Promise<{ reading: Reading; consumer: Consumer }> => {
  const { commits, startOffset, onOpen, onReceive, ...consume } = options;
  const reading = new Reading();
  const consumer = await bus.consume({
    ...consume,
    onError: (error) => {
      reading.errors.push(error);
      reading.changed();
    },
    open: async (partition) => {
      await onOpen?.(partition);
      reading.opened.push(partition);
      reading.changed();
      return {
        startOffset: startOffset?.(partition) ?? partition.committed?.offset ?? partition.earliestOffset,
        receive: async (messages, endOffset) => {
          await onReceive?.(messages, partition, endOffset);
          const last = messages.at(-1);
          if (commits && last !== undefined) await partition.commit(last.offset + 1);
          reading.add(messages);
        },
        close: async () => {
          reading.closed.push(place(partition));
          reading.changed();
        },
      };
    },
  });
  return { reading, consumer };
};

const gate = () => Promise.withResolvers<void>();

/** Every promise of schemas/src/bus.ts, as tests that each make of the bus passes. */
export const describeBus = (name: string, makeHarness: () => Promise<BusHarness>): void => {
  describe(name, () => {
    const undo: (() => Promise<void>)[] = [];
    afterEach(async () => {
      for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
    });

    /** A fresh log with a topic of three partitions, one of a single partition, and a compacted one. */
    const start = async () => {
      const harness = await makeHarness();
      undo.push(() => harness.dispose());
      const suffix = Math.random().toString(36).slice(2, 10);
      const names = { spread: `spread.${suffix}`, single: `single.${suffix}`, journal: `journal.${suffix}` };
      const retention = { kind: "delete", ms: 86_400_000, bytesPerPartition: 1_073_741_824 } as const;
      const topics: Topic[] = [
        { name: names.spread, key: "any", partitions: 3, retention, value: "text" },
        { name: names.single, key: "any", partitions: 1, retention, value: "text" },
        { name: names.journal, key: "any", partitions: 1, retention: { kind: "compact" }, value: "text" },
      ];
      let bus = await harness.open(topics);
      undo.push(() => bus.stop());
      const message = (topic: string, key: string, value: string | null): OutgoingMessage => ({
        topic,
        key,
        value: value === null ? null : Buffer.from(value),
      });
      return {
        bus,
        ...names,
        message,
        publish: (topic: string, ...values: string[]) =>
          bus.publish(values.map((value) => message(topic, "key", value))),
        reopen: async () => {
          await bus.stop();
          bus = await harness.open(topics);
          return bus;
        },
      };
    };

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
          .map(({ partition, earliestOffset, endOffset, committed }) => [
            partition,
            earliestOffset,
            endOffset,
            committed,
          ])
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
  });
};
