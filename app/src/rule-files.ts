import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Rule } from "@homeostat/detectors";
import { z } from "zod";
import { describeIssue, readTextFile, readYaml } from "./yaml-file.ts";

export interface RuleFiles {
  readonly rules: readonly Rule[];
  /** `file: path: what (line n)`. */
  readonly problems: readonly string[];
}

const FILES_MAX = 200;
const RULES_MAX = 200;

const Rules = z.array(Rule).max(RULES_MAX);

/** A file that is new or half written is a problem like any other: the next reading has it whole. */
export const parseRuleFile = (text: string): RuleFiles => {
  const { value, problems, lineOf } = readYaml(text);
  if (problems.length > 0) return { rules: [], problems };
  if (value === null) return { rules: [], problems: [] };
  const parsed = Array.isArray(value) ? Rules.safeParse(value) : Rule.safeParse(value);
  if (parsed.success) return { rules: [parsed.data].flat(), problems: [] };
  return { rules: [], problems: parsed.error.issues.flatMap((issue) => describeIssue(issue, lineOf)) };
};

/** Rules of all *.yaml and *.yml of a folder, in the order of their names. */
export const readRuleFolder = (folder: string): RuleFiles => {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => /^[^.].*\.ya?ml$/.test(name));
  } catch (error) {
    return { rules: [], problems: [`rules_dir: cannot read ${folder}: ${messageOf(error)}`] };
  }
  if (names.length > FILES_MAX)
    return { rules: [], problems: [`rules_dir: more than ${FILES_MAX} files in ${folder}`] };
  const files = names.toSorted().map((name) => readRuleFile(join(folder, name)));
  return { rules: files.flatMap(({ rules }) => rules), problems: files.flatMap(({ problems }) => problems) };
};

export const readRuleFile = (path: string): RuleFiles => {
  try {
    const { rules, problems } = parseRuleFile(readTextFile(path));
    return { rules, problems: problems.map((problem) => `${path}: ${problem}`) };
  } catch (error) {
    return { rules: [], problems: [`cannot read ${path}: ${messageOf(error)}`] };
  }
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
