import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { loadRunbooks, type Runbook } from "@homeostat/remediation";
import { parseDocument } from "yaml";
import { type Options, OptionsError, parseOptions } from "./options.ts";

/** One runbook a file; what cannot be read or parsed is a problem like any other. */
const readRunbooks = (paths: readonly string[], folder: string, source: string): readonly Runbook[] => {
  const unreadable: string[] = [];
  const documents = paths.flatMap((path) => {
    try {
      const document = parseDocument(readFileSync(resolve(folder, path), "utf8"), { uniqueKeys: true });
      const [error] = document.errors;
      if (error === undefined) return [{ source: path, value: document.toJS({ maxAliasCount: 100 }) as unknown }];
      unreadable.push(`${path}: ${error.message.split("\n")[0]}`);
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

/**
 * A configuration file with the runbooks that it names; those come first, and take the place of others of their name.
 * @throws OptionsError with all problems at once.
 */
export const readOptions = (path: string): Options => {
  const options = parseOptions(readFileSync(path, "utf8"), path);
  if (options.runbook_files.length === 0) return options;
  const own = readRunbooks(options.runbook_files, dirname(path), path);
  const isReplaced = ({ name }: Runbook): boolean => own.some((runbook) => runbook.name === name);
  const runbooks = [...own, ...options.remediation.runbooks.filter((runbook) => !isReplaced(runbook))];
  return Object.freeze({ ...options, remediation: Object.freeze({ ...options.remediation, runbooks }) });
};
