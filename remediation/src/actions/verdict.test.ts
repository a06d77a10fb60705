import { describe, expect, it } from "vitest";
import { judge } from "./verdict.ts";

const facts = (values: Record<string, number | null>) => ({ at_unix_ms: 0, values });
const isUp = [{ fact: "up", op: "ge", value: 1 }] as const;
const isLow = [{ fact: "used", op: "lt", value: 0.8 }] as const;

describe("the verdict", () => {
  it.for([
    ["healed", isUp, { up: 0 }, { up: 1 }],
    ["unchanged", isUp, { up: 0 }, { up: 0 }],
    ["inconclusive", isUp, { up: 0 }, { up: null }],
    ["inconclusive", isUp, { up: 0 }, {}],
    ["inconclusive", isUp, { up: 0 }, { up: Number.NaN }],
    ["inconclusive", [], { up: 0 }, { up: 1 }],
    ["unchanged", isLow, { used: 0.95 }, { used: 0.9 }],
    ["worse", isLow, { used: 0.9 }, { used: 0.95 }],
    ["worse", [...isUp, ...isLow], { up: 1, used: 0.9 }, { up: 0, used: 0.5 }],
    ["unchanged", isLow, { used: null }, { used: 0.95 }],
  ] as const)("is %s", ([verdict, checks, before, after]) => {
    expect(judge(checks, facts(before), facts(after))).toBe(verdict);
  });
});
