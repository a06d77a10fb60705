import { Runbook } from "./runbook.ts";

export interface RunbookProblem {
  /** The source, and the place in it: `restart.yaml: verify.checks[0].fact`. */
  readonly path: string;
  readonly message: string;
}

const pathText = (path: readonly PropertyKey[]): string =>
  path.map((part, i) => (typeof part === "number" ? `[${part}]` : `${i === 0 ? "" : "."}${String(part)}`)).join("");

/** Runbooks that stand in documents of their own, each parsed already: all of them, or all that is wrong with them. */
export const loadRunbooks = (
  documents: readonly { readonly source: string; readonly value: unknown }[],
): { readonly runbooks: readonly Runbook[]; readonly problems: readonly RunbookProblem[] } => {
  const runbooks: Runbook[] = [];
  const problems: RunbookProblem[] = [];
  const sources = new Map<string, string>();
  for (const { source, value } of documents) {
    const parsed = Runbook.safeParse(value);
    if (!parsed.success) {
      for (const issue of parsed.error.issues) {
        const place = pathText(issue.path);
        problems.push({ path: place === "" ? source : `${source}: ${place}`, message: issue.message });
      }
      continue;
    }
    const first = sources.get(parsed.data.name);
    if (first !== undefined)
      problems.push({ path: `${source}: name`, message: `${parsed.data.name} stands in ${first} already` });
    sources.set(parsed.data.name, first ?? source);
    runbooks.push(parsed.data);
  }
  return problems.length > 0 ? { runbooks: [], problems } : { runbooks, problems };
};
