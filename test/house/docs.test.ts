import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import importTable from "./import-table.json" with { type: "json" };
import { writtenFiles } from "./source-files.ts";

const pages = writtenFiles().filter(({ path }) => path.endsWith(".md"));
const scripts: Readonly<Record<string, string>> = JSON.parse(readFileSync("package.json", "utf8")).scripts;
const table: Readonly<Record<string, { folders: readonly string[]; packages: readonly string[] }>> = importTable;

/** GitHub's anchors: lower case, spaces become dashes, other signs go. */
const anchors = (text: string): readonly string[] =>
  [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );

/** What stands in code, a regular expression for one, is no link. */
const withoutCode = (text: string): string => text.replace(/^```.*?^```/gms, "").replace(/`[^`\n]+`/g, "code");

const links = (text: string): readonly string[] =>
  [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^[a-z]+:/.test(target));

const leadsSomewhere = (from: string, link: string): boolean => {
  const [file = "", anchor] = link.split("#");
  const target = file === "" ? from : join(dirname(from), file);
  return existsSync(target) && (anchor === undefined || anchors(readFileSync(target, "utf8")).includes(anchor));
};

describe("documentation", () => {
  it.each(pages)("$path has links that lead somewhere", ({ path, text }) => {
    expect(links(text).filter((link) => !leadsSomewhere(path, link))).toEqual([]);
  });

  it.each(pages)("$path names only npm scripts that exist", ({ text }) => {
    const named = [...text.matchAll(/\bnpm (?:run ([a-z:]+)|(start|test)\b)/g)].map(([, run, own]) => run ?? own ?? "");
    expect(named.filter((script) => scripts[script] === undefined)).toEqual([]);
  });

  it("has a line in the README that is the whole test command, for CI to read", () => {
    expect(readFileSync("README.md", "utf8").split("\n")).toContain("npm test");
  });

  it("explains each word of the glossary once, in the order of the alphabet", () => {
    const words = [...readFileSync("docs/GLOSSARY.md", "utf8").matchAll(/^\| \*\*(.+?)\*\*/gm)].map(([, word]) => word);
    expect(words.length).toBeGreaterThan(0);
    expect(words).toEqual([...new Set(words)].sort());
  });
});

describe("decision records", () => {
  const records = readdirSync("docs/adr").sort();

  it("are numbered without a gap", () => {
    expect(records.map((name) => Number(name.slice(0, 4)))).toEqual(records.map((_, i) => i + 1));
  });

  it.each(records)("%s has a background, a decision and consequences", (name) => {
    const text = readFileSync(`docs/adr/${name}`, "utf8");
    expect(text).toMatch(new RegExp(`^# ${name.slice(0, 4)}: `));
    expect([...text.matchAll(/^## (.+)$/gm)].map(([, title]) => title)).toEqual([
      "Background",
      "Decision",
      "Consequences",
    ]);
  });
});

describe("the import table", () => {
  const architecture = readFileSync("docs/ARCHITECTURE.md", "utf8");
  const list = (cell: string): readonly string[] => (/^(none|nothing)$/.test(cell) ? [] : cell.split(", "));
  const told = [...architecture.matchAll(/^\| `([a-z]+)` +\|[^|]+\|([^|]+)\|([^|]+)\|$/gm)].map(
    ([, folder, folders = "", packages = ""]) => [
      folder,
      { folders: list(folders.trim()), packages: list(packages.trim()) },
    ],
  );

  it("is told in docs/ARCHITECTURE.md as it is enforced", () => {
    const enforced = Object.entries(table).map(([folder, { folders, packages }]) => [folder, { folders, packages }]);
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(enforced));
  });

  it.each(Object.keys(table))("is what %s/package.json depends on", (folder) => {
    const own = table[folder];
    const { dependencies } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
    const expected = [...(own?.packages ?? []), ...(own?.folders ?? []).map((name) => `@homeostat/${name}`), "zod"];
    expect(Object.keys(dependencies).sort()).toEqual(expected.sort());
  });
});
