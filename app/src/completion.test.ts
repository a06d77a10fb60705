import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { completedVerbs } from "./cli/completion.ts";
import { VERBS } from "./cli/verbs.ts";
import { bashCompletion, fishCompletion, zshCompletion } from "./completion.ts";

/** Stands for the program: tells two names of each kind, and what it was called with. */
const PROGRAM = `#!/bin/bash
echo "$@" >> "$(dirname "$0")/called"
[[ "$1 $2" == "completion names" ]] && printf '%s-1\\n%s-2\\n' "$3" "$3"
`;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-completion-"));
  writeFileSync(join(dir, "homeostat"), PROGRAM);
  chmodSync(join(dir, "homeostat"), 0o755);
  writeFileSync(join(dir, "completion.bash"), bashCompletion(completedVerbs()));
});
afterAll(() => rmSync(dir, { recursive: true }));

/** What bash offers at the Tab key behind these words. */
const offered = (...words: readonly string[]): readonly string[] => {
  const script = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _homeostat; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const args = ["-c", script, "bash", join(dir, "completion.bash"), join(dir, "homeostat"), ...words];
  return execFileSync("bash", args, { encoding: "utf8" })
    .split("\n")
    .filter((line) => line !== "");
};

describe("completion in bash", () => {
  it("is a script that bash can read", () => {
    expect(execFileSync("bash", ["-n", join(dir, "completion.bash")], { encoding: "utf8" })).toBe("");
  });

  it("offers every verb there is", () => {
    expect([...offered("")].sort()).toEqual(Object.keys(VERBS).sort());
  });

  it.each([
    { words: ["dl"], offers: ["dlq"] },
    { words: ["dlq", ""], offers: ["list", "show", "replay"] },
    { words: ["enroll", "re"], offers: ["revoke", "readmit"] },
    { words: ["run", "--conc"], offers: ["--concurrency"] },
    { words: ["enroll", "token", "--us"], offers: ["--uses"] },
    { words: ["run", "hello", "--on", ""], offers: ["hosts-1", "hosts-2"] },
    { words: ["shell", ""], offers: ["hosts-1", "hosts-2"] },
    { words: ["cancel", "jobs-2"], offers: ["jobs-2"] },
    { words: ["plugins", "wish", "p"], offers: ["plugins-1", "plugins-2"] },
    { words: ["agents", "--site", "s"], offers: ["sites-1", "sites-2"] },
    { words: ["nonsense", ""], offers: [] },
  ])("offers $offers behind $words", ({ words, offers }) => {
    expect(offered(...words)).toEqual(offers);
  });

  it("asks the platform that the line names", () => {
    offered("shell", "--api", "http://other:7070", "");
    const called = execFileSync("tail", ["-1", join(dir, "called")], { encoding: "utf8" });
    expect(called).toBe("completion names hosts --api http://other:7070\n");
  });
});

describe("completion in zsh and fish", () => {
  it("names every verb and every flag", () => {
    for (const script of [zshCompletion(completedVerbs()), fishCompletion(completedVerbs())])
      for (const { verb, flags } of completedVerbs()) {
        for (const word of verb.split(" ")) expect(script).toContain(word);
        for (const flag of flags) expect(script).toMatch(new RegExp(`(--|-l )${flag}\\b`));
      }
  });
});
