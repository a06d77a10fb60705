import type { BusMessage } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { Tail } from "./tail.ts";

const LIMITS = { maxMessages: 100, maxBytes: 1_000_000 };

const message = (offset: number, value: Uint8Array | null): BusMessage => ({
  topic: "t",
  partition: 0,
  offset,
  key: "k",
  value,
  headers: {},
  timestampUnixMs: 1,
});

const offsets = (tail: Tail, end: number, from: number, limits = LIMITS): number[] | null =>
  tail.read({ id: 1, end }, from, limits)?.messages.map(({ offset }) => offset) ?? null;

describe("the newest messages in memory", () => {
  it("are shown up to the end that is durable, and no further", () => {
    const tail = new Tail();
    for (const offset of [5, 6, 7]) tail.add(1, message(offset, Buffer.from("v")));
    expect(offsets(tail, 7, 5)).toEqual([5, 6]);
    expect(offsets(tail, 7, 7)).toEqual([]);
    expect(offsets(tail, 8, 6)).toEqual([6, 7]);
  });

  it("leave to the file whatever begins before them", () => {
    const tail = new Tail();
    tail.add(1, message(5, null));
    expect(offsets(tail, 6, 4)).toBeNull();
    expect(tail.read({ id: 2, end: 6 }, 5, LIMITS)).toBeNull();
  });

  it("are what they were when they were published, whatever becomes of the publisher's bytes", () => {
    const tail = new Tail();
    const bytes = Buffer.from("before");
    tail.add(1, message(0, bytes));
    bytes.write("after!");
    const [kept] = tail.read({ id: 1, end: 1 }, 0, LIMITS)?.messages ?? [];
    expect(Buffer.from(kept?.value ?? []).toString()).toBe("before");
  });

  it("keep to the limits of a read, but for its first message", () => {
    const tail = new Tail();
    for (const offset of [0, 1, 2]) tail.add(1, message(offset, Buffer.alloc(10)));
    expect(offsets(tail, 3, 0, { maxMessages: 2, maxBytes: 1_000 })).toEqual([0, 1]);
    expect(offsets(tail, 3, 0, { maxMessages: 9, maxBytes: 25 })).toEqual([0, 1]);
    expect(offsets(tail, 3, 1, { maxMessages: 9, maxBytes: 5 })).toEqual([1]);
    expect(tail.read({ id: 1, end: 3 }, 1, { maxMessages: 2, maxBytes: 1_000 })?.reachedEnd).toBe(true);
    expect(tail.read({ id: 1, end: 3 }, 0, { maxMessages: 2, maxBytes: 1_000 })?.reachedEnd).toBe(false);
  });

  it("have no gap: behind a value that is too large to keep they begin anew", () => {
    const tail = new Tail();
    tail.add(1, message(0, Buffer.alloc(10)));
    tail.add(1, message(1, Buffer.alloc(100_000)));
    tail.add(1, message(2, Buffer.alloc(10)));
    expect(offsets(tail, 3, 0)).toBeNull();
    expect(offsets(tail, 3, 1)).toBeNull();
    expect(offsets(tail, 3, 2)).toEqual([2]);
  });

  it("never take more memory than they may: beyond, they begin anew", () => {
    const tail = new Tail();
    const [value, count] = [Buffer.alloc(16_000), 2_000];
    for (let offset = 0; offset < count; offset += 1) tail.add(1, message(offset, value));
    const first = Array.from({ length: count }, (_, at) => at).find((at) => offsets(tail, count, at) !== null) ?? count;
    expect((count - first) * value.length).toBeLessThanOrEqual(8_388_608);
    expect(offsets(tail, count, count - 1)).toEqual([count - 1]);
  });
});
