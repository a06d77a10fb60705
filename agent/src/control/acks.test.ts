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
  acks.flush("web-1");
  acks.flush("web-1");
  expect(told).toEqual([["web-1", ["a.1", "b.1"]]]);
});

test("without a next message it goes by itself, and the time begins anew with the next", () => {
  const { acks, told, due } = held();
  acks.add("web-1", ["a.1"]);
  acks.add("web-2", ["a.1"]);
  due.shift()?.();
  expect(told).toEqual([
    ["web-1", ["a.1"]],
    ["web-2", ["a.1"]],
  ]);
  acks.add("web-1", ["b.1"]);
  expect(due).toHaveLength(1);
});

test("an agent that has many to tell is not kept waiting", () => {
  const { acks, told } = held();
  const ids = Array.from({ length: 16 }, (_, at) => `job.${at}`);
  for (const id of ids) acks.add("web-1", [id]);
  expect(told).toEqual([["web-1", ids]]);
});
