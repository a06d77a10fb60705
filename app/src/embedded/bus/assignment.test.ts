import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assignPartitions } from "./assignment.ts";

const partition = (topic: string, number: number) => ({ topic, number });
const member = (...topics: string[]) => ({ topics });
const four = [0, 1, 2, 3].map((number) => partition("a", number));

describe("assignPartitions", () => {
  it("gives everything to the only member", () => {
    const only = member("a");
    expect([...assignPartitions(four, [only], new Map()).values()]).toEqual([only, only, only, only]);
  });

  it("moves no more than it must when a second member joins", () => {
    const [first, second] = [member("a"), member("a")];
    const before = assignPartitions(four, [first], new Map());
    const after = assignPartitions(four, [first, second], before);
    expect([...after.values()].filter((owner) => owner === first)).toHaveLength(2);
    expect([...after.values()].filter((owner) => owner === second)).toHaveLength(2);
  });

  it("leaves the others where they are when a member goes", () => {
    const members = [member("a"), member("a"), member("a")];
    const before = assignPartitions(four, members, new Map());
    const staying = members.slice(1);
    const after = assignPartitions(four, staying, before);
    for (const one of four) {
      const owner = before.get(one);
      if (owner !== undefined && staying.includes(owner)) expect(after.get(one)).toBe(owner);
    }
  });

  it("gives a topic only to members that read it, each partition to one, none more than one apart when all read all", () => {
    const topics = ["a", "b", "c"];
    const arbitraryMembers = fc.array(fc.subarray(topics, { minLength: 1 }), { maxLength: 6 });
    fc.assert(
      fc.property(
        arbitraryMembers,
        arbitraryMembers,
        fc.array(fc.constantFrom(...topics), { maxLength: 12 }),
        (was, is, held) => {
          const partitions = held.map(partition);
          const before = was.map((of) => member(...of));
          const members = [...before.slice(0, 2), ...is.map((of) => member(...of))];
          const assigned = assignPartitions(partitions, members, assignPartitions(partitions, before, new Map()));
          for (const one of partitions) {
            const possible = members.filter((each) => each.topics.includes(one.topic));
            expect(assigned.has(one)).toBe(possible.length > 0);
            const owner = assigned.get(one);
            if (owner !== undefined) expect(possible).toContain(owner);
          }
          if (members.length > 0 && members.every((each) => each.topics.length === topics.length)) {
            const loads = members.map((each) => [...assigned.values()].filter((owner) => owner === each).length);
            expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
          }
        },
      ),
    );
  });
});
