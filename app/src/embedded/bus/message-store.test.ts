import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Topic } from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkOutgoing } from "../../bus/outgoing.ts";
import { MessageStore } from "./message-store.ts";
import type { Partition } from "./partitions.ts";

const MIB = 1_048_576;
const topics: Topic[] = [{ name: "t", key: "any", partitions: 1, retention: { kind: "compact" }, value: "bytes" }];
const LIMITS = { maxMessages: 1_000, maxBytes: 100 * MIB };

describe("MessageStore", () => {
  let dir: string;
  let store: MessageStore;
  const only = (): Partition => {
    const [partition] = store.partitions;
    if (partition === undefined) throw new Error("no partition");
    return partition;
  };
  const append = (value: Uint8Array) => {
    for (const one of checkOutgoing([{ topic: "t", key: "k", value }], () => 1).checked) store.append(only(), one, 0);
  };

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "homeostat-store-"));
    store = MessageStore.open({ file: join(dir, "bus.sqlite"), topics, bytesMax: MIB });
  });
  afterEach(async () => {
    await store.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it("says `full` when SQLite itself finds no room, and goes on from where it was", async () => {
    const value = new Uint8Array(300_000).fill(1);
    let taken = 0;
    const writeUntilRefused = async () => {
      for (;;) {
        await store.transaction(() => append(value));
        taken += 1;
      }
    };
    await expect(writeUntilRefused()).rejects.toMatchObject({ code: "full", retryable: true });
    await store.sync();
    expect(only().end).toBe(taken);
    await store.transaction(() => append(Uint8Array.of(7)));
    await store.sync();
    expect(store.read(only(), 0, LIMITS).messages.map(({ offset }) => offset)).toEqual(
      Array.from({ length: taken + 1 }, (_, offset) => offset),
    );
  });

  it("leaves nothing of a transaction that fails", async () => {
    await store.transaction(() => append(Uint8Array.of(1)));
    const failing = store.transaction(() => {
      append(Uint8Array.of(2));
      throw new Error("in the middle");
    });
    await expect(failing).rejects.toThrow("in the middle");
    await store.transaction(() => append(Uint8Array.of(3)));
    await store.sync();
    expect(store.read(only(), 0, LIMITS).messages.map(({ offset, value }) => [offset, value?.[0]])).toEqual([
      [0, 1],
      [1, 3],
    ]);
    expect(only().bytes).toBe(4);
  });

  it("shows nothing to readers before it is flushed", async () => {
    await store.transaction(() => append(Uint8Array.of(1)));
    expect(store.read(only(), 0, LIMITS).messages).toEqual([]);
    expect(await store.sync()).toEqual([only()]);
    expect(store.read(only(), 0, LIMITS).messages).toHaveLength(1);
  });
});
