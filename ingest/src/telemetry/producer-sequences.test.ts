import { expect, it } from "vitest";
import { PRODUCERS_MAX, type ProducerAccount, ProducerSequences } from "./producer-sequences.ts";

const account = (lastSequence: number, rows = 0): ProducerAccount => ({
  lastSequence,
  sinceSequence: 1,
  rows,
  deadRows: 0,
});

it("the last sequence of a producer never falls", () => {
  const sequences = new ProducerSequences(new Map([["a/1", account(7)]]));
  sequences.advance("a/1", account(5));
  sequences.advance("b/1", account(2, 30));
  expect([...sequences.known]).toEqual([
    ["a/1", 7],
    ["b/1", 2],
  ]);
  expect([sequences.account("b/1")?.rows, sequences.account("c/1")]).toEqual([30, null]);
});

it("at the cap the producer that was silent longest is forgotten", () => {
  const known = new Map(Array.from({ length: PRODUCERS_MAX }, (_, index) => [`host/${index}`, account(1)]));
  const sequences = new ProducerSequences(known);
  sequences.advance("host/0", account(2));
  sequences.advance("new/1", account(1));
  expect(sequences.known.size).toBe(PRODUCERS_MAX);
  expect([sequences.known.get("host/0"), sequences.known.has("host/1")]).toEqual([2, false]);
  expect(sequences.account("host/1")).toBeNull();
});
