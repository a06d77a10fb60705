import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OptionsError } from "./options.ts";
import { readOptions } from "./read-options.ts";
import { parseRuleFile } from "./rule-files.ts";

const rule = (name: string, value = "1"): string =>
  `detector: threshold\nname: ${name}\ntitle: T\nmetric: m\nop: ">"\nvalue: ${value}\n`;
const asListItem = (text: string): string => `- ${text.trimEnd().replaceAll("\n", "\n  ")}\n`;

describe("a file of rules", () => {
  test("holds one rule or a list of them, or nothing yet", () => {
    expect(parseRuleFile(rule("a")).rules.map(({ name }) => name)).toEqual(["a"]);
    const list = asListItem(rule("a")) + asListItem(rule("b"));
    expect(parseRuleFile(list).rules.map(({ name }) => name)).toEqual(["a", "b"]);
    expect(parseRuleFile("# later\n")).toEqual({ rules: [], problems: [] });
  });

  test.each([
    {
      name: "a wrong value",
      text: asListItem(rule("a")) + asListItem(rule("b", "high")),
      problem: /^\[1\]\.value: .*\(line 12\)$/,
    },
    { name: "an unknown key", text: `${rule("a")}colour: blue\n`, problem: /^colour: unknown key \(line 7\)$/ },
    {
      name: "an unknown detector",
      text: rule("a").replace("threshold", "oracle"),
      problem: /^detector: .*\(line 1\)$/,
    },
    { name: "text that is no YAML", text: "a: [", problem: /Flow sequence.* at line 1, column \d+$/ },
    {
      name: "aliases that grow without bound",
      text: `a: &a [1, 1]\n${"bcdefgh".replace(/./g, (name, at: number) => `${name}: &${name} [*${"abcdefg"[at]}, *${"abcdefg"[at]}, *${"abcdefg"[at]}]\n`)}`,
      problem: /alias/i,
    },
    { name: "an alias of nothing", text: "a: *b", problem: /alias/i },
  ])("with $name is refused and says where", ({ text, problem }) => {
    const { rules, problems } = parseRuleFile(text);
    expect(rules).toEqual([]);
    expect(problems.join("\n")).toMatch(problem);
  });
});

describe("a folder of rules", () => {
  let dir: string;
  const file = (name: string, text: string): void => writeFileSync(join(dir, name), text);
  const read = () => readOptions(join(dir, "homeostat.conf"));
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "homeostat-rules-"));
    file(
      "homeostat.conf",
      `rules_dir: .\ndetectors: { rules: [{ ${rule("own").trimEnd().replaceAll("\n", ", ")} }] }\n`,
    );
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  test("is read in the order of names beside the configuration's own rules; other files do not count", () => {
    file("b.yml", rule("b"));
    file("a.yaml", rule("a"));
    file(".hidden.yaml", "nonsense: [");
    file("a.yaml.swp", "nonsense: [");
    expect(read().detectors.rules.map(({ name }) => name)).toEqual(["own", "a", "b"]);
  });

  test("may have a device, a folder, a dangling link or a huge file in it, and says so at once", () => {
    symlinkSync("/dev/zero", join(dir, "zero.yaml"));
    mkdirSync(join(dir, "folder.yaml"));
    symlinkSync(join(dir, "nowhere"), join(dir, "link.yaml"));
    file("huge.yaml", "");
    truncateSync(join(dir, "huge.yaml"), 5_000_000_000);
    const all = problems();
    expect(all).toHaveLength(4);
    expect(all[0]).toMatch(/folder\.yaml: it is no regular file/);
    expect(all[1]).toMatch(/huge\.yaml: it has 5000000000 bytes/);
    expect(all[2]).toMatch(/link\.yaml: ENOENT/);
    expect(all[3]).toMatch(/zero\.yaml: it is no regular file/);
  });

  const problems = (): readonly string[] => {
    try {
      read();
    } catch (error) {
      if (error instanceof OptionsError) return error.problems;
      throw error;
    }
    return [];
  };

  test("is refused with every file's problems at once", () => {
    file("a.yaml", rule("a", "high"));
    file("b.yaml", "x: 1");
    const all = problems().join("\n");
    expect(all).toMatch(/a\.yaml: value: /);
    expect(all).toMatch(/b\.yaml: /);
  });

  test("is refused when a name stands twice, or the folder is not there", () => {
    file("a.yaml", rule("own"));
    expect(problems().join("\n")).toContain("own is given twice");
    file("homeostat.conf", "rules_dir: nowhere\n");
    expect(problems().join("\n")).toContain("rules_dir: cannot read");
  });
});
