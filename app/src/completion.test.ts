import { execFileSync, spawnSync } from "node:child_process";
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
    { words: ["run", "hello", "--on", "web-1,"], offers: ["web-1,hosts-1", "web-1,hosts-2"] },
    { words: ["run", "hello", "--on", "a,b,hosts-2"], offers: ["a,b,hosts-2"] },
    { words: ["plugins", "wish", "x", "--version", ""], offers: [] },
    { words: ["run", "hello", "--wait-for", ""], offers: [] },
    { words: ["run", "hello", "--risk", ""], offers: ["read_only", "reversible", "destructive"] },
    { words: ["jobs", "--state", "s"], offers: ["stopping", "succeeded"] },
    { words: ["job", "x", "--state", "q"], offers: ["queued"] },
    { words: ["agents", "--state", "qu"], offers: ["quarantined"] },
    { words: ["enroll", "token", "--for", ""], offers: ["agent", "site"] },
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

/** Where a shell is not installed, its tests are skipped. */
const has = (shell: string): boolean => spawnSync(shell, ["-c", "exit 0"]).status === 0;

const ROWS = [
  { words: ["dl"], offers: ["dlq"] },
  { words: ["dlq", ""], offers: ["list", "replay", "show"] },
  { words: ["enroll", "re"], offers: ["readmit", "revoke"] },
  { words: ["run", "--conc"], offers: ["--concurrency"] },
  { words: ["agents", "update", "--rel"], offers: ["--release"] },
  { words: ["agents", "--stat"], offers: ["--state"] },
  { words: ["agents", "show", "--stat"], offers: [] },
  { words: ["run", "agents", ""], offers: [] },
  { words: ["run", "hello", "--on", ""], offers: ["hosts-1", "hosts-2"] },
  { words: ["shell", ""], offers: ["hosts-1", "hosts-2"] },
  { words: ["plugins", "wish", "p"], offers: ["plugins-1", "plugins-2"] },
  { words: ["agents", "--site", "s"], offers: ["sites-1", "sites-2"] },
  { words: ["plugins", "wish", "x", "--version", ""], offers: [] },
  { words: ["run", "hello", "--risk", "re"], offers: ["read_only", "reversible"] },
  { words: ["jobs", "--state", "s"], offers: ["stopping", "succeeded"] },
  { words: ["job", "x", "--state", "q"], offers: ["queued"] },
  { words: ["nonsense", ""], offers: [] },
];
/** Behind `run agents ` a shell may offer flags: no verb, and no name, is what counts. */
const namesIn = (lines: string, words: readonly string[]): readonly string[] =>
  lines
    .split("\n")
    .filter((line) => line !== "" && (words.at(-1)?.startsWith("--") === true || !line.startsWith("--")))
    .sort();

/** As the completion system has them; these stand in for its builtins. */
const ZSH_STAND_INS = `
compdef() { registered=$1 }
_files() { : }
compadd() {
  local -a found; local word
  if [[ $1 == -a ]]; then found=("\${(@P)2}"); else found=("$@"); fi
  for word in $found; do [[ $word == "\${words[CURRENT]}"* ]] && print -r -- $word; done
  return 0
}
words=("$@"); CURRENT=$#
`;

describe.skipIf(!has("zsh"))("completion in zsh", () => {
  const zsh = (script: string, words: readonly string[]): string => {
    writeFileSync(join(dir, "_homeostat"), zshCompletion(completedVerbs()));
    const args = ["-f", "-c", `${ZSH_STAND_INS}${script}`, "zsh", join(dir, "homeostat"), ...words];
    return execFileSync("zsh", args, { encoding: "utf8", cwd: dir });
  };

  it.each(ROWS)("offers $offers behind $words", ({ words, offers }) => {
    expect(namesIn(zsh("source ./_homeostat; _homeostat", words), words)).toEqual(offers);
  });

  it("is registered when it is sourced, and offers at the first Tab when zsh loads it by itself", () => {
    expect(zsh("source ./_homeostat; print -r -- $registered", ["dl"])).toBe("_homeostat\n");
    expect(zsh("fpath=($PWD); autoload -U _homeostat; _homeostat", ["dl"])).toBe("dlq\n");
  });
});

describe.skipIf(!has("fish"))("completion in fish", () => {
  it.each(ROWS)("offers $offers behind $words", ({ words, offers }) => {
    writeFileSync(join(dir, "homeostat.fish"), fishCompletion(completedVerbs()));
    const line = ["homeostat", ...words].join(" ");
    const env = { PATH: `${dir}:${process.env.PATH}`, HOME: dir, XDG_CONFIG_HOME: dir };
    const args = ["-c", "source homeostat.fish; complete -C $argv[1]", line];
    expect(namesIn(execFileSync("fish", args, { encoding: "utf8", cwd: dir, env }), words)).toEqual(offers);
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
