import { describe, expect, it } from "vitest";
import { FLAG_WORDS } from "./flag-words.ts";
import { FLAGS } from "./flags.ts";
import { helpAsked, helpOf, overview } from "./help.ts";
import { VERB_WORDS } from "./verb-words.ts";

const LINE_MAX = 120;
const verbs = Object.keys(FLAGS);

describe("the help", () => {
  it("names every verb, and fits a wide terminal", () => {
    const lines = overview().split("\n");
    for (const verb of verbs)
      expect(
        lines.some((line) => line.startsWith(`  ${verb}`)),
        verb,
      ).toBe(true);
    expect(lines.filter((line) => line.length > LINE_MAX)).toEqual([]);
  });

  it.each(verbs)("of %s has words for each of its flags, and examples with no others", (verb) => {
    const text = helpOf(verb.split(" ")) ?? "";
    const flags: Readonly<Record<string, { readonly type: string }>> = FLAGS[verb as keyof typeof FLAGS];
    for (const [name, { type }] of Object.entries(flags)) {
      const words = FLAG_WORDS[`${verb} ${name}`] ?? FLAG_WORDS[name];
      expect(words?.what, `--${name}`).toBeTruthy();
      expect(words?.value === undefined, `--${name} and a value`).toBe(type === "boolean");
      expect(text).toContain(`--${name}`);
    }
    const { examples } = VERB_WORDS[verb as keyof typeof FLAGS];
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) {
      expect(text).toContain(`homeostat ${example}`);
      expect(example.startsWith(verb), example).toBe(true);
      const named = [...(example.split(" | ")[0] ?? "").matchAll(/ --([a-z-]+)/g)].map(([, name]) => name);
      expect(
        named.filter((name) => !Object.hasOwn(flags, name ?? "")),
        example,
      ).toEqual([]);
    }
    expect(text.split("\n").filter((line) => line.length > LINE_MAX)).toEqual([]);
  });

  it("has no words for what is no flag", () => {
    const known = verbs.flatMap((verb) =>
      Object.keys(FLAGS[verb as keyof typeof FLAGS]).flatMap((name) => [name, `${verb} ${name}`]),
    );
    expect(Object.keys(FLAG_WORDS).filter((name) => !known.includes(name))).toEqual([]);
  });

  it("is asked for by --help or -h among a verb's own words, not among those of what it runs", () => {
    expect(helpAsked(["run", "--on", "web-1", "--help"])).toEqual(["run"]);
    expect(helpAsked(["dlq", "list", "-h"])).toEqual(["dlq", "list"]);
    expect(helpAsked(["--help"])).toEqual([]);
    expect(helpAsked(["run", "exec.run", "--", "--help"])).toBeNull();
    expect(helpAsked(["run", "disk-report"])).toBeNull();
  });

  it("of a group tells all of it, of one that does not exist nothing", () => {
    expect(helpOf(["dlq"])).toMatch(/^homeostat dlq list.*^homeostat dlq show.*^homeostat dlq replay/ms);
    expect(helpOf(["run", "disk-report"])).toContain("homeostat run EXECUTOR|COMMAND");
    expect(helpOf(["runn"])).toBeNull();
  });
});
