import { expect, it } from "vitest";
import { PRODUCERS_MAX, ProducerSequences } from "./producer-sequences.ts";

it("the last sequence of a producer never falls", () => {
  const sequences = new ProducerSequences(new Map([["a/1", 7]]));
  sequences.advance("a/1", 5);
  sequences.advance("b/1", 2);
  expect([...sequences.known]).toEqual([
    ["a/1", 7],
    ["b/1", 2],
  ]);
});

it("at the cap the producer that was silent longest is forgotten", () => {
  const known = new Map(Array.from({ length: PRODUCERS_MAX }, (_, index) => [`host/${index}`, 1]));
  const sequences = new ProducerSequences(known);
  sequences.advance("host/0", 2);
  sequences.advance("new/1", 1);
  expect(sequences.known.size).toBe(PRODUCERS_MAX);
  expect([sequences.known.get("host/0"), sequences.known.has("host/1")]).toEqual([2, false]);
});
