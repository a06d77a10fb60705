import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import type { AssignedPartition, BusMessage, Log, OutgoingMessage, Retention, Topic } from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createEmbeddedBus, type EmbeddedBus } from "./index.ts";

const nothing = () => undefined;
const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const DAY_MS = 86_400_000;
const MIB = 1_048_576;

/** Time that passes only when a test says so. */
class VirtualTime {
  now = 1_700_000_000_000;
  readonly #timers = new Map<() => void, number>();

  readonly after = (ms: number, run: () => void) => {
    const timer = () => run();
    this.#timers.set(timer, this.now + ms);
    return () => void this.#timers.delete(timer);
  };

  get pending(): number {
    return this.#timers.size;
  }

  async pass(ms: number): Promise<void> {
    this.now += ms;
    for (const [timer, at] of [...this.#timers])
      if (at <= this.now) {
        this.#timers.delete(timer);
        timer();
      }
    await setImmediate();
  }
}

const topic = (name: string, retention: Retention, partitions = 1): Topic => ({
  name,
  key: "any",
  partitions,
  retention,
  value: "text",
});
const TOPICS = [
  topic("events", { kind: "delete", ms: DAY_MS, bytesPerPartition: 10 * MIB }, 2),
  topic("journal", { kind: "compact" }),
];

describe("the embedded bus", () => {
  let dir: string;
  let time: VirtualTime;
  let bus: EmbeddedBus;
  const start = (bytesMax = 64 * MIB, topics = TOPICS) =>
    createEmbeddedBus({
      dir,
      topics,
      now: () => time.now,
      after: time.after,
      random: () => 1,
      log,
      limits: { bytesMax },
    });
  const file = () => join(dir, "bus.sqlite");

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "homeostat-bus-"));
    time = new VirtualTime();
    bus = await start();
  });
  afterEach(async () => {
    await bus.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const message = (name: string, key: string, value: string | null, partition = 0): OutgoingMessage => ({
    topic: name,
    key,
    value: value === null ? null : Buffer.from(value),
    partition,
  });
  const text = ({ value }: BusMessage) => (value === null ? null : Buffer.from(value).toString());

  /** Everything that partition 0 of a topic holds now, as a new group sees it. */
  const contents = async (name: string): Promise<{ values: (string | null)[]; partition: AssignedPartition }> => {
    const { promise, resolve } = Promise.withResolvers<{ values: (string | null)[]; partition: AssignedPartition }>();
    const values: (string | null)[] = [];
    const reader = await bus.consume({
      group: `look at ${name} ${Math.random()}`,
      topics: [name],
      open: async (partition) => {
        if (partition.partition === 0 && partition.earliestOffset === partition.endOffset)
          resolve({ values, partition });
        return {
          startOffset: partition.earliestOffset,
          receive: async (messages, endOffset) => {
            if (partition.partition !== 0) return;
            values.push(...messages.map(text));
            if ((messages.at(-1)?.offset ?? 0) + 1 === endOffset) resolve({ values, partition });
          },
        };
      },
    });
    const seen = await promise;
    await reader.stop();
    return seen;
  };

  describe("retention", () => {
    it("deletes what is older than the topic keeps, and says where the rest begins", async () => {
      await bus.publish([message("events", "k", "old"), message("events", "k", "old too")]);
      await time.pass(DAY_MS);
      await bus.publish([message("events", "k", "new")]);
      await bus.keepHouse();
      expect((await contents("events")).values).toEqual(["old", "old too", "new"]);
      await time.pass(1);
      await bus.keepHouse();
      const { values, partition } = await contents("events");
      expect(values).toEqual(["new"]);
      expect(partition.earliestOffset).toBe(2);
    });

    it("deletes the oldest above the bytes that the topic keeps, in each partition for itself", async () => {
      const large = "x".repeat(500_000);
      for (let n = 0; n < 30; n += 1) await bus.publish([message("events", "k", `${n}${large}`)]);
      await bus.publish([message("events", "k", large, 1)]);
      await bus.keepHouse();
      const { values, partition } = await contents("events");
      expect(values).toHaveLength(20);
      expect(values[0]?.startsWith("10x")).toBe(true);
      expect(partition.earliestOffset).toBe(10);
      expect(await bus.lag("nobody", "events")).toEqual([20, 1]);
    });

    it("never gives an offset twice, also when nothing is left and the process starts anew", async () => {
      await bus.publish([message("events", "k", "a"), message("events", "k", "b")]);
      await time.pass(DAY_MS + 1);
      await bus.keepHouse();
      await bus.stop();
      bus = await start();
      await bus.publish([message("events", "k", "c")]);
      const { values, partition } = await contents("events");
      expect([values, partition.earliestOffset, partition.endOffset]).toEqual([["c"], 2, 3]);
    });

    it("runs by itself once a minute, and an idle bus has no other timer", async () => {
      await bus.publish([message("events", "k", "old")]);
      const reader = await bus.consume({
        group: "g",
        topics: ["events"],
        open: async () => ({ startOffset: 1, receive: async () => undefined }),
      });
      await setImmediate();
      expect(time.pending).toBe(1);
      await time.pass(DAY_MS + 1);
      for (let turns = 0; turns < 100 && (await bus.lag("nobody", "events"))[0] !== 0; turns += 1) await setImmediate();
      expect(await bus.lag("nobody", "events")).toEqual([0, 0]);
      expect(time.pending).toBe(1);
      await reader.stop();
    });
  });

  describe("compaction", () => {
    it("keeps the newest value of each key, once a reader had a minute to see the others", async () => {
      await bus.publish(["a", "b", "a", "a"].map((key, n) => message("journal", key, `${key}${n}`)));
      await bus.keepHouse();
      expect((await contents("journal")).values).toEqual(["a0", "b1", "a2", "a3"]);
      await time.pass(60_000);
      await bus.keepHouse();
      expect((await contents("journal")).values).toEqual(["b1", "a3"]);
      await bus.publish([message("journal", "b", "b4")]);
      await time.pass(60_000);
      await bus.keepHouse();
      expect((await contents("journal")).values).toEqual(["a3", "b4"]);
    });

    it("keeps a tombstone for a day, and nothing of the key after that", async () => {
      await bus.publish([message("journal", "a", "a0"), message("journal", "b", "b1"), message("journal", "a", null)]);
      await time.pass(60_000);
      await bus.keepHouse();
      expect((await contents("journal")).values).toEqual(["b1", null]);
      await time.pass(DAY_MS - 60_000);
      await bus.keepHouse();
      expect((await contents("journal")).values).toEqual(["b1", null]);
      await time.pass(1);
      await bus.keepHouse();
      // The newest message stays, for whoever replays up to the end.
      expect((await contents("journal")).values).toEqual(["b1", null]);
      await bus.publish([message("journal", "c", "c3")]);
      await bus.keepHouse();
      expect((await contents("journal")).values).toEqual(["b1", "c3"]);
    });

    it("goes on after a restart where it was", async () => {
      await bus.publish(["a", "a"].map((key, n) => message("journal", key, `${key}${n}`)));
      await time.pass(60_000);
      await bus.keepHouse();
      await bus.stop();
      bus = await start();
      await bus.publish([message("journal", "a", "a2")]);
      await time.pass(60_000);
      await bus.keepHouse();
      expect((await contents("journal")).values).toEqual(["a2"]);
    });
  });

  describe("a full disk", () => {
    const large = "x".repeat(500_000);
    const fill = async (): Promise<number> => {
      for (let n = 0; ; n += 1)
        try {
          await bus.publish([message("events", "k", `${n}${large}`)]);
        } catch (error) {
          expect(error).toMatchObject({ code: "full", retryable: true });
          return n;
        }
    };

    beforeEach(async () => {
      await bus.stop();
      bus = await start(4 * MIB);
    });

    it("refuses at the cap, stays below it, and still takes commits", async () => {
      const taken = await fill();
      expect(taken).toBeGreaterThan(5);
      expect(bus.usedBytes()).toBeLessThanOrEqual(4 * MIB);
      const { partition } = await contents("events");
      expect(partition.endOffset).toBe(taken);
      const committed = Promise.withResolvers<void>();
      const reader = await bus.consume({
        group: "late",
        topics: ["events"],
        open: async (assigned) => {
          assigned.commit(0, "x".repeat(4_000)).then(committed.resolve, committed.reject);
          return { startOffset: 0, receive: async () => undefined };
        },
      });
      await committed.promise;
      await reader.stop();
    });

    it("takes more by itself when messages are due for deletion", async () => {
      await fill();
      await time.pass(DAY_MS + 1);
      await bus.publish([message("events", "k", large)]);
      expect((await contents("events")).values).toHaveLength(1);
    });

    it("takes more by itself when every group has read on, and deletes nothing that one has yet to read", async () => {
      const taken = await fill();
      for (const [group, offset] of [
        ["quick", taken],
        ["slow", 3],
      ] as const) {
        const reader = await bus.consume({
          group,
          topics: ["events"],
          open: async (assigned) => {
            if (assigned.partition === 0) await assigned.commit(offset);
            return { startOffset: assigned.endOffset, receive: async () => undefined };
          },
        });
        await setImmediate();
        await reader.stop();
      }
      await bus.publish([message("events", "k", large)]);
      const { partition } = await contents("events");
      expect(partition.earliestOffset).toBeGreaterThan(0);
      expect(partition.earliestOffset).toBeLessThanOrEqual(3);
      expect(await fill()).toBeLessThan(3);
      expect((await contents("events")).partition.earliestOffset).toBe(3);
    });

    it("keeps order and offsets across refusals", async () => {
      const taken = await fill();
      await time.pass(DAY_MS + 1);
      await bus.publish([message("events", "k", "after")]);
      expect((await contents("events")).partition.endOffset).toBe(taken + 1);
    });
  });

  describe("opening", () => {
    it("refuses a second opener, in this process and in another, and says why", async () => {
      await expect(start()).rejects.toMatchObject({
        code: "unreachable",
        message: expect.stringMatching(/bus\.sqlite is in use by another process/),
      });
      await bus.publish([message("events", "k", "still here")]);
      expect((await contents("events")).values).toEqual(["still here"]);
    });

    it("names a damaged file and what to do, and leaves it as it is", async () => {
      await bus.publish([message("events", "k", "a")]);
      await bus.stop();
      const handle = await open(file(), "r+");
      await handle.write(Buffer.alloc(100, 0xa5), 0, 100, 0);
      await handle.close();
      const before = await readFile(file());
      await expect(start()).rejects.toMatchObject({
        code: "corrupt",
        retryable: false,
        message: expect.stringMatching(/bus\.sqlite is damaged.*Restore it from a copy, or move it/s),
      });
      expect(await readFile(file())).toEqual(before);
      await rm(file());
      bus = await start();
    });

    it("reports damage in the middle of the file to whoever reads it", async () => {
      await bus.publish(Array.from({ length: 50 }, (_, n) => message("events", "k", `${n}${"x".repeat(20_000)}`)));
      await bus.stop();
      const handle = await open(file(), "r+");
      const { size } = await handle.stat();
      for (let at = 6 * 16_384; at < size; at += 16_384) await handle.write(Buffer.alloc(16_384, 0xa5), 0, 16_384, at);
      await handle.close();
      bus = await start();
      const { promise, resolve } = Promise.withResolvers<Error>();
      const reader = await bus.consume({
        group: "g",
        topics: ["events"],
        open: async () => ({ startOffset: 0, receive: async () => undefined }),
        onError: resolve,
      });
      expect(await promise).toMatchObject({ code: "corrupt", message: expect.stringContaining("bus.sqlite") });
      await reader.stop();
    });

    it("refuses a database that is not its own", async () => {
      await bus.stop();
      await rm(file());
      const other = new DatabaseSync(file());
      other.exec("CREATE TABLE photos (id INTEGER PRIMARY KEY)");
      other.close();
      await expect(start()).rejects.toMatchObject({
        code: "corrupt",
        message: expect.stringContaining("not one of this bus"),
      });
      await rm(file());
      bus = await start();
    });

    it("refuses a file that is no database", async () => {
      await bus.stop();
      await rm(file());
      await writeFile(file(), "a shopping list, much longer than the header of a database".repeat(20));
      await expect(start()).rejects.toMatchObject({ code: "corrupt" });
      await rm(file());
      bus = await start();
    });

    it("keeps what topics hold that get more partitions", async () => {
      await bus.publish([message("events", "k", "a")]);
      await bus.stop();
      bus = await start(64 * MIB, [topic("events", { kind: "delete", ms: DAY_MS, bytesPerPartition: MIB }, 4)]);
      await bus.publish([message("events", "k", "b", 3)]);
      expect(await bus.lag("g", "events")).toEqual([1, 0, 0, 1]);
      await expect(bus.publish([message("journal", "k", "v")])).rejects.toMatchObject({ code: "unknown_topic" });
    });
  });

  describe("reading", () => {
    it("waits for more only as long as it was told to", async () => {
      await bus.publish([message("events", "k", "short")]);
      const { promise, resolve } = Promise.withResolvers<readonly BusMessage[]>();
      const reader = await bus.consume({
        group: "g",
        topics: ["events"],
        minBytes: 1_000,
        maxWaitMs: 5_000,
        open: async ({ earliestOffset }) => ({
          startOffset: earliestOffset,
          receive: async (messages) => resolve(messages),
        }),
      });
      let hasCome = false;
      void promise.then(() => {
        hasCome = true;
      });
      while (time.pending < 2) await setImmediate();
      await time.pass(4_999);
      for (let turns = 0; turns < 10; turns += 1) await setImmediate();
      expect(hasCome).toBe(false);
      await time.pass(1);
      expect((await promise).map(text)).toEqual(["short"]);
      await reader.stop();
    });

    it("backs off from a failing handler further and further, and begins with the shortest wait after a success", async () => {
      await bus.publish([message("events", "k", "a")]);
      const failures: number[] = [];
      let started = time.now;
      let isBroken = true;
      const { promise: received, resolve } = Promise.withResolvers<void>();
      const reader = await bus.consume({
        group: "g",
        topics: ["events"],
        open: async () => ({
          startOffset: 0,
          receive: async () => {
            if (!isBroken) return resolve();
            failures.push(time.now - started);
            started = time.now;
            throw new Error("broken");
          },
        }),
      });
      for (const wait of [0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]) {
        await time.pass(wait);
        while (time.pending < 2) await setImmediate();
      }
      expect(failures).toEqual([0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
      isBroken = false;
      await time.pass(10_000);
      await received;
      await reader.stop();
    });

    it("hands a partition over when its handler does not come to an end", async () => {
      await bus.publish([message("events", "k", "a")]);
      const hung = Promise.withResolvers<void>();
      const receiving = Promise.withResolvers<AssignedPartition>();
      const first = await bus.consume({
        group: "g",
        topics: ["events"],
        open: async (partition) => ({
          startOffset: 0,
          receive: async () => {
            receiving.resolve(partition);
            await hung.promise;
          },
        }),
      });
      const lost = await receiving.promise;
      const stopped = first.stop();
      const taken = Promise.withResolvers<AssignedPartition>();
      const second = await bus.consume({
        group: "g",
        topics: ["events"],
        open: async (partition) => {
          if (partition.partition === 0) taken.resolve(partition);
          return { startOffset: partition.endOffset, receive: async () => undefined };
        },
      });
      await expect(lost.commit(0, "still mine")).resolves.toBeUndefined();
      await time.pass(10_000);
      expect((await taken.promise).committed).toEqual({ offset: 0, metadata: "still mine" });
      await expect(lost.commit(1)).rejects.toMatchObject({ code: "not_owner" });
      hung.resolve();
      await stopped;
      await second.stop();
    });
  });
});
