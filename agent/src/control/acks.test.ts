import { expect, test } from "vitest";
import { Acks } from "./acks.ts";

const held = () => {
  const told: [string, readonly string[]][] = [];
  const due: (() => void)[] = [];
  const after = (_ms: number, run: () => void) => {
    due.push(run);
    return () => undefined;
  };
  const acks = new Acks({ timers: { after }, tell: (host, ids) => told.push([host, ids]) });
  /** How many times of those that a timer was set. */
  const turn = (times: number): number => {
    let turned = 0;
    for (; turned < times; turned += 1) {
      const run = due.shift();
      if (run === undefined) break;
      run();
    }
    return turned;
  };
  return { acks, told, turn };
};

test("what is acknowledged goes with the host's next message, as one", () => {
  const { acks, told } = held();
  acks.add("web-1", ["a.1"]);
  acks.add("web-1", ["b.1"]);
  acks.add("web-2", ["a.1"]);
  expect(told).toEqual([]);
  expect(acks.take("web-1")).toEqual(["a.1", "b.1"]);
  expect(acks.take("web-1")).toBeNull();
  expect(told).toEqual([]);
});

const TICKS_HELD = 120;

test("without a next message it goes by itself, a while after it came and not before", () => {
  const { acks, told, turn } = held();
  acks.add("web-1", ["a.1"]);
  turn(1);
  acks.add("web-2", ["a.1"]);
  acks.add("web-1", ["b.1"]);
  turn(TICKS_HELD - 2);
  expect(told).toEqual([]);
  turn(1);
  expect(told).toEqual([["web-1", ["a.1", "b.1"]]]);
  acks.add("web-3", ["a.1"]);
  expect(acks.take("web-2")).toEqual(["a.1"]);
  turn(TICKS_HELD);
  expect(told.slice(1)).toEqual([["web-3", ["a.1"]]]);
  expect(turn(1)).toBe(0);
});

test("hosts that have answered together are told one after the other, and all of a large fleet in time", () => {
  for (const count of [250, 100_000]) {
    const { acks, told, turn } = held();
    for (let at = 0; at < count; at += 1) acks.add(`web-${at}`, ["a.1"]);
    turn(TICKS_HELD);
    expect(told).toHaveLength(Math.max(100, count / 40));
    // Of 50 ms each: before agents ask again.
    turn(179);
    expect(new Set(told.map(([host]) => host)).size).toBe(count);
  }
});

test("an agent that has many to tell is not kept waiting", () => {
  const { acks, told } = held();
  const ids = Array.from({ length: 16 }, (_, at) => `job.${at}`);
  for (const id of ids) acks.add("web-1", [id]);
  expect(told).toEqual([["web-1", ids]]);
});

test("an agent that ends is told at once what is held back, and what comes from then on, until it is gone", () => {
  const { acks, told, turn } = held();
  acks.add("web-1", ["a.1"]);
  acks.leaving("web-1");
  acks.add("web-1", ["b.1"]);
  acks.add("web-2", ["a.1"]);
  expect(told).toEqual([
    ["web-1", ["a.1"]],
    ["web-1", ["b.1"]],
  ]);
  acks.gone("web-1");
  acks.add("web-1", ["c.1"]);
  expect(told).toHaveLength(2);
  turn(TICKS_HELD);
  expect(told.slice(2).map(([host]) => host)).toEqual(["web-2", "web-1"]);
});
