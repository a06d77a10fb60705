import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, it } from "vitest";
import { createEmbeddedBus } from "../../app/src/embedded/bus/index.ts";
import type { Log, Topic } from "../../schemas/src/index.ts";
import { describeBus } from "./bus.ts";

const nothing = () => undefined;
const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const KILLS = 10;
const KEYS = ["a", "b", "c", "d"];

describeBus("the embedded bus", async () => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-bus-"));
  return {
    open: (topics) => createEmbeddedBus({ dir, topics, now: Date.now, log }),
    dispose: () => rm(dir, { recursive: true, force: true }),
  };
});

describe("the embedded bus, killed", () => {
  const topic: Topic = {
    name: "t",
    key: "any",
    partitions: 2,
    retention: { kind: "delete", ms: 86_400_000, bytesPerPartition: 1_073_741_824 },
    value: "text",
  };

  /** Publishes `key:n` for all keys side by side, and prints each once it is acknowledged; n goes on from what it is given. */
  const publisher = (dir: string, from: number): string => `
    import { createEmbeddedBus } from ${JSON.stringify(new URL("../../app/src/embedded/bus/index.ts", import.meta.url).href)};
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const bus = await createEmbeddedBus({ dir: ${JSON.stringify(dir)}, topics: [${JSON.stringify(topic)}], now: Date.now, log });
    const filling = "x".repeat(30_000);
    await Promise.all(${JSON.stringify(KEYS)}.map(async (key) => {
      for (let n = ${from}; ; n += 1) {
        await bus.publish([{ topic: "t", key, value: Buffer.from(key + ":" + n + ":" + filling) }]);
        process.stdout.write(key + ":" + n + "\\n");
      }
    }));
  `;

  /** Lets a real process publish until `count` messages are acknowledged, then kills it. Returns what it was told is safe. */
  const publishAndKill = (dir: string, from: number, count: number): Promise<readonly string[]> =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", publisher(dir, from)], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      const acknowledged: string[] = [];
      const complaints: string[] = [];
      createInterface({ input: child.stderr }).on("line", (line) => complaints.push(line));
      const lines = createInterface({ input: child.stdout }).on("line", (line) => {
        acknowledged.push(line);
        if (acknowledged.length === count) child.kill("SIGKILL");
      });
      const ended = new Promise((done) => lines.once("close", done));
      child.once("error", reject);
      child.once("exit", async (_, signal) => {
        await ended;
        if (signal === "SIGKILL") resolve(acknowledged);
        else reject(new Error(`the publisher ended by itself: ${complaints.join("\n")}`));
      });
    });

  it(`loses no acknowledged message and keeps the order in ${KILLS} kills in the middle of publishing`, async () => {
    const dir = await mkdtemp(join(tmpdir(), "homeostat-bus-"));
    const acknowledged: string[] = [];
    // Uneven counts, so that the kills meet transactions, flushes and checkpoints.
    for (let kill = 0; kill < KILLS; kill += 1)
      acknowledged.push(...(await publishAndKill(dir, kill * 1_000_000, 40 + kill * 37)));

    const bus = await createEmbeddedBus({ dir, topics: [topic], now: Date.now, log });
    const held: string[] = [];
    const total = (await bus.lag("g", "t")).reduce((sum, of) => sum + of, 0);
    const { promise: all, resolve } = Promise.withResolvers<void>();
    await bus.consume({
      group: "g",
      topics: ["t"],
      open: async ({ earliestOffset }) => ({
        startOffset: earliestOffset,
        receive: async (messages) => {
          for (const { value } of messages)
            held.push(
              Buffer.from(value ?? [])
                .toString()
                .split(":", 2)
                .join(":"),
            );
          if (held.length === total) resolve();
        },
      }),
    });
    await all;
    await bus.stop();
    await rm(dir, { recursive: true, force: true });

    const present = new Set(held);
    expect(present.size).toBe(held.length);
    expect(acknowledged.filter((value) => !present.has(value))).toEqual([]);
    for (const key of KEYS) {
      const numbers = held.filter((value) => value.startsWith(key)).map((value) => Number(value.slice(2)));
      expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    }
  });
});
