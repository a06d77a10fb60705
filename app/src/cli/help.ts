import { EXIT_CODES } from "./exit-code.ts";
import { FLAG_WORDS } from "./flag-words.ts";
import { FLAGS } from "./flags.ts";
import { PARTS, VERB_WORDS, type VerbWords } from "./verb-words.ts";

/** Beyond this a line of the overview goes on below. */
const COLUMN = 38;
const FLAG_COLUMN = 26;
/** Their exit codes say what became of a job. */
const OF_JOBS: readonly string[] = ["run", "job", "agents update"];

const verbs = Object.entries(VERB_WORDS);

const row = (name: string, what: string, column: number): string =>
  name.length < column ? `  ${name.padEnd(column)}${what}` : `  ${name}\n  ${" ".repeat(column)}${what}`;

const overviewOf = (part: VerbWords["part"]): string => {
  const rows = verbs.filter(([, words]) => words.part === part);
  return rows.map(([verb, { takes = "", what }]) => row(`${verb} ${takes}`.trim(), what, COLUMN)).join("\n");
};

const exitCodes = (): string =>
  EXIT_CODES.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`).join("\n");

/** All verbs, a line each. */
export const overview = (): string => `homeostat watches a fleet and heals it.

Usage: homeostat VERB …          homeostat VERB --help says all about one, with examples

${PARTS.map((part) => `${part}\n${overviewOf(part)}`).join("\n\n")}

A running platform is found by the data_dir of ./homeostat.yaml or --data-dir DIR; one elsewhere is reached with
--api URL or HOMEOSTAT_API, and --token-file FILE or HOMEOSTAT_TOKEN. --json answers programs.

Examples
  npm start
  npm run drill -- service-crash
  npx homeostat incidents
  npx homeostat run disk-report --labels role=web --percent 10

Exit codes: 0 done, 1 failed or not healed, 2 called wrongly, 130 stopped by Ctrl-C. Of run, job and agents update:
${exitCodes()}
NO_COLOR is honoured.`;

interface Flag {
  readonly type: string;
  readonly default?: unknown;
}

const flagRow = (verb: string, name: string, flag: Flag): string => {
  const words = FLAG_WORDS[`${verb} ${name}`] ?? FLAG_WORDS[name];
  const value = flag.type === "string" ? ` ${words?.value ?? "VALUE"}` : "";
  const byDefault = typeof flag.default === "string" && flag.default !== "" ? ` (${flag.default})` : "";
  const what = words?.what ?? "";
  return row(
    `--${name}${value}`,
    byDefault === "" ? what : `${what.replace(/ \(\w+\)$/, "")}${byDefault}`,
    FLAG_COLUMN,
  );
};

/** The same of nearly all verbs, so they come last. */
const LAST: readonly string[] = ["json", "data-dir", "api", "token-file"];

const about = (verb: string, { takes, what, examples }: VerbWords): string => {
  const all = Object.entries<Flag>(FLAGS[verb as keyof typeof FLAGS]);
  const flags = all.toSorted(([a], [b]) => LAST.indexOf(a) - LAST.indexOf(b));
  const flagged =
    flags.length === 0 ? "" : `\n\nFlags\n${flags.map(([name, flag]) => flagRow(verb, name, flag)).join("\n")}`;
  const usage = ["homeostat", verb, takes, flags.length === 0 ? "" : "[flags]"].filter(Boolean).join(" ");
  const shown = examples.map((example) => `  homeostat ${example}`).join("\n");
  const codes = OF_JOBS.includes(verb) ? `\n\nExit codes\n${exitCodes()}` : "";
  return `${usage}\n  ${what}${flagged}\n\nExamples\n${shown}${codes}`;
};

/**
 * All about `run`, `dlq list`, or about all that begins with `dlq`, by the words behind `homeostat` up to its first flag; null: there is no
 * such verb.
 */
export const helpOf = (words: readonly string[]): string | null => {
  const [first = "", second = ""] = words;
  const one = verbs.filter(([verb]) => verb === `${first} ${second}`);
  const all = verbs.filter(([verb]) => verb === first || verb.startsWith(`${first} `));
  const found = one.length > 0 ? one : all;
  return found.length === 0 ? null : found.map(([verb, of]) => about(verb, of)).join("\n\n");
};

/** The words of which help is asked; null: it is not. What stands behind `--` is no flag. */
export const helpAsked = (args: readonly string[]): readonly string[] | null => {
  const end = args.indexOf("--");
  const own = end === -1 ? args : args.slice(0, end);
  if (!own.some((word) => word === "--help" || word === "-h")) return null;
  const firstFlag = own.findIndex((word) => word.startsWith("-"));
  return own.slice(0, firstFlag);
};
