import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Labels, labelSelector } from "./labels.ts";

const isSelected = (expression: string, labels: Labels): boolean => {
  const selector = labelSelector(expression);
  if (typeof selector !== "function") throw new Error(`${selector.at}: ${selector.problem}`);
  return selector(labels);
};

describe("a label expression", () => {
  it.each([
    { expression: "*", labels: {}, selected: true },
    { expression: " * ", labels: { a: "b" }, selected: true },
    { expression: "tier=web", labels: { tier: "web" }, selected: true },
    { expression: "tier == web", labels: { tier: "web" }, selected: true },
    { expression: "tier=web", labels: { tier: "db" }, selected: false },
    { expression: "tier=web", labels: {}, selected: false },
    { expression: "tier!=web", labels: { tier: "db" }, selected: true },
    { expression: "tier!=web", labels: {}, selected: true },
    { expression: "tier != web", labels: { tier: "web" }, selected: false },
    { expression: "tier in (web, db)", labels: { tier: "db" }, selected: true },
    { expression: "tier in(web)", labels: { tier: "db" }, selected: false },
    { expression: "tier notin (web,db)", labels: { tier: "db" }, selected: false },
    { expression: "tier notin (web,db)", labels: {}, selected: true },
    { expression: "tier", labels: { tier: "" }, selected: true },
    { expression: "!tier", labels: { tier: "" }, selected: false },
    { expression: "! tier", labels: {}, selected: true },
    { expression: "tier=", labels: { tier: "" }, selected: true },
    { expression: "tier=,zone=a", labels: { tier: "", zone: "a" }, selected: true },
    { expression: "tier in (,web)", labels: { tier: "" }, selected: true },
    { expression: "a,b , !c", labels: { a: "1", b: "2" }, selected: true },
    { expression: "in in (in,notin)", labels: { in: "notin" }, selected: true },
    { expression: "notin", labels: { notin: "" }, selected: true },
    { expression: "example.com/tier=web", labels: { "example.com/tier": "web" }, selected: true },
    { expression: "constructor", labels: {}, selected: false },
    { expression: "toString=x", labels: {}, selected: false },
  ])("$expression on $labels: $selected", ({ expression, labels, selected }) => {
    expect(isSelected(expression, labels)).toBe(selected);
  });

  it.each([
    { expression: "", at: 1, problem: "empty; every agent is *" },
    { expression: "  ", at: 3, problem: "empty; every agent is *" },
    { expression: "* , a", at: 3, problem: '* stands alone, got ", a" behind it' },
    { expression: "a,", at: 3, problem: "want a label's name, got the end" },
    { expression: "a b", at: 3, problem: 'want =, ==, !=, in, notin, a comma or the end, got "b"' },
    { expression: "a inside (b)", at: 3, problem: 'want =, ==, !=, in, notin, a comma or the end, got "inside (b)"' },
    { expression: "a in b", at: 6, problem: 'want ( and a list of values, got "b"' },
    { expression: "a in (b", at: 8, problem: "want , or ) in the list of values, got the end" },
    { expression: "a in (b c)", at: 9, problem: 'want , or ) in the list of values, got "c)"' },
    { expression: "=web", at: 1, problem: 'want a label\'s name, got "=web"' },
    { expression: "a=b-", at: 4, problem: "a label's value begins and ends with a letter or a digit" },
    { expression: "a=b;rm", at: 4, problem: 'want =, ==, !=, in, notin, a comma or the end, got ";rm"' },
    { expression: "a>1", at: 2, problem: 'want =, ==, !=, in, notin, a comma or the end, got ">1"' },
    { expression: `${"a".repeat(64)}=b`, at: 1, problem: "a label's name has at most 63 characters" },
  ])("$expression is refused at column $at", ({ expression, at, problem }) => {
    expect(labelSelector(expression)).toEqual({ at, problem });
  });

  it("never fails otherwise than by saying what is wrong and where", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."ab=!,()in* \t.-/🙂") }), (expression) => {
        const selector = labelSelector(expression);
        if (typeof selector === "function") expect(typeof selector({ a: "b" })).toBe("boolean");
        else expect(selector.at).toBeGreaterThan(0);
      }),
      { numRuns: 2_000 },
    );
  });

  it("takes and leaves what its requirements say, all together", () => {
    const name = fc.constantFrom("a", "b", "c");
    const requirement = fc.oneof(
      fc.tuple(name, name).map(([k, v]) => ({ text: `${k}=${v}`, holds: (labels: Labels) => labels[k] === v })),
      fc.tuple(name, name).map(([k, v]) => ({ text: `${k}!=${v}`, holds: (labels: Labels) => labels[k] !== v })),
      name.map((k) => ({ text: k, holds: (labels: Labels) => k in labels })),
      name.map((k) => ({ text: `!${k}`, holds: (labels: Labels) => !(k in labels) })),
      fc.tuple(name, fc.array(name, { minLength: 1, maxLength: 3 })).map(([k, vs]) => ({
        text: `${k} in (${vs.join(", ")})`,
        holds: (labels: Labels) => vs.some((v) => v === labels[k]),
      })),
    );
    fc.assert(
      fc.property(
        fc.array(requirement, { minLength: 1, maxLength: 5 }),
        fc.dictionary(name, name),
        (requirements, labels) => {
          const expression = requirements.map(({ text }) => text).join(",");
          expect(isSelected(expression, labels)).toBe(requirements.every(({ holds }) => holds(labels)));
        },
      ),
    );
  });
});
