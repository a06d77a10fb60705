import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createKafkaBus } from "../../app/src/kafka/index.ts";
import type { Bus, Log, Topic } from "../../schemas/src/index.ts";
import { Broker } from "./broker.ts";

const nothing = () => undefined;
const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const KEYS = ["a", "b", "c"];
const topic: Topic = {
  name: "faults",
  key: "any",
  partitions: 2,
  retention: { kind: "delete", ms: 86_400_000, bytesPerPartition: 1_073_741_824 },
  value: "text",
};

describe("a broker that goes away and comes back", () => {
  let broker: Broker;
  let bus: Bus;
  const open = () =>
    createKafkaBus({ brokers: [broker.address], clientId: "faults", topics: [topic], log, heartbeatMs: 200 });
  beforeEach(async () => {
    broker = await Broker.create();
    await broker.start();
    bus = await open();
  });
  afterEach(async () => {
    await bus.stop();
    await broker.dispose();
  });

  it("loses nothing that was acknowledged, keeps each key in order, and reading goes on by itself", async () => {
    const acknowledged: string[] = [];
    let refused = 0;
    let isOver = false;
    const watchers = new Set<() => void>();
    const look = () => {
      for (const watcher of [...watchers]) watcher();
    };
    const until = (isTrue: () => boolean): Promise<void> =>
      new Promise((resolve) => {
        const watcher = () => {
          if (!isTrue()) return;
          watchers.delete(watcher);
          resolve();
        };
        watchers.add(watcher);
        watcher();
      });

    const produce = async (key: string) => {
      for (let n = 0; !isOver; n += 1) {
        for (let isTaken = false; !isTaken; )
          try {
            await bus.publish([{ topic: topic.name, key, value: Buffer.from(`${key}:${n}`) }]);
            isTaken = true;
          } catch (error) {
            expect(error).toMatchObject({ code: "unreachable", retryable: true });
            refused += 1;
            look();
          }
        acknowledged.push(`${key}:${n}`);
        look();
      }
    };
    const seen: string[] = [];
    await bus.consume({
      group: "g",
      topics: [topic.name],
      open: async (partition) => ({
        startOffset: partition.committed?.offset ?? 0,
        receive: async (messages) => {
          await partition.commit((messages.at(-1)?.offset ?? 0) + 1);
          seen.push(...messages.map(({ value }) => Buffer.from(value ?? []).toString()));
          look();
        },
      }),
    });
    const producers = KEYS.map(produce);

    await until(() => acknowledged.length > 100 && seen.length > 100);
    await broker.stop();
    await until(() => refused > 0);
    await broker.start();
    const [afterStop, seenAfterStop] = [acknowledged.length, seen.length];
    await until(() => acknowledged.length > afterStop + 100 && seen.length > seenAfterStop + 100);
    const refusedBefore = refused;
    await broker.kill();
    await until(() => refused > refusedBefore);
    await broker.start();
    const [afterKill, seenAfterKill] = [acknowledged.length, seen.length];
    await until(() => acknowledged.length > afterKill + 100 && seen.length > seenAfterKill + 100);
    isOver = true;
    await Promise.all(producers);
    await until(() => new Set(seen).size >= acknowledged.length);

    const distinct = new Set(seen);
    expect(acknowledged.filter((value) => !distinct.has(value))).toEqual([]);
    for (const key of KEYS) {
      const numbers = [...distinct].filter((value) => value.startsWith(key)).map((value) => Number(value.slice(2)));
      expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    }
    expect(await bus.lag("g", topic.name)).toEqual([0, 0]);
    // Twice the broker keeps the vanished member's place until its session is over, 15 s.
  }, 180_000);

  it("is unreachable, and says so, when it is away from the start", async () => {
    await broker.stop();
    await expect(open()).rejects.toMatchObject({ code: "unreachable", retryable: true });
    await expect(bus.lag("g", topic.name)).rejects.toMatchObject({ code: "unreachable" });
    await broker.start();
    const later = await open();
    const { promise: opened, resolve } = Promise.withResolvers<number>();
    await later.consume({
      group: "g",
      topics: [topic.name],
      open: async ({ endOffset }) => {
        resolve(endOffset);
        return { startOffset: 0, receive: async () => undefined };
      },
    });
    expect(await opened).toBe(0);
    await later.stop();
  });
});
