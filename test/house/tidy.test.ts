import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { writtenFiles } from "./source-files.ts";
import { brokenRules, RULES, type RuleName } from "./tidy.ts";

const RATCHETS = "test/house/ratchets.json";
/** These two speak of what they look for. */
const OWN = ["test/house/tidy.ts", "test/house/tidy.test.ts"];
const ruleNames = Object.keys(RULES) as RuleName[];

describe("the house is tidy", () => {
  const allowed: Readonly<Record<string, number>> = JSON.parse(readFileSync(RATCHETS, "utf8"));
  const places = brokenRules(writtenFiles().filter(({ path }) => !OWN.includes(path)));

  it("has a ratchet for every rule and a rule for every ratchet", () => {
    expect(Object.keys(allowed).sort()).toEqual([...ruleNames].sort());
  });

  it.each(ruleNames)("%s: no more than before", (name) => {
    const limit = allowed[name] ?? 0;
    const found = places[name];
    expect(found.length > limit ? found : [], `${found.length} places, ${limit} allowed by ${RATCHETS}`).toEqual([]);
    expect(limit, `${RATCHETS}: "${name}" may fall to ${found.length}`).toBe(found.length);
  });
});

describe("every rule can be broken", () => {
  const manyLines = (count: number) => "\n".repeat(count);
  const examples: readonly [RuleName, string, string][] = [
    ["any", "agent/src/x.ts", "export const x = (y: unknown) => y as any;"],
    ["silenced types", "agent/src/x.ts", "{\n  // @ts-expect-error a reason\n}"],
    ["silenced lint", "agent/src/x.ts", "/* biome-ignore lint: a reason */ export const x = 1;"],
    ["non-null assertion", "agent/src/x.ts", "export const x = (y?: string) => y!.length;"],
    ["empty catch", "agent/src/x.ts", "try { f(); } catch { /* never mind */ }"],
    ["dropped rejection", "agent/src/x.ts", "await f().catch(() => undefined);"],
    ["dropped rejection", "agent/src/x.ts", "await f().catch(() => {});"],
    ["long function", "agent/src/x.ts", `export const f = () => {${manyLines(70)}};`],
    ["long file", "agent/src/x.ts", manyLines(500)],
    ["process outside an entry point", "agent/src/x.ts", "export const x = process.env.HOME;"],
    ["process outside an entry point", "agent/src/x.ts", 'import { argv } from "node:process";'],
    ["console outside an entry point", "agent/src/x.ts", 'console.log("x");'],
    ["clock or chance not as an argument", "detectors/src/x.ts", "export const x = () => new Date();"],
    ["clock or chance not as an argument", "agent/src/x.ts", "export const x = () => Math.random();"],
    ["sleep in a test", "agent/src/x.test.ts", "await new Promise((resolve) => setTimeout(resolve, 100));"],
    ["sleep in a test", "test/x.test.ts", "await setTimeout(100);"],
    ["skipped or lonely test", "agent/src/x.test.ts", 'it.only("x", () => {});'],
    ["vague name", "agent/src/x.ts", "export interface SpoolManager {}"],
    ["vague name", "agent/src/x.ts", "export const LogSchema = 1;"],
    ["vague file", "agent/src/utils.ts", ""],
    ["vague file", "agent/src/common/time.ts", ""],
    ["unfinished mark", "docs/x.md", "TODO: write this"],
    ["path of one machine", "docs/x.md", "see `/home/someone/x`"],
    ["temporary path in docs", "docs/x.md", "look into /tmp/x"],
    ["registry host", ".npmrc", "registry=https://registry.example.com/npm/"],
  ];

  it.each(examples)("%s in %s", (name, path, text) => {
    expect(brokenRules([{ path, text }])[name]).toHaveLength(1);
  });

  it("knows an example of each", () => {
    expect(new Set(examples.map(([name]) => name))).toEqual(new Set(ruleNames));
  });

  it("lets be what only looks alike", () => {
    const text = [
      "export const f = (random = Math.random) => random();",
      "queue = turn.catch(() => undefined);",
      "const limit = setTimeout(() => fail(), 100);",
    ].join("\n");
    const places = brokenRules([{ path: "agent/src/x.test.ts", text }]);
    expect(ruleNames.filter((name) => places[name].length > 0)).toEqual([]);
  });

  it("is not misled by words in strings, comments and templates", () => {
    const text = [
      'const a = "x as any // biome-ignore";',
      `const b = \`\${a} // @ts-ignore\`;`,
      "// catch {} and !",
    ].join("\n");
    const places = brokenRules([{ path: "agent/src/x.ts", text }]);
    expect(ruleNames.filter((name) => places[name].length > 0)).toEqual([]);
  });
});
