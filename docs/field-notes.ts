import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import ts from "typescript";

/** Comments on a schema's fields, by path: `times.started_at_unix_ms`, `findings[]`, `labels.*`; the empty path is the schema's own. */
export type Notes = ReadonlyMap<string, string>;

const SCHEMA_DEPTH_MAX = 20;
const OBJECTS = new Set(["object", "strictObject", "looseObject"]);
const WORKSPACE = "@homeostat/";
const isOurs = (specifier: string): boolean => specifier.startsWith(".") || specifier.startsWith(WORKSPACE);
const STEPS: Readonly<Record<string, string>> = { array: "[]", record: ".*" };

const parsed = new Map<string, ts.SourceFile>();
const sourceOf = (path: string): ts.SourceFile => {
  const known = parsed.get(path);
  if (known !== undefined) return known;
  const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ESNext, true);
  parsed.set(path, source);
  return source;
};

const commentOf = (node: ts.Node): string =>
  ts
    .getJSDocCommentsAndTags(node)
    .filter(ts.isJSDoc)
    .map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? "")
    .join(" ")
    .replace(/\s+/g, " ")
    .trim();

interface Constant {
  readonly path: string;
  readonly comment: string;
  /** It has a section of its own, where its comment stands. */
  readonly isExported: boolean;
  readonly value: ts.Expression;
}

const constantIn = (path: string, name: string): Constant | undefined => {
  const source = sourceOf(path);
  for (const statement of source.statements) {
    if (ts.isVariableStatement(statement))
      for (const declaration of statement.declarationList.declarations)
        if (declaration.name.getText(source) === name && declaration.initializer !== undefined)
          return {
            path,
            comment: commentOf(statement),
            isExported: statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ?? false,
            value: declaration.initializer,
          };
    const from = importedFrom(statement, name);
    if (from !== undefined) {
      const target = fileOf(from.specifier, path);
      return existsSync(target) ? constantIn(target, from.name) : undefined;
    }
  }
  return undefined;
};

/** Another folder is entered by its front door. */
const fileOf = (specifier: string, importer: string): string =>
  specifier.startsWith(WORKSPACE)
    ? `${specifier.slice(WORKSPACE.length)}/src/index.ts`
    : join(dirname(importer), specifier);

/** Which of our files an `import { name }` or `export { name }` statement takes a name from, and what it is called there. */
const importedFrom = (statement: ts.Statement, name: string): { specifier: string; name: string } | undefined => {
  const isImport = ts.isImportDeclaration(statement);
  if (!isImport && !ts.isExportDeclaration(statement)) return undefined;
  const specifier = statement.moduleSpecifier;
  if (specifier === undefined || !ts.isStringLiteral(specifier) || !isOurs(specifier.text)) return undefined;
  const names = isImport ? statement.importClause?.namedBindings : statement.exportClause;
  if (names === undefined || !(ts.isNamedImports(names) || ts.isNamedExports(names))) return undefined;
  const found = [...names.elements].find((element) => element.name.text === name);
  return found && { specifier: specifier.text, name: (found.propertyName ?? found.name).text };
};

/** Reads the comments that stand in the source of a Zod schema; `file` is where to start looking for `name`, re-exports followed. */
export const fieldNotes = (file: string, name: string): Notes => {
  const notes = new Map<string, string>();
  const walk = (node: ts.Expression, prefix: string, path: string, depth: number): void => {
    if (depth > SCHEMA_DEPTH_MAX) return;
    if (ts.isIdentifier(node)) {
      const constant = constantIn(path, node.text);
      if (constant === undefined) return;
      if (!constant.isExported && constant.comment !== "" && !notes.has(prefix)) notes.set(prefix, constant.comment);
      walk(constant.value, prefix, constant.path, depth + 1);
    } else if (ts.isArrayLiteralExpression(node)) {
      for (const element of node.elements) walk(element, prefix, path, depth + 1);
    } else if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const called = node.expression.name.text;
      walk(node.expression.expression, prefix, path, depth + 1);
      for (const argument of node.arguments) {
        if (OBJECTS.has(called) && ts.isObjectLiteralExpression(argument)) walkFields(argument, prefix, path, depth);
        else walk(argument, prefix + (STEPS[called] ?? ""), path, depth + 1);
      }
    }
  };
  const walkFields = (fields: ts.ObjectLiteralExpression, prefix: string, path: string, depth: number): void => {
    for (const field of fields.properties) {
      if (!ts.isPropertyAssignment(field)) continue;
      const fieldPath = prefix + (prefix === "" ? "" : ".") + field.name.getText().replace(/^["']|["']$/g, "");
      const comment = commentOf(field);
      if (comment !== "") notes.set(fieldPath, comment);
      walk(field.initializer, fieldPath, path, depth + 1);
    }
  };
  const constant = constantIn(file, name);
  if (constant !== undefined) {
    if (constant.comment !== "") notes.set("", constant.comment);
    walk(constant.value, "", constant.path, 0);
  }
  return notes;
};
