import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  classify,
  evict,
  knownLines,
  loadTree,
  makeTree,
  saveTree,
  TEMPLATES_MAX,
  templateText,
} from "./template-tree.ts";

/** Keys are the scanner's affair: here a line's own number. */
const treeOf = (lines: readonly string[]) => {
  const tree = makeTree();
  const keys = new Map<string, number>();
  const templates = lines.map((line) => {
    const key = keys.get(line) ?? keys.size;
    keys.set(line, key);
    return classify(tree, key, () => line) >> 1;
  });
  return { tree, templates, texts: tree.templates.map(templateText) };
};

describe("a template tree", () => {
  test("gives what differs a wildcard, and keeps the id", () => {
    const first = treeOf(["user alice signed in from <ip>"]);
    const both = treeOf(["user alice signed in from <ip>", "user bob signed in from <ip>"]);
    expect(both.texts).toEqual(["user <*> signed in from <ip>"]);
    expect(both.tree.templates[0]?.id).toBe(first.tree.templates[0]?.id);
  });

  test.each([
    ["VM Started on host <num> now", "VM Paused on host <num> now"],
    ["the job has failed again today", "the job has succeeded again today"],
    ["link eth<num> is up for good", "link eth<num> is down for good"],
    ["connection to db was accepted here", "connection to db was refused here"],
  ])("does not take %s for %s", (one, other) => {
    expect(treeOf([one, other]).texts).toEqual([one, other]);
  });

  test("does not mix lines of another length or another beginning", () => {
    expect(treeOf(["cache miss for key a", "cache miss for key", "store miss for key a"]).texts).toHaveLength(3);
  });

  test("knows words that speak of an error", () => {
    const tree = makeTree();
    expect(classify(tree, 1, () => "Unhandled exception in worker") & 1).toBe(1);
    expect(classify(tree, 2, () => "all is well") & 1).toBe(0);
    expect(classify(tree, 3, () => "terror of errors") & 1).toBe(0);
  });

  test("makes room at its cap by what was seen least recently", () => {
    const tree = makeTree();
    for (let at = 0; at < TEMPLATES_MAX; at++) {
      const letters = at.toString(26).replaceAll(/\d/g, (digit) => "qrstuvwxyz"[Number(digit)] ?? "");
      const place = classify(tree, at, () => `${letters} happened`) >> 1;
      const template = tree.templates[place];
      if (template !== undefined) template.last_seen_unix_ms = at;
    }
    expect(tree.templates).toHaveLength(TEMPLATES_MAX);
    const places = evict(tree);
    expect(tree.templates).toHaveLength(TEMPLATES_MAX * 0.9);
    expect(places?.[0]).toBe(-1);
    expect(tree.templates[places?.[TEMPLATES_MAX - 1] ?? 0]?.last_seen_unix_ms).toBe(TEMPLATES_MAX - 1);
  });

  test("stays with what it once said of a line, after it was saved and loaded too", () => {
    const line = "1 2 3 4 5 6 w x y z";
    const { tree, templates } = treeOf(["1 2 3 4 5 6 a b c d", line, "1 2 3 4 5 m w x y z"]);
    expect(templates).toEqual([0, 0, 1]);
    const loaded = loadTree(saveTree(tree), knownLines(tree));
    expect(classify(loaded, 1, () => line) >> 1).toBe(0);
  });

  test("classifies the same after it was saved and loaded", () => {
    const anyLines = fc.array(
      fc
        .array(fc.constantFrom("a", "b", "c", "<num>", "failed", "ok"), { minLength: 1, maxLength: 6 })
        .map((words) => words.join(" ")),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(anyLines, anyLines, (before, after) => {
        const { tree } = treeOf(before);
        const loaded = loadTree(JSON.parse(JSON.stringify(saveTree(tree))), knownLines(tree));
        const keyed = after.map((line, at) => [1000 + at, line] as const);
        const of = (target: typeof tree) => keyed.map(([key, line]) => classify(target, key, () => line));
        expect(of(loaded)).toEqual(of(tree));
      }),
    );
  });
});
