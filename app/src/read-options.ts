import { dirname, resolve } from "node:path";
import { DetectorsConfig } from "@homeostat/detectors";
import { loadRunbooks, type Runbook } from "@homeostat/remediation";
import { deepFreeze, type Options, OptionsError, parseOptions } from "./options.ts";
import { readRuleFolder } from "./rule-files.ts";
import { describeIssue, readTextFile, readYaml } from "./yaml-file.ts";

/** One runbook a file; what cannot be read or parsed is a problem like any other. */
const readRunbooks = (paths: readonly string[], folder: string, source: string): readonly Runbook[] => {
  const unreadable: string[] = [];
  const documents = paths.flatMap((path) => {
    try {
      const { value, problems } = readYaml(readTextFile(resolve(folder, path)));
      const [problem] = problems;
      if (problem === undefined) return [{ source: path, value }];
      unreadable.push(`${path}: ${problem}`);
    } catch (error) {
      unreadable.push(`runbook_files: cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
    return [];
  });
  const { runbooks, problems } = loadRunbooks(documents);
  const all = [...unreadable, ...problems.map(({ path, message }) => `${path}: ${message}`)];
  if (all.length > 0) throw new OptionsError(source, all);
  return runbooks;
};

/** The folder's rules beside those of the file itself; names must differ across all. */
const withRules = (options: Options, folder: string, source: string): Options => {
  const { rules, problems } = readRuleFolder(folder);
  if (problems.length > 0) throw new OptionsError(source, problems);
  const detectors = DetectorsConfig.safeParse({
    ...options.detectors,
    rules: [...options.detectors.rules, ...rules],
  });
  if (detectors.success) return { ...options, detectors: detectors.data };
  const issues = detectors.error.issues.flatMap((issue) => describeIssue(issue, () => null));
  throw new OptionsError(
    source,
    issues.map((issue) => `rules_dir ${folder}: ${issue}`),
  );
};

/**
 * A configuration file with the runbooks and rules that it names; runbooks of files come first, and take the place of others of their name.
 * @throws OptionsError with all problems at once.
 */
export const readOptions = (path: string, readText = readTextFile): Options => {
  const parsed = parseOptions(readText(path), path);
  const options =
    parsed.rules_dir === undefined ? parsed : withRules(parsed, resolve(dirname(path), parsed.rules_dir), path);
  const own = readRunbooks(options.runbook_files, dirname(path), path);
  const isReplaced = ({ name }: Runbook): boolean => own.some((runbook) => runbook.name === name);
  const runbooks = [...own, ...options.remediation.runbooks.filter((runbook) => !isReplaced(runbook))];
  return deepFreeze({ ...options, remediation: { ...options.remediation, runbooks } });
};
