import ts from "typescript";
import type { TextFile } from "./source-files.ts";

/** Where a rule was broken: `path:line`. */
export type Place = string;
export type RuleName = keyof typeof RULES;

const FUNCTION_LINES_MAX = 70;
const FILE_LINES_MAX = 500;

/** What a process starts with: besides tests only these know of arguments, environment and exit. */
const ENTRY_POINTS = [
  "app/src/main.ts",
  "app/bin/",
  "agent/bin/",
  "agent/src/host/standalone/main.ts",
  "agent/src/host/standalone/cli.ts",
  "agent/src/host/standalone/self-test.ts",
  "agent/src/simulate/worker.ts",
  "bench/run.ts",
  "bench/score.ts",
  "docs/generate.ts",
  "examples/",
  "vitest.config.ts",
];
const isEntryPoint = (path: string): boolean =>
  ENTRY_POINTS.some((start) => path.startsWith(start)) || /(^|[/-])child\.ts$|^bench\/.*-process\.ts$/.test(path);
const isTest = (path: string): boolean => /\.(test|fixture)\.ts$/.test(path) || path.startsWith("test/");
const isShipped = (path: string): boolean => /^[^/]+\/src\//.test(path) && !isTest(path);
const isApp = (path: string): boolean => path.startsWith("app/src/");

/**
 * Words that say nothing, as the last word of a name (`LogUtil`) or the first (`BaseAction`). `Service` is not among them:
 * here it is what a host runs and we watch, as OpenTelemetry has it.
 */
const VAGUE_LAST = /(Manager|Helpers?|Utils?|Common|Handler|Processor|Base|Abstract|Impl|Data|Info|(?<=.)Schema)$/;
const VAGUE_FIRST = /^(Base|Abstract)[A-Z]|^I[A-Z][a-z]/;
const VAGUE_FILE = /^(utils?|helpers?|common|misc|shared|stuff|tools?|lib|manager|handlers?|base|data|info)\.[^/]+$/i;
const VAGUE_FOLDER = /(^|\/)(utils?|helpers?|common|misc|shared|stuff)\//i;

type Matches = (node: ts.Node, path: string, source: ts.SourceFile) => boolean;
interface Rule {
  /** Looks at every node of a TypeScript file. */
  readonly node?: Matches;
  /** Looks at every comment of a TypeScript file. */
  readonly comment?: RegExp;
  /** Looks at every line of every text file. */
  readonly line?: RegExp;
  /** Looks at the file as a whole. */
  readonly file?: (file: TextFile) => boolean;
  readonly onlyIn?: (path: string) => boolean;
}

const isIdentifier = (node: ts.Node | undefined, text: string): boolean =>
  node !== undefined && ts.isIdentifier(node) && node.text === text;

const isMember = (node: ts.Node, object: string, members: readonly string[]): boolean =>
  ts.isPropertyAccessExpression(node) && isIdentifier(node.expression, object) && members.includes(node.name.text);

const isCallOf = (node: ts.Node, name: string): node is ts.CallExpression =>
  ts.isCallExpression(node) &&
  (isIdentifier(node.expression, name) ||
    (ts.isPropertyAccessExpression(node.expression) && node.expression.name.text === name));

/** `catch {}`; a comment inside is not a handling. */
const swallows: Matches = (node) => ts.isCatchClause(node) && node.block.statements.length === 0;

const saysNothing = ({ body }: ts.ArrowFunction): boolean =>
  ts.isBlock(body) ? body.statements.length === 0 : isIdentifier(body, "undefined");

/** `await f().catch(() => undefined)`. Not awaited it is another thing: a queue that goes on, or a failure that others see. */
const dropsRejection: Matches = (node) => {
  if (!isCallOf(node, "catch") || !ts.isAwaitExpression(node.parent)) return false;
  const handler = node.arguments[0];
  return handler !== undefined && ts.isArrowFunction(handler) && saysNothing(handler);
};

/** A timer that ends a wait, as against one that limits it. */
const sleeps: Matches = (node) =>
  isCallOf(node, "setTimeout") &&
  (ts.isAwaitExpression(node.parent) || (node.arguments[0] !== undefined && ts.isIdentifier(node.arguments[0])));

const lineCount = (node: ts.Node, source: ts.SourceFile): number =>
  source.getLineAndCharacterOfPosition(node.end).line -
  source.getLineAndCharacterOfPosition(node.getStart(source)).line +
  1;

const importsFromProcess: Matches = (node) =>
  ts.isImportDeclaration(node) &&
  ts.isStringLiteral(node.moduleSpecifier) &&
  /^(node:)?process$/.test(node.moduleSpecifier.text);

/** Called, not named: as the default of an argument they are what they should be. */
const readsClockOrChance: Matches = (node) => {
  if (ts.isNewExpression(node)) return isIdentifier(node.expression, "Date") && (node.arguments?.length ?? 0) === 0;
  if (!ts.isCallExpression(node)) return false;
  const called = node.expression;
  return (
    isMember(called, "Date", ["now"]) ||
    isMember(called, "performance", ["now"]) ||
    isMember(called, "Math", ["random"])
  );
};

const namesVaguely: Matches = (node) => {
  const isType = ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node);
  if (!isType && !ts.isFunctionDeclaration(node) && !ts.isVariableDeclaration(node)) return false;
  const name = node.name;
  if (name === undefined || !ts.isIdentifier(name)) return false;
  if (!isType && !/^[A-Z][a-z]/.test(name.text)) return false;
  return VAGUE_LAST.test(name.text) || VAGUE_FIRST.test(name.text);
};

const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

export const RULES = {
  any: { node: (node) => node.kind === ts.SyntaxKind.AnyKeyword },
  "silenced types": { comment: /@ts-(ignore|expect-error|nocheck)/ },
  "silenced lint": { comment: /biome-ignore/ },
  "non-null assertion": { node: (node) => ts.isNonNullExpression(node) },
  "empty catch": { node: swallows },
  "dropped rejection": { node: dropsRejection },
  "long function": {
    node: (node, _path, source) =>
      ts.isFunctionLike(node) &&
      "body" in node &&
      node.body !== undefined &&
      lineCount(node, source) > FUNCTION_LINES_MAX,
    onlyIn: (path) => !isTest(path),
  },
  "long file": { file: ({ path, text }) => path.endsWith(".ts") && text.split("\n").length > FILE_LINES_MAX },
  "process outside an entry point": {
    node: (node, path, source) =>
      isMember(node, "process", ["env", "argv", "exit", "exitCode"]) || importsFromProcess(node, path, source),
    onlyIn: (path) => !isEntryPoint(path) && !isTest(path),
  },
  "console outside an entry point": {
    node: (node) => ts.isPropertyAccessExpression(node) && isIdentifier(node.expression, "console"),
    onlyIn: (path) => isShipped(path) && !isEntryPoint(path) && !path.startsWith("app/src/cli/"),
  },
  "clock or chance not as an argument": {
    node: readsClockOrChance,
    onlyIn: (path) => isShipped(path) && !isApp(path) && !isEntryPoint(path),
  },
  "sleep in a test": { node: sleeps, onlyIn: (path) => isTest(path) },
  "skipped or lonely test": {
    node: (node) => ["it", "test", "describe"].some((name) => isMember(node, name, ["skip", "only", "todo"])),
    onlyIn: (path) => isTest(path),
  },
  "vague name": { node: namesVaguely },
  "vague file": { file: ({ path }) => VAGUE_FILE.test(baseName(path)) || VAGUE_FOLDER.test(path) },
  "unfinished mark": { line: /\b(TODO|FIXME|XXX|HACK)\b/ },
  "path of one machine": { line: /(^|[\s"'`(=:])\/(work|root|home)\// },
  "temporary path in docs": { line: /(^|[\s"'`(=:])\/tmp\b/, onlyIn: (path) => path.endsWith(".md") },
  "registry host": {
    line: /\b(registry\.[a-z0-9-]+\.[a-z]{2,}|[a-z0-9.-]*(artifactory|nexus|verdaccio|jfrog)[a-z0-9.-]*\.[a-z]{2,})/i,
  },
} as const satisfies Record<string, Rule>;

const isCode = (path: string): boolean => /\.(ts|cts|mts|js|cjs|mjs)$/.test(path);

/** Every node, tokens among them: a comment before a closing brace hangs on that brace. */
const everyNode = (source: ts.SourceFile, see: (node: ts.Node) => void): void => {
  const visit = (node: ts.Node): void => {
    see(node);
    for (const child of node.getChildren(source)) visit(child);
  };
  visit(source);
};

const commentStarts = (node: ts.Node, text: string): readonly ts.CommentRange[] => [
  ...(ts.getLeadingCommentRanges(text, node.pos) ?? []),
  ...(ts.getTrailingCommentRanges(text, node.end) ?? []),
];

const placesInCode = (rules: readonly [RuleName, Rule][], { path, text }: TextFile, add: Add): void => {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true);
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1;
  const seenComments = new Set<number>();
  everyNode(source, (node) => {
    for (const [name, rule] of rules) if (rule.node?.(node, path, source)) add(name, lineAt(node.getStart(source)));
    // A JSX-free file's comments all touch a token; templates' own text is a token too and has none.
    if (node.getChildCount(source) > 0 || ts.isTemplateLiteralToken(node)) return;
    for (const { pos, end } of commentStarts(node, text)) {
      if (seenComments.has(pos)) continue;
      seenComments.add(pos);
      for (const [name, rule] of rules) if (rule.comment?.test(text.slice(pos, end))) add(name, lineAt(pos));
    }
  });
};

type Add = (rule: RuleName, line: number) => void;

/** Where each rule is broken, by rule; rules that nobody breaks have an empty list. */
export const brokenRules = (files: readonly TextFile[]): Readonly<Record<RuleName, readonly Place[]>> => {
  const all = Object.entries(RULES) as [RuleName, Rule][];
  const places = Object.fromEntries(all.map(([name]) => [name, [] as Place[]])) as Record<RuleName, Place[]>;
  for (const file of files) {
    const rules = all.filter(([, rule]) => rule.onlyIn?.(file.path) ?? true);
    const add: Add = (name, line) => places[name].push(`${file.path}:${line}`);
    if (isCode(file.path)) placesInCode(rules, file, add);
    for (const [name, rule] of rules) {
      if (rule.file?.(file)) add(name, 1);
      if (rule.line === undefined) continue;
      for (const [i, line] of file.text.split("\n").entries()) if (rule.line.test(line)) add(name, i + 1);
    }
  }
  return places;
};
