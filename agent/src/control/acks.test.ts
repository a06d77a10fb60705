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
  return { acks, told, due };
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

test("without a next message it goes by itself, a while after it came and not before", () => {
  const { acks, told, due } = held();
  acks.add("web-1", ["a.1"]);
  due.shift()?.();
  acks.add("web-2", ["a.1"]);
  acks.add("web-1", ["b.1"]);
  expect(told).toEqual([]);
  due.shift()?.();
  expect(told).toEqual([["web-1", ["a.1", "b.1"]]]);
  acks.add("web-3", ["a.1"]);
  expect(acks.take("web-2")).toEqual(["a.1"]);
  due.shift()?.();
  due.shift()?.();
  expect(told.slice(1)).toEqual([["web-3", ["a.1"]]]);
  expect(due).toHaveLength(0);
});

test("an agent that has many to tell is not kept waiting", () => {
  const { acks, told } = held();
  const ids = Array.from({ length: 16 }, (_, at) => `job.${at}`);
  for (const id of ids) acks.add("web-1", [id]);
  expect(told).toEqual([["web-1", ids]]);
});
