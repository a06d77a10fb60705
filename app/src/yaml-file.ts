import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { isNode, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";

/** Where a path stands in the text; null when nothing of it does. */
export type LineOf = (path: readonly PropertyKey[]) => number | null;

export interface YamlText {
  readonly value: unknown;
  /** What is wrong with it as YAML; `value` means nothing then. */
  readonly problems: readonly string[];
  readonly lineOf: LineOf;
}

const ALIASES_MAX = 100;

/** Far more than a person writes. */
const FILE_BYTES_MAX = 4_194_304;

/** A platform that runs reads it: what is no file, or would take seconds to parse, is refused. @throws Error */
export const readTextFile = (path: string): string => {
  // Of a named pipe that nobody writes to, opening would wait for ever.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new Error("it is no regular file");
    if (stat.size > FILE_BYTES_MAX) throw new Error(`it has ${stat.size} bytes, want at most ${FILE_BYTES_MAX}`);
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
};

/** Keys that stand twice are problems; aliases are bounded, so that a small file cannot become a large value. */
export const readYaml = (text: string): YamlText => {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const problems = document.errors.map((error) => (error.message.split("\n")[0] ?? error.code).replace(/:$/, ""));
  const lineOf: LineOf = (path) => {
    for (let length = path.length; length > 0; length--) {
      const node = document.getIn(path.slice(0, length), true);
      if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
    }
    return null;
  };
  if (problems.length > 0) return { value: null, problems, lineOf };
  try {
    return { value: document.toJS({ maxAliasCount: ALIASES_MAX }), problems, lineOf };
  } catch (error) {
    // Too many aliases, or one of a name that is not there.
    return { value: null, problems: [error instanceof Error ? error.message : String(error)], lineOf };
  }
};

const pathText = (path: readonly PropertyKey[]): string =>
  path
    .map((part, i) => (typeof part === "number" ? `[${part}]` : i === 0 ? String(part) : `.${String(part)}`))
    .join("");

/** An issue as `path: what (line n)`, one for each unknown key. */
export const describeIssue = (issue: z.core.$ZodIssue, lineOf: LineOf): readonly string[] => {
  const place = (path: readonly PropertyKey[], what: string): string => {
    const line = lineOf(path);
    return `${pathText(path) || "(the whole file)"}: ${what}${line === null ? "" : ` (line ${line})`}`;
  };
  return issue.code === "unrecognized_keys"
    ? issue.keys.map((key) => place([...issue.path, key], "unknown key"))
    : [place(issue.path, issue.message)];
};
